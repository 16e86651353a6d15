"""Removes records of leases that ended long ago, and of annotators who hold nothing any more: some at a time.

They would stay for ever, one for every task that was ever leased, and they name people. Each look goes on where the
one before it ended, so it costs the same however many there are. Nothing waits for it: a lease is over by the clock.

Long ago is a day. Until then a late renewal still finds its record; and whoever has read a record, to write upon it,
has written by then: a key that begins again counts its revisions from 1 (`Documents`), and nobody may meet one of the
same number that is another's.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from prelabel_runtime import log
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.service import Part
from prelabel_runtime.store.documents import Document, Documents

from . import holders, leases

EVERY_SECONDS: Final = 60.0
LEASES_AT_ONCE: Final = 500
HOLDERS_AT_ONCE: Final = 50
"""Each of them lists tasks, whose leases are read."""
LONG_MS: Final = 86_400_000
"""From the end of a lease until its record is removed."""
_log = log.get("prelabel.leases")


@dataclass(slots=True)
class _Round:
    """How far the records of one kind were looked at."""

    kind: str
    at_once: int
    after: str | None = None

    async def next(self, documents: Documents) -> Sequence[Document]:
        """Those that are looked at now; the first ones again behind the last."""
        found = await documents.page(self.kind, limit=self.at_once, after=self.after)
        self.after = found[-1].key if len(found) == self.at_once else None
        return found


class Forgetting(Part):
    """Looks again and again. Several processes may."""

    def __init__(self, documents: Documents, known: leases.Leases, clock: Clock) -> None:
        self._documents = documents
        self._known = known
        self._clock = clock
        self._leases = _Round(leases.KIND, LEASES_AT_ONCE)
        self._holders = _Round(holders.KIND, HOLDERS_AT_ONCE)

    async def start(self) -> None:
        """Nothing to get ready."""

    async def stop(self) -> None:
        """Nothing to let go."""

    async def run(self) -> None:
        """A look a minute; what one that fails leaves is found in the next round."""
        while True:
            await self._clock.sleep(EVERY_SECONDS)
            with contextlib.suppress(Unavailable):
                await self.look()

    async def look(self) -> int:
        """Remove what is over among the next records of each kind; how many went."""
        some = await self._leases.next(self._documents)
        over = [one for one in some if self._long_ago(leases.lease_of(one).until_ms)]
        over += [one for one in await self._holders.next(self._documents) if await self._hold_nothing(one)]
        gone = 0
        for one in over:
            gone += await self._documents.delete(one.kind, one.key, expected=one.revision)
        if gone:
            _log.info("records of leases removed", count=gone)
        return gone

    async def _hold_nothing(self, one: Document) -> bool:
        holder = holders.holder_of(one)
        if not self._long_ago(holder.until_ms):
            return False
        project = one.key.partition("/")[0]
        of = (await self._known.of(project, holder.tasks)).values()  # those that were renewed end later than was said
        return all(lease.annotator != holder.annotator or self._long_ago(lease.until_ms) for lease in of)

    def _long_ago(self, until_ms: int) -> bool:
        return until_ms + LONG_MS <= self._clock.now_ms()
