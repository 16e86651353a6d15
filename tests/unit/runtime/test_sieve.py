"""Groups that share a topic's work by a header: each record is handled once, by whose it is; the rest costs nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from prelabel_contract import names
from prelabel_runtime.bus.base import Bus, Message, Partition, Record, TopicSpec
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.sieve import MARK_SECONDS, Sieve
from prelabel_runtime.testing.doubles import ManualClock

from .scene import GROUP, Handled, committed, loop_of, open_bus, opened, put, running, subscription, until

OTHER = "dispatcher-interactive"
URGENT = names.LANE_HEADERS["interactive"]


def urgent(record: Record) -> bool:
    return URGENT in record.headers


def others(record: Record) -> bool:
    return URGENT not in record.headers


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    async with open_bus(tmp_path) as bus:
        await bus.provision([TopicSpec(name, partitions=1) for name in (names.retry(OTHER), names.dead_letters(OTHER))])
        yield bus


async def submit(bus: Bus, run: str, *headers: tuple[str, bytes]) -> None:
    (message,) = messages([opened(run)])
    await bus.publish([Message(message.topic, message.key, message.value, (*message.headers, *headers))])


def record(offset: int, *headers: tuple[str, bytes], partition: int = 0) -> Record:
    return Record(names.SUBMITTED, partition, offset, b"key", b"{}", headers, 0)


async def test_each_record_is_handled_once_by_the_group_whose_it_is(bus: SqliteBus) -> None:
    mine, theirs = Handled(), Handled()
    for number in range(20):
        await submit(bus, str(number), *([URGENT] if number % 3 == 0 else []))
    async with (
        running(loop_of(bus, subscription(mine, only=others))),
        running(loop_of(bus, subscription(theirs, group=OTHER, only=urgent))),
    ):
        await until(lambda: len(mine.runs) + len(theirs.runs) == 20)
    assert theirs.runs == [str(number) for number in range(20) if number % 3 == 0]
    assert mine.runs == [str(number) for number in range(20) if number % 3]


async def test_what_is_passed_over_is_not_even_decoded(bus: SqliteBus) -> None:
    handled = Handled()
    await put(bus, b"not JSON, no CloudEvent", URGENT)
    await submit(bus, "after")
    async with running(loop_of(bus, subscription(handled, only=others))):
        await until(lambda: handled.runs == ["after"])
    assert await bus.offsets([names.dead_letters(GROUP)], "end") == {Partition(names.dead_letters(GROUP), 0): 0}


async def test_a_group_whose_records_do_not_come_still_gets_on(bus: SqliteBus) -> None:
    for number in range(5):
        await submit(bus, str(number))
    clock, metrics = ManualClock(), Metrics()

    def committed_once() -> bool:
        clock.advance(MARK_SECONDS)
        return metrics.registry.get_sample_value("prelabel_records_handled_total", {"group": GROUP}) == 1

    async with running(loop_of(bus, subscription(Handled(), only=urgent), clock=clock, metrics=metrics)):
        await until(committed_once)
    found = await committed(bus)
    assert found is not None
    assert found.offset == 5


def test_a_mark_never_stands_before_a_record_of_ours_of_its_partition() -> None:
    clock = ManualClock()
    sieve = Sieve(urgent, clock)
    assert sieve.sift([record(0), record(1)]) == []
    ours, later = record(2, URGENT), record(3)
    assert sieve.sift([ours, later]) == [ours, later]
    assert sieve.sift([record(4), record(0, partition=1)]) == []
    assert sieve.sift([ours := record(5, URGENT)]) == [ours, record(0, partition=1)]


def test_marks_of_a_partition_that_has_gone_are_forgotten() -> None:
    clock = ManualClock()
    sieve = Sieve(urgent, clock)
    sieve.sift([record(7), record(3, partition=1)])
    sieve.forget({Partition(names.SUBMITTED, 0)})
    clock.advance(MARK_SECONDS)
    assert sieve.sift([]) == [record(3, partition=1)]
