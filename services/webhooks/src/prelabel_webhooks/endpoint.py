"""One endpoint: what it is owed, how much of that is under way, how it has done, and where it stands in the log.

It has lanes: the log as it grows, and each recovery (the log from a moment on, once more). What a lane hands out is
tried at once; what fails is stored as owed before the lane's place goes past it, and tried again by the schedule. So a
process that is killed delivers again what it had not written down, under the same ids, and forgets nothing.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import orjson
from prelabel_contract.events import SubscriptionChanged
from prelabel_runtime import log
from prelabel_runtime.bus.base import Partition
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.retry import backoff
from prelabel_runtime.store.base import Store
from prelabel_runtime.store.deliveries import (
    DeliveryState,
    RecoveryState,
    StoredDelivery,
    StoredEndpoint,
    StoredRecovery,
)
from prelabel_runtime.store.paging import PageKey

from . import cursor, ledger
from .cursor import Cursor
from .feed import Feed
from .forgotten import still_told
from .handlers import Outgoing, wants
from .order import Key, Order
from .schedule import Schedule, Standing
from .sender import Attempt, Sender, Target
from .settings import WebhooksSettings
from .subscriptions import ACTIVE, Subscriptions

T = TypeVar("T")
_log = log.get("prelabel.webhooks")

_DUE = 32
"""Owed deliveries taken up at a time."""
_IDLE_SECONDS = 3600.0
"""A look at what is owed at least so often, whatever nobody told."""


_PARKED_MS = 3_600_000
"""What waits for another delivery is looked at so late; it is called when its turn has come."""
_PAGE = 1000


def _key(stored: StoredDelivery) -> Key:
    return stored.topic, stored.partition, stored.task or stored.project


class LeaseLost(Exception):
    """Another process delivers to this endpoint now."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What all endpoints of a process share."""

    store: Store
    feed: Feed
    sender: Sender
    subscriptions: Subscriptions
    settings: WebhooksSettings
    clock: Clock
    rng: random.Random
    metrics: Metrics

    @property
    def schedule(self) -> Schedule:
        """When a failed delivery is tried again."""
        return Schedule(self.settings.retry_seconds)


@dataclass(slots=True)
class _Lane:
    """A walk through the log."""

    cursor: Cursor
    until: Mapping[Partition, int] | None = None
    """Where it ends; None: never."""
    recovery: StoredRecovery | None = None
    ahead: deque[Outgoing] | None = None
    """Events of one partition that were read and not handed out yet."""
    done: int = 0
    """Events before the place that a new process begins at."""
    beyond: set[tuple[Partition, int]] = field(default_factory=set)
    """Events of a recovery that are done, while one before them is under way: a new process does them once more."""

    order: deque[Partition] = field(default_factory=deque)

    def end(self, place: Partition) -> int | None:
        return None if self.until is None else self.until.get(place, 0)

    def in_turn(self) -> Iterator[Partition]:
        """Every partition once, beginning behind the one that was taken last."""
        if len(self.order) != len(self.cursor.positions):
            self.order = deque(self.cursor.positions)
        for _ in range(len(self.order)):
            self.order.rotate(-1)
            yield self.order[-1]

    def ended(self, event: Outgoing) -> None:
        """An event is done."""
        self.cursor.end(event.place, event.offset)
        if self.recovery is not None:
            self.beyond.add((event.place, event.offset))

    def counted(self, safe: Mapping[Partition, int]) -> int:
        """How many events are done of those before a place: whoever goes on from there counts the others."""
        before = {(place, offset) for place, offset in self.beyond if offset < safe[place]}
        self.beyond -= before
        self.done += len(before)
        return self.done

    @property
    def over(self) -> bool:
        """It has an end, and nothing before that is left to do."""
        if self.until is None or self.ahead or not self.cursor.idle:
            return False
        return all(self.cursor.positions.get(place, end) >= end for place, end in self.until.items())


@dataclass(frozen=True, slots=True)
class _Job:
    event: Outgoing
    delivery: str
    lane: _Lane | None
    """None: it was owed."""
    before: StoredDelivery | None
    """What was stored of it."""


class Endpoint:
    """Delivers to one endpoint, as long as this process holds it."""

    def __init__(self, row: SubscriptionChanged, target: Target, stored: StoredEndpoint, tools: Tools) -> None:
        self._row = row
        self._target = target
        self._tools = tools
        self._settings = tools.settings
        self._clock = tools.clock
        self._store = tools.store
        self._epoch = stored.epoch
        state: dict[str, Any] = orjson.loads(stored.body)
        self.standing = Standing(state.get("failing_since_ms"), state.get("in_a_row", 0))
        self._paused_ms: int = state.get("paused_until_ms", 0)
        self._live = _Lane(Cursor(cursor.read(state.get("positions", {}))))
        self._recoveries: list[_Lane] = []
        self._turn = 0
        self._wake = asyncio.Event()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._owed: deque[StoredDelivery] = deque()
        self._owed_ms: int = 0
        """When something may be due; 0: now, or not known."""
        self._next_slot = 0.0
        self._order = Order()
        self._log: dict[str, StoredDelivery] = {}
        self._written = ""
        self._saving = asyncio.Lock()
        self._failure: BaseException | None = None
        self._stopping = False

    @property
    def subscription(self) -> str:
        """Its id."""
        return self._row.id

    @property
    def epoch(self) -> int:
        """Of our hold on it."""
        return self._epoch

    @property
    def host(self) -> str:
        """For the log: no path, no query."""
        return self._target.url.split("/")[2]

    def lag(self) -> int:
        """Records of the log that it has not passed."""
        safe = self._live.cursor.safe()
        return sum(max(0, end - safe.get(place, end)) for place, end in self._tools.feed.ends.items())

    def oldest_ms(self) -> int | None:
        """When the oldest event happened that is known to wait in the log; None if none is known."""
        return self._live.ahead[0].time_ms if self._live.ahead else None

    @property
    def row(self) -> SubscriptionChanged:
        """The subscription, as what is sent now goes by it."""
        return self._row

    def wake(self) -> None:
        """Look around: something has changed."""
        self._wake.set()

    def _refresh(self) -> None:
        """Go by the subscription as it is now. Raises `Unopenable`."""
        row = self._tools.subscriptions.get(self.subscription)
        if row is None or row is self._row:
            return
        target = Target.of(row, self._tools.subscriptions.vault)
        if row.state == ACTIVE and self._row.state != ACTIVE:
            self.standing.succeeded()
            self._paused_ms = 0
        if row.types != self._row.types or row.projects != self._row.projects:
            for lane in (self._live, *self._recoveries):
                lane.ahead = None
        self._row, self._target = row, target

    # ----------------------------------------------------------------------------------------------- life

    async def run(self) -> None:
        """Deliver until stopped. Raises `LeaseLost`, and what is a defect."""
        await self._patiently(self._open)
        unlisten = self._tools.feed.listen(self._wake.set)
        saver = asyncio.create_task(self._save_always())
        try:
            while not self._stopping:
                self._wake.clear()
                if self._failure is not None:
                    raise self._failure
                if saver.done():
                    saver.result()
                if not await self._begin_some():
                    await self._until_woken()
        finally:
            saver.cancel()
            unlisten()
            await asyncio.wait({saver})

    async def stop(self, seconds: float) -> None:
        """Begin nothing more, give what is under way some seconds, write down where it stands."""
        self._stopping = True
        self._wake.set()
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=seconds)
        for task in tuple(self._under_way.values()):
            task.cancel()
        with contextlib.suppress(Unavailable, LeaseLost):  # else it is delivered again
            await self.save()

    async def _open(self) -> None:
        """Begin with partitions that are new since we were here."""
        missing = [place for place in self._tools.feed.ends if place not in self._live.cursor.positions]
        if missing:
            topics = sorted({place.topic for place in missing})
            since = await self._tools.subscriptions.bus.offsets(topics, self._row.created_ms)
            self._live.cursor.positions.update({place: since[place] for place in missing})
        if self._row.ordered:
            await self._line_up()

    async def recover(self, recovery: StoredRecovery) -> None:
        """Deliver again, unless that is under way already. Raises `Unavailable`."""
        if any(lane.recovery is not None and lane.recovery.id == recovery.id for lane in self._recoveries):
            return
        body = orjson.loads(recovery.body)
        if body["deliveries"] == "failed":
            await self._recover_failed(recovery)
            return
        lane = _Lane(Cursor(cursor.read(body["positions"])), cursor.read(body["until"]), recovery, done=recovery.done)
        self._recoveries.append(lane)
        self._wake.set()

    async def _recover_failed(self, recovery: StoredRecovery) -> None:
        now_ms = self._clock.now_ms()
        count = await self._store.deliveries.requeue(self.subscription, recovery.since_ms, recovery.until_ms, now_ms)
        await self._store.recoveries.put(replace(recovery, state=RecoveryState.COMPLETED, done=recovery.done + count))
        self._owed_ms = 0
        self._wake.set()

    # ------------------------------------------------------------------------------------- what comes next

    async def _begin_some(self) -> bool:
        """Begin attempts as long as there is room; False if nothing can be begun now."""
        self._refresh()
        if self._row.state != ACTIVE or self._clock.now_ms() < self._paused_ms:
            return False
        if self._owed_ms <= self._clock.now_ms() and not self._owed:
            await self._patiently(self._take_owed)
        begun = False
        while self._may_begin():
            job = await self._patiently(self._next)
            if job is None or self._stopping:  # a stop does not wait for what begins now; the next process does it
                break
            self._begin(job)
            begun = True
            self._refresh()
        # Where more may be due than was looked at, and nothing is under way that wakes us when it ends: look again now.
        return begun or not (self._owed_ms or self._owed or self._under_way)

    def _may_begin(self) -> bool:
        active = self._row.state == ACTIVE and not self._stopping
        return active and len(self._under_way) < self._room() and self._in_rate()

    def _room(self) -> int:
        return 1 if self.standing.held(self._settings.hold_after) else self._settings.concurrency

    def _in_rate(self) -> bool:
        return self._row.rate is None or self._clock.monotonic() >= self._next_slot

    async def _next(self) -> _Job | None:
        """The next delivery: what is owed first, then the lanes in turn."""
        while self._owed:
            job = await self._next_owed(self._owed[0])
            self._owed.popleft()  # not before: where the bus or the store is away, this is asked once more
            if job is not None:
                return job
        if self.standing.held(self._settings.hold_after) and self._clock.now_ms() < self.standing.next_try_ms:
            return None
        while (found := await self._next_event()) is not None:
            lane, event = found
            delivery = event.delivery_id(self.subscription)
            if delivery in self._under_way or delivery in self._order:  # seen to already: not by this lane, too
                lane.cursor.skip(event.place, event.offset)
                continue
            lane.cursor.begin(event.place, event.offset)
            if self._row.ordered and not await self._is_first(event):
                lane.cursor.end(event.place, event.offset)
                continue
            return _Job(event, delivery, lane, await self._known(delivery) if lane.recovery else None)
        return None

    async def _next_owed(self, stored: StoredDelivery) -> _Job | None:
        """An owed delivery; None for one that is under way, or given up here. Raises `Unavailable`."""
        if stored.id in self._under_way:
            return None
        event = await self._tools.feed.find(Partition(stored.topic, stored.partition), stored.offset)
        told = await still_told([event], self._store.submissions) if event is not None else ()
        if event is not None and told and wants(self._row, event):
            return _Job(event, stored.id, None, stored)
        why = ledger.NOT_WANTED if told else ledger.GONE
        await self._store.deliveries.put([ledger.given_up(stored, self._clock.now_ms(), why)])
        await self._over(stored)
        return None

    async def _next_event(self) -> tuple[_Lane, Outgoing] | None:
        """The next event of the lanes, which take turns."""
        lanes = (self._live, *self._recoveries)
        for step in range(len(lanes)):
            lane = lanes[(self._turn + step) % len(lanes)]
            if (event := await self._next_of(lane)) is not None:
                self._turn += 1
                return lane, event
        return None

    async def _is_first(self, event: Outgoing) -> bool:
        """Whether an event waits for none before it; else it is stored as owed."""
        new = ledger.first(event, self.subscription)
        if self._order.add(_key(new), new.offset, new.id):
            return True
        await self._patiently(lambda: self._park(new))
        if self._order.add(_key(new), new.offset, new.id):  # its turn came before it was stored: nobody could call it
            await self._patiently(lambda: self._release([new.id]))
        return False

    async def _park(self, stored: StoredDelivery) -> None:
        now_ms = self._clock.now_ms()
        await self._store.deliveries.put([ledger.parked(stored, now_ms, now_ms + _PARKED_MS)])

    async def _over(self, stored: StoredDelivery) -> None:
        """A delivery is done, or given up: whatever waited for it has its turn."""
        following = self._order.remove(_key(stored), stored.id) if stored.id in self._order else None
        if following is not None:  # it is the first from here on: nobody else would let it go
            await self._patiently(lambda: self._release([following]))

    async def _release(self, deliveries: list[str]) -> None:
        now_ms = self._clock.now_ms()
        found = (await self._store.deliveries.get_many(deliveries)).values()
        waiting = [one for one in found if one.state is DeliveryState.PENDING and not one.attempts]
        await self._store.deliveries.put([ledger.parked(one, now_ms, now_ms) for one in waiting])
        self._owed_ms = 0

    async def _line_up(self) -> None:
        """Put what is owed in order, as it was when we were here last."""
        after: PageKey | None = None
        while page := await self._store.deliveries.page(
            self.subscription, limit=_PAGE, after=after, state=DeliveryState.PENDING
        ):
            for one in page:
                self._order.add(_key(one), one.offset, one.id)
            after = PageKey(page[-1].event_ms, page[-1].id)
        await self._release(self._order.firsts())

    async def _known(self, delivery: str) -> StoredDelivery | None:
        found = await self._patiently(lambda: self._store.deliveries.get_many([delivery]))
        return found.get(delivery)

    async def _next_of(self, lane: _Lane) -> Outgoing | None:
        while not lane.ahead:
            place = self._behind(lane)
            if place is None:
                return None
            at = lane.cursor.positions[place]
            stretch = await self._tools.feed.read(place, at)
            end = lane.end(place)
            wanted = [
                event for event in stretch.events if wants(self._row, event) and (end is None or event.offset < end)
            ]
            if stretch.old or lane.recovery is not None:
                wanted = await still_told(wanted, self._store.submissions)
            if lane.cursor.positions[place] != at:
                continue  # the subscription changed meanwhile
            lane.ahead = deque(wanted)
            if not wanted:
                lane.cursor.positions[place] = stretch.next
        return lane.ahead.popleft()

    def _behind(self, lane: _Lane) -> Partition | None:
        """A partition in which the lane has something to read: another one each time, so that none starves the rest."""
        for place in lane.in_turn():
            position, end = lane.cursor.positions[place], lane.end(place)
            if (end is None or position < end) and self._tools.feed.behind(place, position):
                return place
        return None

    async def _take_owed(self) -> None:
        now_ms = self._clock.now_ms()
        self._owed_ms = now_ms + round(1000 * _IDLE_SECONDS)
        limit = _DUE + len(self._under_way)  # what is under way is due as well, until it has ended
        busy = frozenset(self._under_way)  # before the question: what ends meanwhile is in the answer as it was before
        due = await self._store.deliveries.due(self.subscription, self._owed_ms, limit=limit)
        ready = [one for one in due if one.next_ms <= now_ms and one.id not in busy]
        later = [one.next_ms for one in due if one.next_ms > now_ms]
        self._owed.extend(ready)
        if later:
            self._owed_ms = min(self._owed_ms, *later)
        elif len(due) == limit:  # there may be more
            self._owed_ms = 0

    async def _until_woken(self) -> None:
        """Wait for room, something new, or the next moment at which something may be due."""
        now_ms = self._clock.now_ms()
        moments = [self._owed_ms, now_ms + round(1000 * _IDLE_SECONDS)]
        if self._paused_ms > now_ms:
            moments = [self._paused_ms]
        elif self.standing.held(self._settings.hold_after):
            moments.append(self.standing.next_try_ms)
        if not self._in_rate():
            moments.append(now_ms + round(1000 * (self._next_slot - self._clock.monotonic())) + 1)
        ahead = [moment - now_ms for moment in moments if moment > now_ms]
        await self._wait(min(ahead, default=1000) / 1000)

    async def _wait(self, seconds: float) -> None:
        woken = asyncio.create_task(self._wake.wait())
        slept = asyncio.create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait({woken, slept}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            slept.cancel()

    # -------------------------------------------------------------------------------------------- attempts

    def _begin(self, job: _Job) -> None:
        if self._row.rate is not None:
            now = self._clock.monotonic()
            self._next_slot = max(now, self._next_slot) + 1 / self._row.rate
        task = asyncio.create_task(self._deliver(job))
        self._under_way[job.delivery] = task
        task.add_done_callback(lambda task: self._ended(job, task))

    def _ended(self, job: _Job, task: asyncio.Task[None]) -> None:
        self._under_way.pop(job.delivery, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
        self._wake.set()

    async def _deliver(self, job: _Job) -> None:
        body = job.event.body(self._row.payload)
        attempt = await self._tools.sender.attempt(self._target, job.delivery, body)
        now_ms = self._clock.now_ms()
        stored = self._after(job, attempt, now_ms)
        if attempt.delivered:
            self.standing.succeeded()
            if job.before is not None:
                await self._patiently(lambda: self._store.deliveries.put([stored]))
            else:
                self._remember(stored)
        else:
            self.standing.failed(now_ms, hold_after=self._settings.hold_after, longest_hold=self._settings.hold_seconds)
            await self._patiently(lambda: self._store.deliveries.put([stored]))
            if stored.state is DeliveryState.PENDING:
                self._owed_ms = min(self._owed_ms, stored.next_ms)
            if attempt.retry_after:
                self._paused_ms = max(self._paused_ms, now_ms + round(1000 * attempt.retry_after))
        if stored.state is not DeliveryState.PENDING:
            await self._over(stored)
        if job.lane is not None:
            job.lane.ended(job.event)
        await self._judge(attempt, now_ms)

    def _after(self, job: _Job, attempt: Attempt, now_ms: int) -> StoredDelivery:
        """What is stored of a delivery after an attempt."""
        before = job.before or ledger.first(job.event, self.subscription)
        if job.lane is not None:  # a recovery begins a new schedule
            before = replace(before, attempts=0)
        next_ms = self._tools.schedule.next_ms(
            before.attempts + 1, now_ms, self._tools.rng, retry_after=attempt.retry_after
        )
        return ledger.attempted(before, attempt, next_ms)

    async def _judge(self, attempt: Attempt, now_ms: int) -> None:
        """Disable an endpoint that says it is gone, or that has failed for days."""
        if self._row.state != ACTIVE:
            return
        reason = ""
        if attempt.result == "gone":
            reason = "gone"
        elif not attempt.delivered and self.standing.hopeless(now_ms, self._settings.disable_hours):
            reason = "failing"
        if reason:
            since_ms = self.standing.failing_since_ms
            _log.warning("endpoint disabled", subscription=self.subscription, host=self.host, reason=reason)
            await self._patiently(lambda: self._tools.subscriptions.disable(self.subscription, reason, since_ms))
            self._tools.metrics.webhook_disabled.labels(reason).inc()
            self._refresh()
            self.standing.succeeded()  # whoever resumes it begins anew
            self._paused_ms = 0

    # ---------------------------------------------------------------------------------------- writing down

    def _remember(self, stored: StoredDelivery) -> None:
        """Keep a success for the delivery log: written with the place, and only the newest of them."""
        self._log[stored.id] = stored
        while len(self._log) > self._settings.log_rows:
            self._log.pop(next(iter(self._log)))

    async def _save_always(self) -> None:
        while True:
            await self._clock.sleep(self._settings.save_seconds)
            with contextlib.suppress(Unavailable):
                await self.save()

    async def save(self) -> None:
        """Write where it stands, and what succeeded lately. Raises `Unavailable`, `LeaseLost`."""
        async with self._saving:  # or an older place could be written over a newer one, at a stop
            await self._save()

    async def _save(self) -> None:
        state = {
            "positions": cursor.written(self._live.cursor.safe()),
            "failing_since_ms": self.standing.failing_since_ms,
            "in_a_row": self.standing.in_a_row,
            "paused_until_ms": self._paused_ms,
        }
        await self._save_recoveries()
        lately, self._log = self._log, {}
        try:
            await self._store.deliveries.put(list(lately.values()))
        except (Unavailable, asyncio.CancelledError):  # cancelled at a stop, which saves once more
            self._log = lately | self._log
            raise
        body = orjson.dumps(state).decode()
        if body != self._written:
            if not await self._store.endpoints.save(self.subscription, self._epoch, body):
                raise LeaseLost(self.subscription)
            self._written = body

    async def _save_recoveries(self) -> None:
        for lane in tuple(self._recoveries):
            recovery = lane.recovery
            if recovery is None or lane.until is None:
                continue
            over = lane.over
            safe = lane.cursor.safe()
            done = lane.counted(safe)
            places = {"positions": cursor.written(safe), "until": cursor.written(lane.until)}
            body = {"deliveries": "all", **places}
            state = RecoveryState.COMPLETED if over else RecoveryState.RUNNING
            changed = replace(recovery, state=state, done=done, body=orjson.dumps(body).decode())
            if changed != recovery:
                await self._store.recoveries.put(changed)
                lane.recovery = changed
            if over:
                self._recoveries.remove(lane)
                _log.info("recovery completed", subscription=self.subscription, recovery=recovery.id, count=done)

    async def trim(self) -> None:
        """Forget what the delivery log has too much of."""
        since_ms = self._clock.now_ms() - round(self._settings.log_days * 86_400_000)
        for state, keep in (
            (DeliveryState.DELIVERED, self._settings.log_rows),
            (DeliveryState.EXHAUSTED, self._settings.exhausted_rows),
        ):
            await self._store.deliveries.trim(self.subscription, state, keep=keep, since_ms=since_ms)

    async def _patiently(self, what: Callable[[], Awaitable[T]]) -> T:
        """Repeat while the bus or the store is away. Other endpoints do the same; nothing is lost meanwhile."""
        waits = backoff(0.2, 10.0, self._tools.rng)
        while True:
            try:
                return await what()
            except Unavailable as error:
                _log.warning("waiting for a dependency", subscription=self.subscription, dependency=error.what)
                await self._clock.sleep(next(waits))
