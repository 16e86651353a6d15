"""Keys to the API, as every service knows them: from the compacted `access` topic, where only their hashes are.

Every process checks by itself. The key in a service's own settings is known as "bootstrap": it comes first, makes the
others, and cannot be revoked.
"""

import asyncio
import hmac
from collections.abc import Callable

from prelabel_contract.events import Event, KeyChanged, KeyUsed, event
from starlette.types import Scope

from .. import log
from ..bus.base import Bus
from ..clock import Clock
from ..errors import Unavailable
from ..loop import messages
from ..service import Part
from .access import BOOTSTRAP, Caller, Role
from .access_table import AccessTable
from .browser import Hosts, session_of
from .credentials import hash_of

_log = log.get("prelabel.keys")

TELL_SECONDS = 300.0
"""That a key was used is told at most this often, by each process."""


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
