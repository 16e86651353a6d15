"""The log, read once for all endpoints, and not at all for none."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest_asyncio
from prelabel_contract import names
from prelabel_contract.events import TaskDeleted, event
from prelabel_runtime.bus.base import Partition, Record
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.loop import messages
from prelabel_runtime.topics.spec import topic_spec
from prelabel_webhooks.feed import Feed
from prelabel_webhooks.handlers import TOPICS

PLACE = Partition(names.TASKS, 0)


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    bus = SqliteBus(tmp_path / "log.db", clock=SystemClock())
    await bus.start()
    await bus.provision([topic_spec(topic, 1) for topic in TOPICS])
    yield bus
    await bus.stop()


@contextlib.asynccontextmanager
async def following(bus: SqliteBus) -> AsyncIterator[Feed]:
    feed = Feed(bus, window_bytes=1 << 20, clock=SystemClock(), rng=random.Random(1))
    await feed.start()
    running = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        running.cancel()
        await asyncio.wait({running})
        await feed.stop()


async def happen(bus: SqliteBus, feed: Feed, number: int) -> None:
    """One more task is deleted, and the feed has come by it."""
    data = TaskDeleted(project="p", task=f"task-{number}")
    await bus.publish(messages([event(data, id=f"event-{number}", source="/tests", time_ms=1)]))
    async with asyncio.timeout(60):
        while feed.ends[PLACE] <= number:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.002)


async def test_what_came_while_nobody_listened_is_read_from_the_log(bus: SqliteBus) -> None:
    async with following(bus) as feed:
        await happen(bus, feed, 0)
        found = await feed.read(PLACE, 0)
    assert [one.task for one in found.events] == ["task-0"]
    assert found.old


async def test_what_comes_while_somebody_listens_is_kept(bus: SqliteBus) -> None:
    async with following(bus) as feed:
        await happen(bus, feed, 0)
        unlisten = feed.listen(lambda: None)
        await happen(bus, feed, 1)
        kept, before = await feed.read(PLACE, 1), await feed.read(PLACE, 0)
        unlisten()
    assert [one.task for one in kept.events] == ["task-1"]
    assert not kept.old
    assert [one.task for one in before.events] == ["task-0", "task-1"]


async def test_what_was_kept_is_let_go_when_the_last_listener_has_gone(bus: SqliteBus) -> None:
    async with following(bus) as feed:
        feed.listen(lambda: None)()
        unlisten = feed.listen(lambda: None)
        await happen(bus, feed, 0)
        unlisten()
        await happen(bus, feed, 1)
        found = await feed.read(PLACE, 0)
    assert [one.task for one in found.events] == ["task-0", "task-1"]
    assert found.old


async def test_what_comes_while_the_log_is_asked_in_vain_is_not_passed_over(bus: SqliteBus) -> None:
    async with following(bus) as feed:
        await happen(bus, feed, 0)
        unlisten, fetch = feed.listen(lambda: None), bus.fetch

        async def gone(partition: Partition, offset: int, limit: int) -> Sequence[Record]:
            """What was there is there no more, and more comes just then."""
            bus.fetch = fetch  # type: ignore[method-assign]
            await happen(bus, feed, 1)
            return ()

        bus.fetch = gone  # type: ignore[method-assign]
        nothing = await feed.read(PLACE, 0)
        after = await feed.read(PLACE, nothing.next)
        unlisten()
    assert not nothing.events
    assert [one.task for one in after.events] == ["task-1"]
