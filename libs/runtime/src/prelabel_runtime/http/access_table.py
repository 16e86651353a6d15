"""What the compacted `access` topic says: keys, sessions and links, and how they are used.

A key that is not known yet may have been made a moment ago, elsewhere: then the topic is read to its end before the
answer is no, but at most a few times a second for everybody together, so that made-up keys cost nothing.
"""

import asyncio
import hmac
import random

from prelabel_contract import names
from prelabel_contract.events import Event, EventData, KeyChanged, KeyUsed, LinkUsed

from ..bus.base import Bus
from ..clock import Clock
from ..tables import Table
from .credentials import hash_of, id_in

LOOK_SECONDS = 0.25
"""The topic is read to its end for unknown keys at most this often."""


class AccessTable(Table[EventData]):
    """All that the `access` topic says. Of several uses of a one-time link, the first is kept."""

    def __init__(self, bus: Bus, *, clock: Clock, rng: random.Random) -> None:
        super().__init__(bus, names.ACCESS, EventData, rng=rng)
        self._clock = clock
        self._looks = Looks(self, clock)
        self.bootstrap = ""
        """The start of the hash of the key in the settings, where there is one."""

    def accept(self, read: Event[EventData]) -> None:
        """Keep the newest, or the first."""
        if isinstance(read.data, LinkUsed):
            self._rows.setdefault(read.key, read.data)
        else:
            self._rows[read.key] = read.data

    def key(self, key_id: str) -> KeyChanged | None:
        """A key, session or link."""
        row = self.get(f"key/{key_id}")
        return row if isinstance(row, KeyChanged) else None

    def used(self, key_id: str) -> KeyUsed | None:
        """When a key was last told to be in use."""
        row = self.get(f"used/{key_id}")
        return row if isinstance(row, KeyUsed) else None

    def link_used(self, link_id: str) -> LinkUsed | None:
        """What a one-time link was exchanged for."""
        row = self.get(f"link/{link_id}")
        return row if isinstance(row, LinkUsed) else None

    async def opened_by(self, written: str, *, kind: str) -> KeyChanged | None:
        """What a key, session or link opens now; None for nothing. Raises `Unavailable`."""
        key_id = id_in(written)
        if key_id is None:
            return None
        if self.key(key_id) is None:
            await self._looks.look()
        row = self.key(key_id)
        if row is None or row.kind != kind or not hmac.compare_digest(row.hash, hash_of(written)):
            return None
        return row if self._holds(row, self._clock.now_ms()) else None

    def _holds(self, row: KeyChanged, now_ms: int) -> bool:
        """Whether it opens anything. A session, or a link, ends with whatever made it."""
        if row.revoked or (row.expires_ms is not None and row.expires_ms <= now_ms):
            return False
        if row.bootstrap and row.bootstrap != self.bootstrap:
            return False
        maker = self.key(row.created_by) if row.kind != "key" else None
        return maker is None or self._holds(maker, now_ms)


class Looks:
    """Reads a table to its end for whoever asks, together: one reading at a time, and not one after the other."""

    def __init__(self, table: Table[EventData], clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self._next: asyncio.Task[None] | None = None
        self._looking: set[asyncio.Task[None]] = set()
        """Kept here, since whoever waits may leave."""
        self._last = -LOOK_SECONDS

    async def look(self) -> None:
        """Returns when everything that is in the topic now has been read. Raises `Unavailable`."""
        if self._next is None:
            self._next = asyncio.create_task(self._look())
            self._looking.add(self._next)
            self._next.add_done_callback(self._looked)
        await asyncio.shield(self._next)

    def _looked(self, done: asyncio.Task[None]) -> None:
        self._looking.discard(done)
        if not done.cancelled():
            done.exception()  # told to those who still wait; there may be none

    async def _look(self) -> None:
        await self._clock.sleep(max(0.0, self._last + LOOK_SECONDS - self._clock.monotonic()))
        self._next = None  # who asks from here on may know of something newer
        self._last = self._clock.monotonic()
        await self._table.catch_up()
