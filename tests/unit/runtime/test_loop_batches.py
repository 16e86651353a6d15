"""What a batch weighs, and who must not wait for whom."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest_asyncio
from prelabel_contract import names
from prelabel_contract.events import Event, RunOpened
from prelabel_runtime.bus.base import Record
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.service import Batching, Reply
from prelabel_runtime.testing.doubles import WatchedBus

from .scene import PLACE, Handled, loop_of, open_bus, running, runs_in, submit, subscription, until


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    async with open_bus(tmp_path) as bus:
        yield bus


def _weigh(record: Record) -> int:
    """A novel stands for more than its record holds."""
    return 5_000 if b"novel" in (record.value or b"") else 10


async def test_a_large_record_is_a_batch_by_itself_wherever_it_stands(bus: SqliteBus) -> None:
    await submit(bus, "novel-1", "a", "b", "novel-2", "novel-3", "c")
    handler = Handled()
    batching = Batching(records=10, linger=0.0, weigh=_weigh, alone=1_000)
    async with running(loop_of(bus, subscription(handler, batching=batching))):
        await until(lambda: len(handler.runs) == 6)
    assert handler.batches == [["novel-1"], ["a", "b"], ["novel-2"], ["novel-3"], ["c"]]


async def test_a_batch_is_bounded_by_what_its_records_stand_for(bus: SqliteBus) -> None:
    await submit(bus, "novel-1", "novel-2", "novel-3", "a")
    handler = Handled()
    batching = Batching(records=10, linger=0.0, bytes=10_000, weigh=_weigh)
    async with running(loop_of(bus, subscription(handler, batching=batching))):
        await until(lambda: len(handler.runs) == 4)
    assert handler.batches == [["novel-1", "novel-2"], ["novel-3", "a"]]


async def test_what_came_before_a_large_record_is_published_and_committed_while_that_is_handled(bus: SqliteBus) -> None:
    read = asyncio.Event()
    usual = Handled()

    async def handle(batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        if any(e.data.run == "novel" for e in batch):
            await read.wait()
        return await usual(batch)

    watched = WatchedBus(bus)
    await submit(bus, "a", "b", "novel", "c")
    batching = Batching(records=10, linger=0.0, ahead=2, weigh=_weigh, alone=1_000)
    async with running(loop_of(watched, subscription(handle, batching=batching))):
        await until(lambda: ("commit", {PLACE: (2, "")}) in watched.steps)
        assert await runs_in(bus, names.RUNS) == ["a", "b"]
        read.set()
        await until(lambda: ("commit", {PLACE: (4, "")}) in watched.steps)
    assert await runs_in(bus, names.RUNS) == ["a", "b", "novel", "c"]
