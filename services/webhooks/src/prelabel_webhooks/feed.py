"""The log, read once for all endpoints.

One reader follows the topics and keeps the newest events in a window of bounded size. An endpoint whose place is in the
window is served from there; one that is further behind (it was held, or disabled, or this process was down) reads the
log itself, a few records at a time, until it has caught up. So what an endpoint costs in memory does not depend on how
far behind it is. While there is no endpoint, nothing of the log is looked at.
"""

import asyncio
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from prelabel_contract.errors import InvalidEvent
from prelabel_runtime import log
from prelabel_runtime.bus.base import Bus, Partition, Record
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.retry import backoff
from prelabel_runtime.service import Part

from .handlers import TOPICS, Outgoing, outgoing

_log = log.get("prelabel.webhooks")

_OFFSET = attrgetter("offset")
_BACK_RECORDS = 64
_BACK_BYTES = 512 * 1024
_POLL = 500


@dataclass(slots=True)
class Stretch:
    """Events of one partition from an offset on. All before `next` was looked at."""

    events: Sequence[Outgoing]
    next: int
    old: bool = False
    """It lies far back: what it tells may have been deleted since."""


@dataclass(slots=True)
class _Window:
    """The newest events of a partition: all that there are from `start` to `end`."""

    start: int
    end: int
    events: list[Outgoing] = field(default_factory=list)
    gone: int = 0
    """Events at the head of the list that are no longer held."""


class Feed(Part):
    """Reads the log for all endpoints."""

    def __init__(self, bus: Bus, *, window_bytes: int, clock: Clock, rng: random.Random) -> None:
        self._bus = bus
        self._limit = window_bytes
        self._clock = clock
        self._rng = rng
        self._reader = bus.reader(TOPICS, start="end")
        self._windows: dict[Partition, _Window] = {}
        self._order: deque[Outgoing] = deque()
        self._bytes = 0
        self._listeners: set[Callable[[], None]] = set()
        self._back = asyncio.Semaphore(2)  # what lies far back is read for few endpoints at a time

    async def start(self) -> None:
        """Begin at the end of the log: what lies before is read when an endpoint needs it."""
        await self._reader.start()
        for place in await self._reader.ends():
            at = self._reader.position(place)
            self._windows[place] = _Window(at, at)

    async def stop(self) -> None:
        """Close."""
        await self._reader.stop()

    async def run(self) -> None:
        """Follow the log."""
        waits = backoff(0.2, 10.0, self._rng)
        while True:
            try:
                records = await self._reader.poll(_POLL, 1.0)
            except Unavailable:
                await self._clock.sleep(next(waits))
                continue
            waits = backoff(0.2, 10.0, self._rng)
            if records:
                self._keep(records)
                for listener in tuple(self._listeners):
                    listener()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have `listener` called whenever there is something new; call what this returns to end that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    @property
    def ends(self) -> dict[Partition, int]:
        """Every partition, and the end of what has been read."""
        return {place: window.end for place, window in self._windows.items()}

    def behind(self, place: Partition, offset: int) -> bool:
        """Whether there is something to read from there."""
        window = self._windows.get(place)
        return window is not None and offset < window.end

    async def read(self, place: Partition, offset: int) -> Stretch:
        """Events from an offset on: some, or none up to `next`. Raises `Unavailable`."""
        window = self._windows[place]
        if offset < window.start:
            return await self._read_back(place, offset)
        at = bisect_left(window.events, offset, lo=window.gone, key=_OFFSET)
        events = window.events[at : at + _BACK_RECORDS]
        return Stretch(events, window.end if at + len(events) == len(window.events) else events[-1].offset + 1)

    async def find(self, place: Partition, offset: int) -> Outgoing | None:
        """The event at an offset; None if the log no longer has it. Raises `Unavailable`."""
        window = self._windows.get(place)
        if window is not None and window.start <= offset:
            at = bisect_left(window.events, offset, lo=window.gone, key=_OFFSET)
            if at < len(window.events) and window.events[at].offset == offset:
                return window.events[at]
        async with self._back:
            records = await self._bus.fetch(place, offset, 1)
        return _told(records[0]) if records and records[0].offset == offset else None

    async def _read_back(self, place: Partition, offset: int) -> Stretch:
        end = self._windows[place].end  # what comes while the log is asked was not looked for
        async with self._back:
            records = await self._bus.fetch(place, offset, _BACK_RECORDS)
        if not records:
            return Stretch((), end)
        if records[0].offset > offset:
            lost = records[0].offset - offset
            _log.warning("events had gone from the log before they were delivered", topic=place.topic, count=lost)
        size = 0
        taken: list[Record] = []
        for record in records:
            size += len(record.value or b"")
            if taken and size > _BACK_BYTES:
                break
            taken.append(record)
        return Stretch([event for event in map(_told, taken) if event is not None], taken[-1].offset + 1, old=True)

    def _keep(self, records: Sequence[Record]) -> None:
        if not self._listeners:
            self._pass(records)
            return
        for record in records:
            window = self._windows[record.place]
            window.end = record.offset + 1
            event = _told(record)
            if event is not None:
                window.events.append(event)
                self._order.append(event)
                self._bytes += event.size
        while self._bytes > self._limit:
            self._drop(self._order.popleft())

    def _pass(self, records: Sequence[Record]) -> None:
        """Nobody listens, so nothing is looked at: an endpoint that comes reads in the log what it wants of it."""
        while self._order:
            self._drop(self._order.popleft())
        for record in records:
            window = self._windows[record.place]
            window.start = window.end = record.offset + 1

    def _drop(self, event: Outgoing) -> None:
        window = self._windows[event.place]
        self._bytes -= event.size
        window.start = event.offset + 1
        window.gone += 1
        if window.gone >= 256:
            del window.events[: window.gone]
            window.gone = 0


def _told(record: Record) -> Outgoing | None:
    try:
        return outgoing(record)
    except InvalidEvent as error:
        _log.error(
            "record passed over: it cannot be told", topic=record.topic, offset=record.offset, reason=error.reason
        )
        return None
