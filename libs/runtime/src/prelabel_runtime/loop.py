"""The delivery loop: every consumer group of every service runs on this one.

    take a batch -> decode -> handle -> publish, set records aside, commit

Nothing is committed before what came of it is durable, so whatever dies when, the records are read again; handlers
bear repetition, so nothing is done twice to any effect. While a batch is being handled, the group membership is kept
alive; before a partition goes to another member, what is in flight there is finished and committed.

What failed decides what happens: see errors.py.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from prelabel_contract import cloudevents, names
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import AnyEvent, DeadLetterResolved, event
from prelabel_contract.limits import MAX_EVENT_BYTES

from . import dead_letters, log
from .attempts import LIMIT, Attempts, Mark
from .bus.base import Bus, Committed, Message, NotAssigned, Partition, Record
from .clock import Clock
from .dead_letters import Aside
from .errors import TryAgain, Unavailable
from .floor import Floor, Place
from .metrics import Metrics
from .retry import backoff
from .service import Handler, Reply, Subscription
from .sieve import Sieve
from .streak import Streak

T = TypeVar("T")
_log = log.get("prelabel.loop")

KEEP_ALIVE = 1.0
"""Seconds between two signs of life while a batch is being handled."""


@dataclass(slots=True)
class _Item:
    record: Record
    event: AnyEvent | None = None
    reply: Reply = ()
    skipped: bool = False
    published: int = 0


class Loop:
    """One member of one consumer group."""

    def __init__(
        self,
        bus: Bus,
        subscription: Subscription,
        *,
        clock: Clock,
        metrics: Metrics,
        rng: random.Random,
        streak: Streak | None = None,
        floor: Floor | None = None,
    ) -> None:
        """`streak` goes from one loop of a group to the next: starting anew must not hide a defect.

        `floor` is that of the process: what dies with it has no other way to tell whose fault it was.
        """
        self._bus = bus
        self._sub = subscription
        # What nobody here handles is passed over unread: a group may be after few records of a busy topic.
        self._types = {name: kind for name, kind in subscription.types.items() if kind in subscription.on}
        self._clock = clock
        self._sieve = Sieve(subscription.only, clock)
        self._metrics = metrics
        self._rng = rng
        self._retries = names.retry(subscription.group)
        topics = (*subscription.topics, self._retries)
        self._aside_topics = frozenset(topic for topic in topics if names.holds_set_aside(topic))
        self._consumer = bus.consumer(topics, group=subscription.group)
        self._stopping = asyncio.Event()
        self._buffer: list[Record] = []
        self._in_flight: set[asyncio.Task[None]] = set()
        self._attempts: dict[Partition, Attempts] = {}
        self._culprit: Record | None = None
        self._noted: dict[Partition, int] = {}
        """Where the newest note of each partition stands."""
        self._revoked: set[Partition] = set()
        self._due: dict[Partition, float] = {}
        self._streak = streak or Streak()
        self._gathered_at = float("-inf")
        self._floor = floor or Floor()
        self._missing: list[str] = []
        self.joined = False

    @property
    def group(self) -> str:
        """The consumer group."""
        return self._sub.group

    @property
    def waiting_for(self) -> str | None:
        """What is down, while the loop waits for it."""
        return self._missing[0] if self._missing else None

    @property
    def polled_at(self) -> float:
        """Monotonic seconds of the last completed poll: this loop's liveness."""
        return self._consumer.polled_at

    def stop(self) -> None:
        """Take no more records; `run` returns when those in flight are done."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until stopped. Raises what no record is to blame for, and `Fatal`."""
        await self._patiently(lambda: self._consumer.start(on_assign=self._assigned, on_revoke=self._drain))
        self.joined = True
        try:
            async with asyncio.TaskGroup() as group:
                while not self._stopping.is_set():
                    batch = await self._gather()
                    if self._stopping.is_set():
                        break  # what was only read is read again
                    if batch:
                        await self._launch(group, batch)
                    elif self._cautious() and not self._in_flight:
                        await self._relax()
        finally:
            self.joined = False
            await self._consumer.stop()

    async def lag(self) -> Mapping[str, int]:
        """Records not taken up yet, by topic."""
        totals: dict[str, int] = {}
        for place, count in (await self._consumer.lag()).items():
            totals[place.topic] = totals.get(place.topic, 0) + count
        for record in self._buffer:
            totals[record.topic] = totals.get(record.topic, 0) + 1
        return totals

    # ------------------------------------------------------------------------------------------ taking records

    async def _gather(self) -> list[Record]:
        """A batch: as many as fit, or what came within the linger after the first, or at the pace of a trickle."""
        batching = self._sub.batching
        limit = 1 if self._cautious() else batching.full
        if not self._buffer:
            await self._poll(limit, 0.5)
        affordable = await self._fill(limit, batching.linger)
        rest = self._gathered_at + batching.pace - self._clock.monotonic()
        if 0 < len(self._buffer) < limit and rest > 0:
            await self._clock.sleep(rest)
            await self._poll(limit - len(self._buffer), 0.0)
            affordable = await self._fill(limit, batching.linger)
        batch, self._buffer = self._buffer[:affordable], self._buffer[affordable:]
        if batch:
            self._gathered_at = self._clock.monotonic()
        return batch

    def _affordable(self, limit: int) -> int:
        """Records of the buffer that a batch may hold: as many as have its bytes, one at least, `limit` at most."""
        batching = self._sub.batching
        left, weigh = batching.bytes, batching.weigh
        alone = left if batching.alone is None else batching.alone
        for count, record in enumerate(islice(self._buffer, limit)):  # it may hold many times as much
            weight = len(record.value or b"") if weigh is None else weigh(record)
            left -= weight
            if left < 0 or weight > alone:
                return max(1, count)
        return min(limit, len(self._buffer))

    async def _fill(self, limit: int, linger: float) -> int:
        """Poll on until a batch is full, or the linger over; how much of the buffer it may hold then."""
        until = self._clock.monotonic() + linger
        affordable = self._affordable(limit)
        while affordable == len(self._buffer) < limit and self._buffer and not self._stopping.is_set():
            left = until - self._clock.monotonic()
            if left <= 0:
                break
            await self._poll(limit - len(self._buffer), left)
            affordable = self._affordable(limit)
        return affordable

    async def _poll(self, limit: int, timeout: float) -> None:
        self._wake_due_retries()
        self._revoked.clear()
        records = await self._patiently(lambda: self._consumer.poll(self._sieve.glance(limit), timeout))
        self._buffer.extend(self._sieve.sift(self._not_due(self._still_ours(records))))

    def _still_ours(self, records: Sequence[Record]) -> Sequence[Record]:
        """A partition can go, and even come back, while a poll is under way: its records are then read anew."""
        if not self._revoked:
            return records
        lost = [r for r in records if r.place in self._revoked]
        for record in reversed(lost):
            if record.place in self._consumer.assignment():
                self._consumer.seek(record.place, record.offset)
        return [r for r in records if r.place not in self._revoked]

    def _not_due(self, records: Sequence[Record]) -> Sequence[Record]:
        """Retries wait in their topic: its partition rests until the first of them is due."""
        if all(r.topic != self._retries for r in records):
            return records
        ready: list[Record] = []
        for record in records:
            if record.place in self._due:
                continue
            aside = dead_letters.read_aside(record, dead_letters.RETRY_HEADER)
            wait = (aside.not_before_ms - self._clock.now_ms()) / 1000 if aside else 0.0
            if wait > 0 and record.topic == self._retries:
                self._consumer.seek(record.place, record.offset)
                self._consumer.pause((record.place,))
                self._due[record.place] = self._clock.monotonic() + wait
            else:
                ready.append(record)
        return ready

    def _wake_due_retries(self) -> None:
        now = self._clock.monotonic()
        for place in [place for place, moment in self._due.items() if moment <= now]:
            del self._due[place]
            self._consumer.resume((place,))

    def _cautious(self) -> bool:
        return any(a.one_by_one for a in self._attempts.values())

    # ------------------------------------------------------------------------------------------- group changes

    async def _assigned(self, partitions: Collection[Partition]) -> None:
        for place in partitions:
            self._attempts.pop(place, None)
            self._due.pop(place, None)

    async def _drain(self, partitions: Collection[Partition]) -> None:
        """Finish and commit what is in flight; forget what was only read."""
        gone = set(partitions)
        self._revoked |= gone
        self._sieve.forget(gone)
        self._buffer = [r for r in self._buffer if r.place not in gone]
        if self._in_flight:
            await asyncio.wait(set(self._in_flight))

    # ---------------------------------------------------------------------------------------- handling a batch

    async def _launch(self, group: asyncio.TaskGroup, batch: list[Record]) -> None:
        ahead = 1 if self._cautious() else self._sub.batching.ahead
        while len(self._in_flight) >= ahead:
            await asyncio.wait(self._in_flight, timeout=KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
            if len(self._in_flight) >= ahead:
                await self._patiently(self._consumer.idle)
        batch, place = await self._begin(self._ours(batch))
        if not (batch := self._ours(batch)):
            place.leave()
            return
        before = tuple(self._in_flight)
        task = group.create_task(self._process(batch, before))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        task.add_done_callback(lambda _: place.leave())
        await asyncio.wait({task}, timeout=0)

    async def _process(self, batch: list[Record], before: tuple[asyncio.Task[None], ...]) -> None:
        self._metrics.received.labels(self.group).inc(len(batch))
        self._metrics.batch_size.labels(self.group).observe(len(batch))
        try:
            items = [self._decode(record) for record in batch]
            started = self._clock.monotonic()
            await self._handle(items)
            self._metrics.handle_seconds.labels(self.group).observe(self._clock.monotonic() - started)
            if before:
                await asyncio.wait(before)
                if any(t.cancelled() or t.exception() for t in before):
                    return  # they are read again; committing past them would lose them
            started = self._clock.monotonic()
            await self._complete(items)
            self._metrics.complete_seconds.labels(self.group).observe(self._clock.monotonic() - started)
        except NotAssigned:
            _log.info("partition lost before its commit, it will be read again", group=self.group)

    def _ours(self, batch: list[Record]) -> list[Record]:
        assigned = self._consumer.assignment() - self._revoked
        if assigned.issuperset({(r.topic, r.partition) for r in batch}):
            return batch
        return [r for r in batch if r.place in assigned]

    async def _begin(self, batch: list[Record]) -> tuple[list[Record], Place]:
        """Note one more attempt where a partition is touched for the first time; returns what to handle now.

        Where attempts were many that is one record, marked in the note; the rest waits in the buffer.
        """
        try:
            await self._note_first_attempts(batch)
        except NotAssigned:
            batch = []  # the partitions have gone; whoever has them now reads these records
        if not self._cautious() or not batch:
            return batch, await self._together()
        while self._in_flight:
            await asyncio.wait(self._in_flight, timeout=KEEP_ALIVE)
            await self._patiently(self._consumer.idle)
        batch = self._ours(batch)
        self._buffer[:0] = batch[1:]
        return await self._begin_one(batch[:1])

    async def _begin_one(self, batch: list[Record]) -> tuple[list[Record], Place]:
        """A record that runs by itself in this group; in the whole process, if somebody must be to blame."""
        if not batch:
            return [], await self._together()
        attempts = self._attempts[batch[0].place]
        self._culprit = batch[0] if attempts.culprit else None
        alone = await self._alive(self._floor.alone()) if attempts.suspect else self._floor.alone_now()
        place = alone or await self._together()
        try:
            if attempts.one_by_one and not attempts.culprit:
                marked = attempts.mark(Mark.ALONE if alone else Mark.AMONG)
                await self._note({batch[0].place: (batch[0].offset, marked)})
        except NotAssigned:
            return [], place
        except BaseException:
            place.leave()
            raise
        return batch, place

    async def _together(self) -> Place:
        return self._floor.together_now() or await self._alive(self._floor.together())

    async def _alive(self, waiting: Coroutine[Any, Any, Place]) -> Place:
        """Wait for what others have to end first, and stay a member of the group meanwhile."""
        task = asyncio.ensure_future(waiting)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=KEEP_ALIVE)
                if not task.done():
                    await self._patiently(self._consumer.idle)
        except BaseException:
            task.cancel()
            task.add_done_callback(lambda ended: None if ended.cancelled() else ended.result().leave())
            raise
        return task.result()

    async def _note_first_attempts(self, batch: list[Record]) -> None:
        notes: dict[Partition, tuple[int, Attempts]] = {}
        for record in batch:
            if (record.topic, record.partition) in self._attempts or (place := record.place) in notes:
                continue
            known = await self._patiently(lambda place=place: self._consumer.committed(place))  # type: ignore[misc]
            same = known is not None and known.offset == record.offset
            attempts = Attempts.read(known.note if known is not None and same else "")
            notes[place] = (record.offset, attempts.begun(self._sub.batching.records))
        await self._note(notes)

    async def _note(self, notes: Mapping[Partition, tuple[int, Attempts]]) -> None:
        """Keep attempts with what is committed: the offset stays where it is."""
        if notes:
            marks = {place: Committed(offset, attempts.note()) for place, (offset, attempts) in notes.items()}
            await self._patiently(lambda: self._consumer.commit(marks))
            for place, (offset, attempts) in notes.items():
                self._attempts[place], self._noted[place] = attempts, offset

    async def _withdraw(self, items: Sequence[_Item]) -> None:
        """Nothing of a batch is to blame for a dependency that is down: what it was noted with is taken back."""
        first: dict[Partition, int] = {}
        for item in items:
            first.setdefault(item.record.place, item.record.offset)
        notes = {
            place: (offset, self._attempts[place].withdrawn())
            for place, offset in first.items()
            if place in self._attempts and self._attempts[place].count and self._noted.get(place) == offset
        }
        await self._note(notes)

    async def _relax(self) -> None:
        """All that was there when processes died is done: records may run together again."""
        behind = await self._patiently(self._consumer.lag)
        notes: dict[Partition, tuple[int, Attempts]] = {}
        for place, attempts in self._attempts.items():
            if attempts.one_by_one and not behind.get(place):
                known = await self._patiently(lambda place=place: self._consumer.committed(place))  # type: ignore[misc]
                notes[place] = (known.offset if known else 0, Attempts())
        with contextlib.suppress(NotAssigned):
            await self._note(notes)

    def _decode(self, record: Record) -> _Item:
        if record is self._culprit:
            return _Item(record, reply=InvalidEvent("kills_its_process", f"{LIMIT} processes ended while handling it"))
        if self._sieve.passes(record):
            return _Item(record, skipped=True)
        topic, offset = record.topic, record.offset
        if topic in self._aside_topics:
            topic, _, offset, _ = dead_letters.origin(record)
        try:
            event = cloudevents.decode(
                record.headers, record.value, topic=topic, key=record.key, offset=offset, types=self._types
            )
        except InvalidEvent as error:
            return _Item(record, reply=error)
        if event is None:
            return _Item(record, skipped=True)
        return _Item(record, event)

    async def _handle(self, items: list[_Item]) -> None:
        """Give each handler its events; a batch that a dependency keeps from being handled waits, and is repeated."""
        todo: dict[Handler, list[_Item]] = {}
        moments: Counter[int] = Counter()
        for item in items:
            if item.event is not None:
                todo.setdefault(self._sub.on[type(item.event.data)], []).append(item)
                moments[item.event.time_ms] += 1
        self._observe_hop(moments)
        for handler, part in todo.items():
            events = [item.event for item in part]
            replies = await self._patiently(
                lambda h=handler, e=events: h(e),  # type: ignore[misc]
                meanwhile=lambda: self._withdraw(items),
            )
            if len(replies) != len(part):
                raise RuntimeError(f"a handler of {self.group} gave {len(replies)} replies to {len(part)} events")
            for item, reply in zip(part, replies, strict=True):
                item.reply = reply

    def _observe_hop(self, moments: Mapping[int, int]) -> None:
        """How long ago events were made, by how many of each moment: those of a batch were made together."""
        now = self._clock.now_ms()
        hop = self._metrics.hop_seconds.labels(self.group)
        for moment, times in moments.items():
            if moment:
                hop.observe_times(max(0, now - moment) / 1000, times)

    # -------------------------------------------------------------------------------------------- what came of it

    async def _complete(self, items: list[_Item]) -> None:
        messages: list[Message] = []
        offsets: dict[Partition, Committed] = {}
        ends: dict[tuple[str, int], int] = {}
        noted = any(attempts.count for attempts in self._attempts.values())
        for item in items:
            messages += self._messages(item)
            record = item.record
            ends[record.topic, record.partition] = record.offset + 1
            if noted and (attempts := self._attempts.get(record.place, Attempts())).count:
                self._attempts[record.place] = attempts.passed() if self._cautious() else Attempts()
        for (topic, number), end in ends.items():
            place = Partition(topic, number)
            offsets[place] = Committed(end, self._attempts.get(place, Attempts()).note())
        self._count(items)
        await self._patiently(lambda: self._consumer.complete(self._bus, messages, offsets))
        self._metrics.handled.labels(self.group).inc(len(items))
        self._streak.check(self.group, self._sub.dead_letters_in_a_row)

    def _count(self, items: Sequence[_Item]) -> None:
        """Once for the batch: a counter takes as long as a record's headers."""
        self._metrics.published.labels(self.group).inc(sum(item.published for item in items))
        self._metrics.skipped.labels(self.group).inc(sum(item.skipped for item in items))

    def _messages(self, item: _Item) -> list[Message]:
        reply = item.reply
        if not isinstance(reply, (InvalidEvent, TryAgain)):
            try:
                out = [_message(event) for event in reply]
            except InvalidEvent as error:
                reply = error
            else:
                self._streak.broken()
                item.published = len(out)
                return out + self._resolved(item.record) if item.record.topic == self._retries else out
        self._metrics.failed.labels(self.group, type(reply).__name__).inc()
        if isinstance(reply, TryAgain):
            self._streak.broken()
            return [self._retry(item.record, reply)]
        culprit = item.record is self._culprit
        if culprit or not self._replay_of(item.record):
            # What somebody gives back to be tried once more says nothing about the consumer if it fails again.
            self._streak.longer(culprit=culprit)
        return [self._bury(item.record, reply.reason, reply.detail)]

    def _resolved(self, record: Record) -> list[Message]:
        """Word that a dead letter was handled after all, if the record is the replay of one."""
        if not (letter := self._replay_of(record)):
            return []
        said = DeadLetterResolved(letter=letter, group=self.group)
        self._metrics.resolved.labels(self.group).inc()
        _log.debug("dead letter handled after its replay", group=self.group, letter=letter)
        event_id = names.derived(said.TYPE, letter)
        source = f"/{self.group}"
        return [_message(event(said, id=event_id, source=source, time_ms=self._clock.now_ms()))]

    def _replay_of(self, record: Record) -> str:
        """The dead letter that a record is the replay of; empty for any other."""
        if record.topic != self._retries:
            return ""
        before = dead_letters.read_aside(record, dead_letters.RETRY_HEADER)
        return before.letter if before is not None else ""

    def _retry(self, record: Record, error: TryAgain) -> Message:
        before = dead_letters.read_aside(record, dead_letters.RETRY_HEADER)
        attempts = (before.attempts if before else 0) + 1
        if attempts >= self._sub.retry.attempts:
            return self._bury(record, "retries_exhausted", error.reason)
        if not dead_letters.fits(record):
            return self._bury(record, "too_large_to_retry", error.reason)
        wait = min(error.after * 2 ** (attempts - 1), self._sub.retry.longest)
        aside = self._aside(record, error.reason, "", attempts, not_before=self._clock.now_ms() + int(wait * 1000))
        self._metrics.retried.labels(self.group).inc()
        return dead_letters.for_retry(record, self.group, aside)

    def _bury(self, record: Record, reason: str, detail: str) -> Message:
        before = dead_letters.read_aside(record, dead_letters.RETRY_HEADER)
        aside = self._aside(record, reason, detail, before.attempts if before else 0)
        self._metrics.dead_lettered.labels(self.group, reason).inc()
        _log.warning(
            "record dead-lettered",
            group=self.group, topic=aside.topic, partition=aside.partition, offset=aside.offset, reason=reason,
            event_id=_event_id(record),
        )  # fmt: skip
        return dead_letters.for_burial(record, self.group, aside)

    def _aside(self, record: Record, reason: str, detail: str, attempts: int, not_before: int = 0) -> Aside:
        topic, partition, offset, timestamp = dead_letters.origin(record)
        return Aside(
            reason=reason,
            detail=detail[:1000],
            topic=topic,
            partition=partition,
            offset=offset,
            timestamp_ms=timestamp,
            attempts=attempts,
            at_ms=self._clock.now_ms(),
            not_before_ms=not_before,
            letter=self._replay_of(record),
        )

    # ------------------------------------------------------------------------------------------------- patience

    async def _patiently(
        self, what: Callable[[], Awaitable[T]], *, meanwhile: Callable[[], Awaitable[None]] | None = None
    ) -> T:
        """Repeat in place while a dependency is down, `meanwhile` once before. Nothing is counted or set aside."""
        waits = backoff(0.2, 10.0, self._rng)
        missing: str | None = None
        try:
            while True:
                try:
                    return await what()
                except Unavailable as error:
                    if missing is None:
                        missing = error.what
                        self._missing.append(missing)
                        _log.warning("waiting for a dependency", group=self.group, dependency=missing)
                        if meanwhile is not None:
                            await meanwhile()
                    self._metrics.failed.labels(self.group, "Unavailable").inc()
                    if self._stopping.is_set():
                        raise
                    await self._clock.sleep(next(waits))
        finally:
            if missing is not None:
                self._missing.remove(missing)
                _log.info("waits no more", group=self.group, dependency=missing)


def _event_id(record: Record) -> str | None:
    """The id of the event as its sender wrote it, for the log; it may be no CloudEvent at all."""
    return next((value.decode(errors="replace") for name, value in record.headers if name == "ce_id" and value), None)


def _message(event: AnyEvent) -> Message:
    headers, value = cloudevents.encode(event)
    if len(value) > MAX_EVENT_BYTES:
        raise InvalidEvent(
            "output_too_large", f"{event.type} would be {len(value)} bytes, the limit is {MAX_EVENT_BYTES}"
        )
    return Message(event.topic, event.key.encode(), value, headers)


def messages(events: Sequence[AnyEvent]) -> list[Message]:
    """Events as messages, for whoever publishes without a loop (doors). Raises `InvalidEvent` for one too large."""
    return [_message(event) for event in events]
