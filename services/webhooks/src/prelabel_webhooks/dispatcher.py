"""Which endpoints this process delivers to: a lease on each, shared among the processes that run.

Every process keeps a mark of its own among the endpoints, under the same kind of lease; whose mark is alive takes part.
An endpoint belongs to the process that a hash of both names prefers (rendezvous), so processes that come and go move
few endpoints, and two never argue: whoever is not preferred any more finishes, writes down the place, and lets go.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from prelabel_contract.events import SubscriptionChanged
from prelabel_runtime import log
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.retry import backoff
from prelabel_runtime.service import Part
from prelabel_runtime.store.deliveries import StoredEndpoint

from . import cursor
from .endpoint import Endpoint, LeaseLost, Tools
from .handlers import TOPICS
from .sender import Target
from .subscriptions import ACTIVE
from .vault import Unopenable

_log = log.get("prelabel.webhooks")

_MARK = "process/"
_LOOK_SECONDS = 0.5
"""How soon a changed subscription is noticed."""
_TRIM_SECONDS = 60.0
_STOP_SECONDS = 5.0
"""What an attempt that is under way gets at a stop; one that takes longer is repeated by the next process."""
_FORGET_MS = 86_400_000
"""Marks of processes that have been gone for so long are removed."""
_MOST_LABELS = 200
"""Endpoints with a lag of their own in metrics; the others share one."""


@dataclass(slots=True)
class _Held:
    endpoint: Endpoint
    task: asyncio.Task[None]


class Dispatcher(Part):
    """Runs the endpoints that are this process's."""

    def __init__(self, tools: Tools, *, owner: str) -> None:
        self._tools = tools
        self._owner = owner
        self._clock = tools.clock
        self._store = tools.store
        self._settings = tools.settings
        self._lease_ms = round(1000 * tools.settings.lease_seconds)
        self._held: dict[str, _Held] = {}
        self._mark_epoch = 0
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._asked = False
        self._others: set[str] = set()
        """Endpoints that belong to other processes, when we looked last."""
        self._not_before: dict[str, float] = {}
        """Endpoints that failed here, and when they may be taken up again (monotonic)."""
        self._renewed = -1e9
        self._trimmed = 0.0

    async def start(self) -> None:
        """Make our mark."""
        await self._store.endpoints.create(_MARK + self._owner, "{}")

    async def run(self) -> None:
        """Keep what is held in step with the subscriptions and with other processes."""
        waits = backoff(0.2, 10.0, self._tools.rng)
        while True:
            try:
                await self._look_around()
                waits = backoff(0.2, 10.0, self._tools.rng)
                await self._clock.sleep(_LOOK_SECONDS)
            except Unavailable as error:
                _log.warning("waiting for a dependency", dependency=error.what)
                await self._clock.sleep(next(waits))

    async def stop(self) -> None:
        """Finish, write down every place, let go of everything."""
        for name in tuple(self._held):
            self._let_go(name)
        await asyncio.gather(*self._leaving.values())
        with contextlib.suppress(Unavailable):
            await self._store.endpoints.release(_MARK + self._owner, self._mark_epoch)

    def look(self) -> None:
        """A recovery was asked for."""
        self._asked = True

    # ----------------------------------------------------------------------------------------------- looking

    async def _look_around(self) -> None:
        rows = self._tools.subscriptions.all()
        await self._reap()
        for name, held in tuple(self._held.items()):
            row = rows.get(name)
            if row is None:
                await self.forget(name)
            elif row is not held.endpoint.row:
                held.endpoint.wake()
        now = self._clock.monotonic()
        if now - self._renewed >= self._settings.lease_seconds / 3 or any(self._new(name) for name in rows):
            await self._share(rows)
            await self._measure()
            self._asked = True
        if self._asked:
            self._asked = False
            await self._recover()
        if now - self._trimmed >= _TRIM_SECONDS:
            self._trimmed = now
            for held in tuple(self._held.values()):
                await held.endpoint.trim()

    def _new(self, name: str) -> bool:
        """It is not held here, and may be taken."""
        waits = self._not_before.get(name, 0.0) > self._clock.monotonic()
        return not (waits or name in self._held or name in self._leaving or name in self._others)

    async def _recover(self) -> None:
        for recovery in await self._store.recoveries.running():
            if (held := self._held.get(recovery.subscription)) is not None:
                await held.endpoint.recover(recovery)

    async def _share(self, rows: Mapping[str, SubscriptionChanged]) -> None:
        """Renew what is held, let go of what others should have, take what is ours."""
        now_ms = self._clock.now_ms()
        until_ms = now_ms + self._lease_ms
        if not self._mark_epoch:
            mark = await self._store.endpoints.claim(_MARK + self._owner, self._owner, now_ms, until_ms)
            self._mark_epoch = mark.epoch if mark is not None else 0
        epochs = {name: held.endpoint.epoch for name, held in self._held.items()}
        renewed = await self._store.endpoints.renew(
            self._owner, epochs | {_MARK + self._owner: self._mark_epoch}, until_ms
        )
        if _MARK + self._owner not in renewed:
            self._mark_epoch = 0
        self._renewed = self._clock.monotonic()
        for name in [name for name in self._held if name not in renewed]:
            await self._drop(name)
        known = await self._store.endpoints.all()
        owners = {self._owner} | {
            one.owner for one in known.values() if one.subscription.startswith(_MARK) and one.until_ms >= now_ms
        } - {""}
        for one in known.values():
            if one.subscription.startswith(_MARK) and one.until_ms < now_ms - _FORGET_MS:
                await self._store.endpoints.delete(one.subscription)
        self._others = {name for name in rows if _preferred(name, owners) != self._owner}
        for name, row in rows.items():
            if name in self._held and name in self._others:
                self._let_go(name)
            elif self._new(name):
                await self._take(row, known.get(name))

    async def _take(self, row: SubscriptionChanged, known: StoredEndpoint | None) -> None:
        now_ms = self._clock.now_ms()
        try:
            if not self._tools.subscriptions.newest(row):
                await self._tools.subscriptions.reseal(row)
                row = self._tools.subscriptions.get(row.id) or row
            target = Target.of(row, self._tools.subscriptions.vault)
        except Unopenable as error:
            _log.error("endpoint's secrets cannot be opened here", subscription=row.id, reason=str(error))
            self._put_off(row.id)
            return
        if known is None:
            await self._store.endpoints.create(row.id, await self.place_since(row.created_ms))
        stored = await self._store.endpoints.claim(row.id, self._owner, now_ms, now_ms + self._lease_ms)
        if stored is None:
            self._put_off(row.id, seconds=1.0)  # its owner is about to let go, or dead
            return
        endpoint = Endpoint(row, target, stored, self._tools)
        task = asyncio.create_task(endpoint.run(), name=f"endpoint {row.id}")
        self._held[row.id] = _Held(endpoint, task)

    async def place_since(self, at_ms: int | None) -> str:
        """The state of an endpoint that begins at a moment; None: now."""
        places = await self._tools.subscriptions.bus.offsets(TOPICS, "end" if at_ms is None else at_ms)
        return orjson.dumps({"positions": cursor.written(places)}).decode()

    async def _reap(self) -> None:
        """Endpoints whose task has ended: by a defect, or since somebody else has taken over."""
        for name, held in tuple(self._held.items()):
            if not held.task.done():
                continue
            error = None if held.task.cancelled() else held.task.exception()
            if isinstance(error, LeaseLost):
                _log.warning("endpoint was taken over by another process", subscription=name)
                await self._drop(name)
                continue
            if isinstance(error, Unopenable):
                _log.error("endpoint's secrets cannot be opened here", subscription=name, reason=str(error))
            elif error is not None:
                _log.error("endpoint ended by a defect, taken up anew", subscription=name, exc_info=error)
            self._put_off(name)
            self._let_go(name)

    def _put_off(self, name: str, *, seconds: float = 5.0) -> None:
        self._not_before[name] = self._clock.monotonic() + seconds

    def _let_go(self, name: str) -> None:
        """Stop it in the background: the others' leases must be renewed meanwhile."""
        held = self._held.pop(name)
        leaving = self._leaving[name] = asyncio.create_task(self._leave(name, held))
        leaving.add_done_callback(lambda _: self._leaving.pop(name, None))

    async def _leave(self, name: str, held: _Held) -> None:
        await held.endpoint.stop(_STOP_SECONDS)
        await _ended(held.task)
        with contextlib.suppress(Unavailable):
            await self._store.endpoints.release(name, held.endpoint.epoch)

    async def _drop(self, name: str) -> None:
        """Stop at once, and write nothing: it is somebody else's."""
        held = self._held.pop(name)
        held.task.cancel()
        await held.endpoint.stop(0)
        await _ended(held.task)

    async def forget(self, name: str) -> None:
        """The subscription was deleted: stop, and keep nothing of it."""
        if name in self._held:
            await self._drop(name)
        await self._store.deliveries.delete_of(name)
        await self._store.recoveries.delete_of(name)
        await self._store.endpoints.delete(name)

    # ------------------------------------------------------------------------------------------------ metrics

    async def _measure(self) -> None:
        metrics = self._tools.metrics
        metrics.webhook_lag.clear()
        others = 0
        for at, (name, held) in enumerate(sorted(self._held.items())):
            if at < _MOST_LABELS:
                metrics.webhook_lag.labels(name).set(held.endpoint.lag())
            else:
                others += held.endpoint.lag()
        if others:
            metrics.webhook_lag.labels("others").set(others)
        owed = await self._store.deliveries.owed()
        mine = [owed[name] for name in self._held if name in owed]
        metrics.webhook_owed.set(sum(one.count for one in mine))
        oldest = [one.oldest_ms for one in mine]
        oldest += [ms for held in self._held.values() if (ms := held.endpoint.oldest_ms()) is not None]
        metrics.webhook_oldest.set((self._clock.now_ms() - min(oldest)) / 1000 if oldest else 0)
        states = [held.endpoint.row.state for held in self._held.values()]
        metrics.webhook_endpoints.labels("active").set(sum(state == ACTIVE for state in states))
        metrics.webhook_endpoints.labels("disabled").set(sum(state != ACTIVE for state in states))


def _preferred(name: str, owners: set[str]) -> str:
    return max(owners, key=lambda owner: hashlib.sha256(f"{owner}\n{name}".encode()).digest())


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # told already, or of no interest any more
