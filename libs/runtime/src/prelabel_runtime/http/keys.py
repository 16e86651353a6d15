"""Keys to the API, as every service knows them: from the compacted `access` topic, where only their hashes are.

A key is `pl_<id>_<secret>`: its id finds the row, its SHA-256 proves it. A secret of 160 random bits needs no slow
hash. The key in a service's own settings is known as "bootstrap": it comes first, and makes the others.
"""

import hashlib
import hmac
import random

from prelabel_contract import names
from prelabel_contract.events import KeyChanged
from starlette.types import Scope

from ..bus.base import Bus
from ..clock import Clock
from ..service import Part
from ..tables import Table
from .access import Caller, Role

BOOTSTRAP = "bootstrap"


def hash_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def id_of(key: str) -> str | None:
    """The id in a key; None for what is no key of ours."""
    parts = key.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == "pl" else None


class Keys(Part):
    """Who is behind a request."""

    def __init__(self, bus: Bus, bootstrap: str, *, clock: Clock, rng: random.Random) -> None:
        self._bootstrap = bootstrap.encode()
        self._clock = clock
        self._known = Table(bus, names.ACCESS, KeyChanged, rng=rng)

    async def start(self) -> None:
        """Read the keys there are."""
        await self._known.start()

    async def stop(self) -> None:
        """Close."""
        await self._known.stop()

    async def run(self) -> None:
        """Follow their changes."""
        await self._known.run()

    async def identify(self, scope: Scope) -> Caller | None:
        """Who sends this; None if that is not known here."""
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, key = sent.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        if hmac.compare_digest(key.strip(), self._bootstrap):
            return Caller(BOOTSTRAP, BOOTSTRAP, Role.ADMIN)
        return await self._holder(key.strip().decode(errors="replace"))

    async def _holder(self, key: str) -> Caller | None:
        key_id = id_of(key)
        row = await self._known.find(f"key/{key_id}") if key_id else None
        if row is None or row.kind != "key" or not hmac.compare_digest(row.hash, hash_of(key)):
            return None
        if row.revoked or (row.expires_ms is not None and row.expires_ms <= self._clock.now_ms()):
            return None
        return Caller(row.id, row.name, row.role, frozenset(row.projects) or None)
