"""Time, ids and buses that do what a test says."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Literal

from prelabel_runtime.bus.base import Bus, Committed, Consumer, Listener, Message, Partition, Reader, Record, TopicSpec

__all__ = ["ManualClock", "WatchedBus", "counted_bytes", "counted_ids"]


class ManualClock:
    """A clock that moves only when told: by `advance`, or by whoever sleeps, for whom no time passes.

    Loops that linger need a linger of 0 with it: nothing else would end their wait.
    """

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._start_ms = now_ms
        self._passed = 0.0
        self.slept: list[float] = []
        """Every sleep, in seconds."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return self._start_ms + round(self._passed * 1000)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._passed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._passed += seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and everybody else go on."""
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


def counted_ids(prefix: str = "id") -> Callable[[], str]:
    """Ids in order: id-1, id-2, …"""
    numbers = count(1)
    return lambda: f"{prefix}-{next(numbers)}"


def counted_bytes() -> Callable[[int], bytes]:
    """Bytes that differ from call to call, the same in every run."""
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


class WatchedBus(Bus):
    """A bus that notes what is asked of it, and asks `before` first: that may raise `Unavailable`, or wait.

    `steps` gets ("publish", the topics) and ("commit", the offsets). Publishing and committing are two steps here,
    also over a bus that can do both at once: their order can be seen.
    """

    def __init__(self, inner: Bus, before: Callable[[str], None] = lambda step: None) -> None:
        self._inner = inner
        self._before = before
        self.steps: list[tuple[str, object]] = []

    async def start(self) -> None:
        """Start the bus below."""
        await self._inner.start()

    async def stop(self) -> None:
        """Stop it."""
        await self._inner.stop()

    async def provision(self, topics: Sequence[TopicSpec]) -> None:
        """As below."""
        await self._inner.provision(topics)

    async def publish(self, messages: Sequence[Message]) -> None:
        """As below, noted when it is durable."""
        self._before("publish")
        await self._inner.publish(messages)
        self.steps.append(("publish", [m.topic for m in messages]))

    def consumer(self, topics: Sequence[str], *, group: str) -> Consumer:
        """A watched member."""
        return _WatchedConsumer(self._inner.consumer(topics, group=group), self._before, self.steps)

    def reader(self, topics: Sequence[str], *, start: Literal["beginning", "end"]) -> Reader:
        """As below."""
        return self._inner.reader(topics, start=start)

    async def offsets(self, topics: Sequence[str], at: Literal["beginning", "end"] | int) -> Mapping[Partition, int]:
        """As below."""
        return await self._inner.offsets(topics, at)

    async def fetch(self, partition: Partition, offset: int, limit: int) -> Sequence[Record]:
        """As below."""
        return await self._inner.fetch(partition, offset, limit)

    async def topics(self) -> frozenset[str]:
        """As below."""
        return await self._inner.topics()

    async def committed(self, group: str, topics: Sequence[str]) -> Mapping[Partition, int]:
        """As below."""
        return await self._inner.committed(group, topics)

    async def check(self) -> None:
        """As below."""
        await self._inner.check()


class _WatchedConsumer(Consumer):
    # `complete` is the abstract class's own: publish, then commit.

    def __init__(self, inner: Consumer, before: Callable[[str], None], steps: list[tuple[str, object]]) -> None:
        self._inner = inner
        self._before = before
        self._steps = steps

    @property
    def polled_at(self) -> float:  # type: ignore[override]
        return self._inner.polled_at

    async def start(self, *, on_assign: Listener, on_revoke: Listener) -> None:
        self._before("start")
        await self._inner.start(on_assign=on_assign, on_revoke=on_revoke)

    async def stop(self) -> None:
        await self._inner.stop()

    async def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        self._before("poll")
        return await self._inner.poll(limit, timeout)

    async def idle(self) -> None:
        await self._inner.idle()

    def pause(self, partitions: Collection[Partition]) -> None:
        self._inner.pause(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self._inner.resume(partitions)

    def seek(self, partition: Partition, offset: int) -> None:
        self._inner.seek(partition, offset)

    def assignment(self) -> frozenset[Partition]:
        return self._inner.assignment()

    async def committed(self, partition: Partition) -> Committed | None:
        return await self._inner.committed(partition)

    async def commit(self, offsets: Mapping[Partition, Committed]) -> None:
        self._before("commit")
        await self._inner.commit(offsets)
        self._steps.append(("commit", {place: (done.offset, done.note) for place, done in offsets.items()}))

    async def lag(self) -> Mapping[Partition, int]:
        return await self._inner.lag()
