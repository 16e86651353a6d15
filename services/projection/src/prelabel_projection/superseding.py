"""What a prediction replaces that was asked for again: after a promotion, or for a re-label.

Such a prediction names its generation. When it is stored, the created ones of the same task and model that stand before
it (an older revision of the task, or the same one and earlier in the log) are told to be superseded by it: never before
it is there, so that a task whose new prediction fails keeps the old one. What stands behind it is not older.

The newest of several generations replaces all the others, in whatever order they are handled. Each is told under an id
that follows from the two requests: the same event however often it is told. Said while events come in, never while a
generation of the projection is rebuilt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from prelabel_contract import names
from prelabel_contract.events import AnyEvent, Event, EventData, PredictionCreated, PredictionSuperseded, event
from prelabel_runtime.service import Handler
from prelabel_runtime.store.base import Doubt, Store

from .telling import telling

SOURCE = "/projection/superseding"


@dataclass(frozen=True, slots=True)
class Superseding:
    """Says what stored predictions replace."""

    store: Store

    def telling(self, on: Mapping[type[EventData], Handler]) -> dict[type[EventData], Handler]:
        """The same handlers; the one of predictions also tells what these replace."""
        return {**on, PredictionCreated: telling(on[PredictionCreated], self.of)}

    async def of(self, batch: Sequence[Event[PredictionCreated]]) -> Mapping[int, Sequence[AnyEvent]]:
        """By place in a batch of predictions, which are stored: what is replaced, by one of them or a newer one."""
        again = {(one.data.task, one.data.model): place for place, one in enumerate(batch) if one.data.generation}
        if not again:
            return {}
        requests = {one.data.request for one in batch if one.data.generation}
        doubts = await self.store.outcomes.doubts(list({task for task, _ in again}))
        told: dict[int, Sequence[AnyEvent]] = {}
        for (task, model), place in again.items():
            stored = sorted((one for one in doubts.get(task, ()) if one.model == model), key=_place)
            newest = await self._newest(stored, requests)
            if newest is not None:
                told[place] = [
                    _told(batch[place], one, newest.request)
                    for one in stored
                    if _place(one) < _place(newest) and one.superseded_by is None
                ]
        return told

    async def _newest(self, stored: Sequence[Doubt], requests: set[str]) -> Doubt | None:
        """Of what is stored of a task and model, the last one that was asked for again. None: the task was deleted."""
        last = next((n for n in reversed(range(len(stored))) if stored[n].request in requests), None)
        if last is None:
            return None
        later = stored[last + 1 :]
        if not later:
            return stored[last]
        # Handled before it, or not asked for again: their bodies say which.
        bodies = {one.request: one.body for one in (await self.store.outcomes.of_tasks([later[0].task]))[later[0].task]}
        again = [one for one in later if orjson.loads(bodies.get(one.request, "{}")).get("generation")]
        return again[-1] if again else stored[last]


def _place(one: Doubt) -> tuple[int, int, str]:
    return one.revision, one.offset, one.request


def _told(after: Event[Any], old: Doubt, by: str) -> AnyEvent:
    data = PredictionSuperseded(project=after.data.project, task=old.task, request=old.request, model=old.model, by=by)
    return event(data, id=names.derived(data.TYPE, old.request, by), source=SOURCE, time_ms=after.time_ms)
