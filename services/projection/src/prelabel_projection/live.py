"""Which generation this process uses: the live one, soon after it has become that.

A process registers before it looks, and says which generation it uses once it does. So whoever switches can wait until
nobody writes to the old one any more: one that is not registered has not looked yet, and will find the new one.
"""

from prelabel_runtime import log
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.service import Part
from prelabel_runtime.store.base import Store
from prelabel_runtime.store.generations import UNKNOWN, Replica

LOOK_SECONDS = 0.5
SEEN_SECONDS = 5.0
_log = log.get("prelabel.generation")


class LiveGeneration(Part):
    """Keeps this process on the live generation. Must start before anything that reads or writes the projection.

    So it comes first in its service. Services start side by side: no other one's `start` may read the projection.
    """

    def __init__(self, store: Store, clock: Clock, replica: str) -> None:
        self._store = store
        self._clock = clock
        self._replica = replica
        self._said = float("-inf")

    async def start(self) -> None:
        """Register, then look, then say."""
        await self._say(UNKNOWN)
        await self._store.use(await self._store.generations.current())
        await self._say(self._store.projected.generation)

    async def stop(self) -> None:
        """Not here any more."""
        try:
            await self._store.generations.left([self._replica])
        except Unavailable:
            _log.info("left without a word", replica=self._replica)

    async def run(self) -> None:
        """Follow."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Unavailable:
                continue  # whoever reads or writes waits for the store as well

    async def look(self) -> None:
        """Use the live generation, and say so where it is another one, or now and then."""
        current = await self._store.generations.current()
        if current != self._store.projected.generation:
            await self._store.use(current)
            _log.info("uses another generation", generation=current)
            await self._say(current)
        elif self._clock.monotonic() - self._said >= SEEN_SECONDS:
            await self._say(current)

    async def _say(self, generation: int) -> None:
        await self._store.generations.seen(Replica(self._replica, generation, self._clock.now_ms()))
        self._said = self._clock.monotonic()
