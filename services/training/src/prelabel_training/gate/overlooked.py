"""Versions that nobody has judged: the record that asked for it was set aside, since its process died several times.

Such a training is told of once more, a few times at most: what really ends the process is not tried for ever.
"""

from typing import Final

import orjson
from prelabel_contract import names
from prelabel_contract.events import AnyEvent, ModelTrained, ProjectChanged, event
from prelabel_provider.training.trainings import TrainingRecord, Trainings, TrainingState, key_of
from prelabel_runtime import log
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.clock import Clock
from prelabel_runtime.loop import messages
from prelabel_runtime.store.documents import Documents
from prelabel_runtime.tables import Table

from ..registry.leftovers import UNDER_WAY
from ..registry.registry import SOURCE
from ..registry.versions import Versions

KIND: Final = "overlooked"
"""The kind of the document that counts how often a training was told of again, and says when it was last."""
MOST: Final = 3
_log = log.get("prelabel.gate")


class Overlooked:
    """Finds them, and tells of them again."""

    def __init__(
        self, documents: Documents, bus: Bus, projects: Table[ProjectChanged], clock: Clock, *, patience: float
    ) -> None:
        """`patience`: seconds from a training's end, or from being told of again, until it counts as overlooked.

        Doubled from the third time on.
        """
        self._documents = documents
        self._bus = bus
        self._projects = projects
        self._clock = clock
        self._patience = patience
        self._trainings = Trainings(documents, clock)
        self._versions = Versions(documents)
        self._looked = float("-inf")

    async def look_now_and_then(self) -> None:
        """The same, four times in the patience at most: each look costs some reads for every model."""
        now = self._clock.monotonic()
        if now - self._looked >= self._patience / 4:
            await self.look()
            self._looked = now

    async def look(self) -> None:
        """Look at the newest trainings of every model."""
        for row in list(self._projects.rows().values()):
            for spec in () if row.deleted else row.project.models:
                newest_first = await self._trainings.of(row.project.id, spec.name, limit=UNDER_WAY)
                for record in reversed(newest_first):  # judged in the order in which they were trained
                    if await self._is(record):
                        _log.warning("a version that nobody judged is told of again", training=record.training)
                        await self._bus.publish(messages([_again(record)]))

    async def _is(self, record: TrainingRecord) -> bool:
        if record.state is not TrainingState.TRAINED or record.artifact is None or record.ended_ms is None:
            return False
        if await self._versions.get(record.project, record.model, record.number) is not None:
            return False
        key = key_of(record.project, record.model, record.number)
        found = await self._documents.get(KIND, key)
        times, since_ms = (0, record.ended_ms) if found is None else _told(found.body)
        now_ms = self._clock.now_ms()
        # Whoever judges may be slow after an outage that was longer than all of these waits.
        if times >= MOST or now_ms < since_ms + round(self._patience * 1000) * 2 ** max(0, times - 1):
            return False
        body = orjson.dumps([times + 1, now_ms]).decode()
        return await self._documents.put(KIND, key, body, expected=found.revision if found else 0) is not None


def _told(body: str) -> tuple[int, int]:
    """How often, and when last: 0 where an older version wrote it, which did not say."""
    said = orjson.loads(body)
    return (said[0], said[1]) if isinstance(said, list) else (said, 0)


def _again(record: TrainingRecord) -> AnyEvent:
    data = ModelTrained(
        project=record.project,
        model=record.model,
        provider=record.provider,
        training=record.training,
        version=record.version or "",
        artifact=record.artifact or "",
        metrics=record.metrics,
    )
    # As its trainer said it: whoever has heard it knows it again.
    told = names.derived(data.TYPE, record.training, record.artifact, record.serving_epoch)
    return event(data, id=told, source=SOURCE, time_ms=record.ended_ms or record.requested_ms)
