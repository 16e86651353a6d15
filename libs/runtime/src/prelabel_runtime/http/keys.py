"""Keys to the API, as every service knows them: from the compacted `access` topic, where only their hashes are.

Every process checks by itself. A key that is not known yet may have been made a moment ago, elsewhere: then the topic
is read to its end before the answer is no, but at most a few times a second for everybody together, so that made-up
keys cost nothing. The key in a service's own settings is known as "bootstrap": it comes first, makes the others, and
cannot be revoked.
"""

import asyncio
import hmac
import random
from collections.abc import Callable

from prelabel_contract import names
from prelabel_contract.events import Event, EventData, KeyChanged, KeyUsed, LinkUsed, event
from starlette.types import Scope

from .. import log
from ..bus.base import Bus
from ..clock import Clock
from ..errors import Unavailable
from ..loop import messages
from ..service import Part
from ..tables import Table
from .access import BOOTSTRAP, Caller, Role
from .browser import Hosts, session_of
from .credentials import hash_of, id_in

_log = log.get("prelabel.keys")

LOOK_SECONDS = 0.25
"""The topic is read to its end for unknown keys at most this often."""
TELL_SECONDS = 300.0
"""That a key was used is told at most this often, by each process."""


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


class Keys(Part):
    """Who is behind a request, by the key it carries."""

    def __init__(
        self,
        table: AccessTable,
        bootstrap: str,
        hosts: Hosts,
        *,
        bus: Bus,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._table = table
        self._bootstrap = bootstrap.encode()
        table.bootstrap = hash_of(bootstrap)[:16]
        self._hosts = hosts
        self._uses = Uses(bus, clock, new_id)

    async def start(self) -> None:
        """Read the keys there are."""
        await self._table.start()

    async def stop(self) -> None:
        """Close."""
        await self._table.stop()

    async def run(self) -> None:
        """Follow their changes, and tell which are used."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._table.run())
            group.create_task(self._uses.run())

    async def identify(self, scope: Scope) -> Caller | None:
        """Who sends this; None if that is not known here.

        Raises:
            Unavailable: nobody can tell now.
            Problem: somebody is known, but a page that is not ours seems to ask in their name.
        """
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if sent is not None:
            return await self._holder_of_key(sent)
        session = session_of(scope)
        row = await self._table.opened_by(session, kind="session") if session else None
        if row is None:
            return None
        self._hosts.check_page(scope)
        return _caller(row)

    async def _holder_of_key(self, authorization: bytes) -> Caller | None:
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        if hmac.compare_digest(key.strip(), self._bootstrap):
            return Caller(BOOTSTRAP, BOOTSTRAP, Role.ADMIN)
        row = await self._table.opened_by(key.strip().decode(errors="replace"), kind="key")
        if row is None:
            return None
        self._uses.note(row.id)
        return _caller(row)


def _caller(row: KeyChanged) -> Caller:
    return Caller(row.id, row.name, row.role, frozenset(row.projects) or None, row.kind, row.expires_ms)


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


class Uses:
    """Tells now and then that a key is used. What cannot be told is told the next time."""

    def __init__(self, bus: Bus, clock: Clock, new_id: Callable[[], str]) -> None:
        self._bus = bus
        self._clock = clock
        self._new_id = new_id
        self._told: dict[str, float] = {}
        self._waiting: set[str] = set()
        self._some = asyncio.Event()

    def note(self, key_id: str) -> None:
        """A key is used now."""
        told = self._told.get(key_id)
        if told is None or self._clock.monotonic() - told >= TELL_SECONDS:
            self._told[key_id] = self._clock.monotonic()
            self._waiting.add(key_id)
            self._some.set()

    async def run(self) -> None:
        """Tell."""
        while True:
            await self._some.wait()
            self._some.clear()
            ids, self._waiting = self._waiting, set()
            try:
                await self._bus.publish(messages([self._event(key_id) for key_id in sorted(ids)]))
            except Unavailable as error:
                _log.warning("use of keys not told", keys=len(ids), reason=error.what)
                for key_id in ids:
                    self._told.pop(key_id, None)

    def _event(self, key_id: str) -> Event[KeyUsed]:
        now = self._clock.now_ms()
        return event(KeyUsed(id=key_id, at_ms=now), id=self._new_id(), source="/access", time_ms=now)
