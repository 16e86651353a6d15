"""A rate that all replicas may use together, shared out among them by a small document in the store.

Each replica holds a lease on a part of the rate and renews it every second, saying how much it could use. What it gets
is its fair part, and never more than what the others' leases leave: so the parts never add up to more than the rate,
whoever joins, stops or dies when. A replica that cannot reach the store keeps its part to the end of its lease, while
nobody else can have got it; from then on it takes a tenth of it, since others may.

Where members state the rate differently, the highest of what those state that use it is shared out, and none gets more
than it states itself. Were each to count with its own, others would leave nothing of a low one. Who has nothing to send
states nothing: settings that nobody asks with any more must not raise the rate of those that came after them.

The clocks of replicas must agree to within `SKEW_MS`.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from prelabel_runtime import log
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.store.quotas import Quotas, StoredQuota

from .pace import Pace

_log = log.get("prelabel.remote")

RENEWED = 1.0
"""Seconds between two renewals."""
LEASE_MS = 15_000
"""How long a part is held without being renewed."""
SKEW_MS = 2_000
"""So much before the end of its lease a replica stops relying on it."""
UNLEASED = 0.1
"""The part of its last share, or of a first one, that a replica takes without a lease."""
TRIES = 5
"""Attempts at one renewal while others write at the same moment."""
IDLE_SECONDS = 30.0
"""After so long without a call a replica gives its part back."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a target grants to one credential."""

    name: str
    """The same for all who share it."""
    per_second: float
    """Calls, more than 0."""


@dataclass(frozen=True, slots=True)
class Share:
    """One replica's part."""

    rate: float
    """Calls per second that it may send."""
    wanted: float
    """Calls per second that it could send."""
    until_ms: int
    stated: float = 0.0
    """Calls per second that it takes the whole rate to be; 0 where an older version wrote it, which did not say."""


def fair(rate: float, wanted: Mapping[str, float]) -> Mapping[str, float]:
    """Each member's part: what it wants where that is less than an equal part; what is left over, in equal parts."""
    parts: dict[str, float] = {}
    left = rate
    rest = sorted(wanted, key=lambda name: (wanted[name], name))
    while rest:
        equal = left / len(rest)
        name = rest.pop(0)
        parts[name] = min(wanted[name], equal)
        left -= parts[name]
    return {name: part + left / len(parts) for name, part in parts.items()}


def renewed(shares: Mapping[str, Share], member: str, *, rate: float, wanted: float, now_ms: int) -> dict[str, Share]:
    """The shares after one member's renewal, which states `rate`; those that have run out are gone."""
    others = {name: share for name, share in shares.items() if name != member and share.until_ms > now_ms}
    whole = _whole({**others, member: Share(0.0, wanted, now_ms, rate)})
    target = fair(whole, {**{name: share.wanted for name, share in others.items()}, member: wanted})[member]
    free = max(0.0, whole - sum(share.rate for share in others.values()))
    return {**others, member: Share(min(target, free, rate), wanted, now_ms + LEASE_MS, rate)}


def _whole(members: Mapping[str, Share]) -> float:
    """The highest rate that is stated by who uses it, or by anybody where nobody does."""
    used = [one.stated for one in members.values() if one.stated > 0 and one.wanted > 0]
    return max(used or [one.stated for one in members.values()])


class SharedRate:
    """One replica's part of a rate, kept up while it is used."""

    def __init__(self, rate: Rate, quotas: Quotas, member: str, *, clock: Clock, rng: random.Random) -> None:
        """`member`: this replica's name, unlike every other's."""
        self.rate = rate
        self.pace = Pace(UNLEASED * rate.per_second)
        self.leased = False
        self.listeners: set[Callable[[], None]] = set()
        """Called with every change of the pace, and where who was held up is to say whether it still is."""
        self._quotas = quotas
        self._member = member
        self._clock = clock
        self._rng = rng
        self._until = float("-inf")
        self._share = rate.per_second
        self._calls = 0
        self._held_up = False
        self._used_at = clock.monotonic()
        self._keeping: asyncio.Task[None] | None = None

    def wait(self, now: float) -> float:
        """Seconds until a call may be sent. Keeps up the lease from here on."""
        self._used_at = now
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep())
        if self.leased and now >= self._until:
            self._lost()
        wait = self.pace.wait(now)
        self._held_up |= wait > 0
        return wait

    def take(self, now: float) -> None:
        """A call is sent."""
        self._calls += 1
        self.pace.take(now)

    async def stop(self) -> None:
        """Give the part back, if that can be done at once."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
            self._keeping = None

    async def _keep(self) -> None:
        since = self._clock.monotonic()
        try:
            while self._clock.monotonic() - self._used_at < IDLE_SECONDS:
                now = self._clock.monotonic()
                await self._renew(max(now - since, RENEWED / 2))
                since = now
                # One without any part yet need not wait for long: somebody shrinks within a second.
                await self._clock.sleep(RENEWED if self.leased else RENEWED / 4)
        finally:
            self._set(UNLEASED * self._share, leased=False)
            with contextlib.suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._write(None)

    async def _renew(self, seconds: float) -> None:
        wanted = self.rate.per_second if self._held_up else self._calls / seconds
        held_up, self._calls, self._held_up = self._held_up, 0, False
        if held_up:
            self._tell()  # who waits may have gone, and would be taken to want all of it
        before = self._clock.monotonic()
        try:
            async with asyncio.timeout(LEASE_MS / 4000):
                got = await self._write(min(wanted, self.rate.per_second))
        except (Unavailable, TimeoutError):
            # Who was left with nothing had no part to lose, and goes on like the others all the same.
            if (self.leased or self.pace.rate <= 0) and self._clock.monotonic() >= self._until:
                self._lost()
            return
        if got is None:
            return
        self._until = before + (LEASE_MS - SKEW_MS) / 1000
        if got > 0:
            self._share = got
        self._set(got, leased=got > 0)

    async def _write(self, wanted: float | None) -> float | None:
        """Renew, or give back where nothing is wanted; the part that was got, None if others were always faster."""
        for _ in range(TRIES):
            stored = await self._quotas.get(self.rate.name)
            shares = _read(stored)
            if wanted is None:
                shares.pop(self._member, None)
            else:
                now_ms = self._clock.now_ms()
                shares = renewed(shares, self._member, rate=self.rate.per_second, wanted=wanted, now_ms=now_ms)
            version = 1 if stored is None else stored.version + 1
            if await self._quotas.put(StoredQuota(self.rate.name, version, _written(shares))):
                return shares[self._member].rate if wanted is not None else None
            await self._clock.sleep(0.05 * self._rng.random())
        return None

    def _lost(self) -> None:
        _log.warning("no lease on a rate, going on with a tenth of it", quota=self.rate.name)
        self._set(UNLEASED * self._share, leased=False)

    def _set(self, rate: float, *, leased: bool) -> None:
        self.leased = leased
        if rate != self.pace.rate:
            self.pace.change(rate, self._clock.monotonic())
            self._tell()

    def _tell(self) -> None:
        for listener in tuple(self.listeners):
            listener()


def _read(stored: StoredQuota | None) -> dict[str, Share]:
    if stored is None:
        return {}
    known: dict[str, dict[str, Any]] = json.loads(stored.shares)
    return {
        name: Share(one["rate"], one["wanted"], one["until_ms"], one.get("stated", 0.0)) for name, one in known.items()
    }


def _written(shares: Mapping[str, Share]) -> str:
    return json.dumps({name: asdict(one) for name, one in shares.items()})
