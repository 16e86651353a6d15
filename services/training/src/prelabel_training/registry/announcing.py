"""What serves, made known: also where the process that changed it died before it could say so.

Looks at every serving pointer, at start and again and again, and publishes what has not been published, or what the
topic `models` says otherwise: a process that was held up may have written an old epoch behind a newer one, and who
starts tomorrow would believe it.
"""

from typing import Final

from prelabel_contract.events import ModelServing
from prelabel_runtime import log
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.retry import backoff
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Part
from prelabel_runtime.tables import Table

from ..gate.overlooked import Overlooked
from .registry import KIND, Pointer, Registry, read, serving_event

_PAGE: Final = 500
_log = log.get("prelabel.registry")


class Announcer(Part):
    """Keeps the topic `models` equal to the pointers."""

    def __init__(
        self,
        runtime: Runtime,
        registry: Registry,
        models: Table[ModelServing],
        overlooked: Overlooked,
        seconds: float,
    ) -> None:
        """`seconds`: between two looks."""
        self._runtime = runtime
        self._registry = registry
        self._models = models
        self._overlooked = overlooked
        self._seconds = seconds

    async def start(self) -> None:
        """Nothing to get ready."""

    async def stop(self) -> None:
        """Nothing to let go."""

    async def run(self) -> None:
        """Look again and again."""
        waits = backoff(self._seconds, 30.0, self._runtime.rng)
        while True:
            try:
                await self.look()
                await self._overlooked.look_now_and_then()
            except Unavailable:
                await self._runtime.clock.sleep(next(waits))
                continue
            waits = backoff(self._seconds, 30.0, self._runtime.rng)
            await self._runtime.clock.sleep(self._seconds)

    async def look(self) -> None:
        """Publish what is not known yet."""
        said: list[Pointer] = []
        after: str | None = None
        while page := await self._registry.documents.page(KIND, limit=_PAGE, after=after):
            for document in page:
                pointer = read(document)
                if pointer.announced:
                    said.append(pointer)
                else:
                    await self._registry.announce(document)
            after = page[-1].key
        if said:
            await self._models.catch_up()  # what they said was published before it was read that they had
            await self._repeat(said)

    async def _repeat(self, said: list[Pointer]) -> None:
        for pointer in said:
            known = self._models.get(pointer.key)
            if known is not None and (known.epoch > pointer.epoch or _equal(known, pointer)):
                continue
            _log.warning("what serves is told again", project=pointer.project, model=pointer.model)
            await self._registry.publish([serving_event(pointer)])


def _equal(known: ModelServing, pointer: Pointer) -> bool:
    return (known.epoch, known.version, known.artifact) == (pointer.epoch, pointer.version, pointer.artifact)
