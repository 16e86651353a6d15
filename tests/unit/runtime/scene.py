"""A loop on the real embedded bus, with handlers that do what a test says."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract import cloudevents, names
from prelabel_contract.events import AnyEvent, Event, EventData, RunCreated, RunOpened, event
from prelabel_runtime.bus.base import Bus, Committed, Message, Partition, Record, TopicSpec
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import Clock, SystemClock
from prelabel_runtime.floor import Floor
from prelabel_runtime.loop import Loop, messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.service import Batching, Handler, Reply, RetryPolicy, Subscription
from prelabel_runtime.streak import Streak

PATIENCE = 60.0
GROUP = "dispatcher"
TOPICS = (
    *(names.SUBMITTED, names.RUNS, names.TASKS, names.inbound("crm")),
    *(names.retry(GROUP), names.dead_letters(GROUP)),
)
PLACE = Partition(names.SUBMITTED, 0)
ALONE = Batching(records=100, linger=0.0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fails after PATIENCE seconds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for is anybody's
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def open_bus(folder: Path) -> AsyncIterator[SqliteBus]:
    """The embedded bus with this suite's topics."""
    bus = SqliteBus(folder / "log.db", clock=SystemClock())
    await bus.start()
    try:
        await bus.provision([TopicSpec(topic, partitions=1) for topic in TOPICS])
        yield bus
    finally:
        await bus.stop()


def opened(run: str) -> AnyEvent:
    """A small event with a name."""
    return event(RunOpened(project="mails", run=run), id=f"opened-{run}", source="/test", time_ms=1_000)


def created(run: str) -> AnyEvent:
    """A small event that may come of it."""
    return event(RunCreated(project="mails", run=run), id=f"created-{run}", source="/test", time_ms=2_000)


async def submit(bus: Bus, *runs: str) -> None:
    """Events for the loop."""
    await bus.publish(messages([opened(run) for run in runs]))


async def put(bus: Bus, value: bytes | None, *headers: tuple[str, bytes], topic: str = names.SUBMITTED) -> None:
    """Any record for the loop."""
    await bus.publish([Message(topic, b"key", value, headers)])


async def records(bus: Bus, topic: str) -> list[Record]:
    """Everything in a topic."""
    reader = bus.reader((topic,), start="beginning")
    await reader.start()
    found: list[Record] = []
    ends = await reader.ends()
    while await reader.behind(ends):
        found += await reader.poll(1000, 0.1)
    await reader.stop()
    return found


async def runs_in(bus: Bus, topic: str) -> list[str]:
    """The runs that the events of a topic are about."""
    found = [cloudevents.decode(r.headers, r.value, topic=topic) for r in await records(bus, topic)]
    return [e.data.run for e in found if e is not None and isinstance(e.data, (RunOpened, RunCreated))]


async def committed(bus: Bus, place: Partition = PLACE) -> Committed | None:
    """What the group has committed. Only while no loop runs."""
    consumer = bus.consumer((place.topic,), group=GROUP)
    return await consumer.committed(place)


class Handled:
    """A handler that answers each RunOpened with a RunCreated, unless told otherwise; remembers its batches."""

    def __init__(self, tell: Callable[[str], Reply | None] = lambda run: None) -> None:
        self._tell = tell
        self.batches: list[list[str]] = []
        self.gate: asyncio.Event | None = None
        """Set: every call waits for it."""

    @property
    def runs(self) -> list[str]:
        return [run for batch in self.batches for run in batch]

    async def __call__(self, batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        self.batches.append([e.data.run for e in batch])
        if self.gate is not None:
            await self.gate.wait()
        told = [self._tell(e.data.run) for e in batch]
        return [[created(e.data.run)] if reply is None else reply for e, reply in zip(batch, told, strict=True)]


def subscription(handler: Handler, **more: Any) -> Subscription:
    """The group under test."""
    on: Mapping[type[EventData], Handler] = {RunOpened: handler}
    fields = {"group": GROUP, "topics": (names.SUBMITTED,), "on": on, "batching": ALONE, "retry": RetryPolicy()}
    return Subscription(**{**fields, **more})


def loop_of(
    bus: Bus,
    sub: Subscription,
    *,
    clock: Clock | None = None,
    metrics: Metrics | None = None,
    streak: Streak | None = None,
    floor: Floor | None = None,
) -> Loop:
    """A new member."""
    chosen = {"clock": clock or SystemClock(), "metrics": metrics or Metrics()}
    return Loop(bus, sub, rng=random.Random(1), streak=streak, floor=floor, **chosen)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def running(loop: Loop) -> AsyncIterator["asyncio.Task[None]"]:
    """The loop at work; stopped at the end, where what it raised is raised."""
    task = asyncio.create_task(loop.run())
    try:
        yield task
    finally:
        loop.stop()
        async with asyncio.timeout(PATIENCE):
            await task


async def crash(loop: Loop, error: type[BaseException]) -> None:
    """Run a loop until it ends by that error."""
    with pytest.raises(BaseExceptionGroup) as ended:
        async with asyncio.timeout(PATIENCE):
            await loop.run()
    assert ended.group_contains(error)
