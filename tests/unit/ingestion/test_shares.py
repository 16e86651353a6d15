"""What a project may send into bulk: its share, whatever others do; an upload goes one way whole."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.names import Lane
from prelabel_ingestion.settings import Share
from prelabel_ingestion.shares import Shares
from prelabel_ingestion.upload import LOOK_BYTES, Line, first_together
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.testing.doubles import ManualClock

SHARE = Share(tasks=10, per_second=2.0)


def shares(clock: ManualClock, single: Mapping[str, Share] | None = None, **more: int) -> Shares:
    return Shares(SHARE, single or {}, clock.monotonic, Metrics(), **more)


def test_a_project_may_use_its_share_at_once_and_gets_it_back_with_time() -> None:
    clock = ManualClock()
    its = shares(clock)
    assert [its.lane("a", Lane.BULK) for _ in range(12)] == [Lane.BULK] * 10 + [Lane.BACKFILL] * 2
    assert its.room("a") == 0
    clock.advance(1.5)
    assert its.room("a") == 3
    assert [its.lane("a", Lane.BULK) for _ in range(4)] == [Lane.BULK] * 3 + [Lane.BACKFILL]
    clock.advance(3600)
    assert its.room("a") == 10


def test_what_one_project_uses_is_not_taken_from_another() -> None:
    its = shares(ManualClock(), {"large": Share(tasks=1000, per_second=1)})
    for _ in range(100):
        its.lane("greedy", Lane.BULK)
    assert its.lane("modest", Lane.BULK) is Lane.BULK
    assert [its.lane("large", Lane.BULK) for _ in range(1000)] == [Lane.BULK] * 1000


@pytest.mark.parametrize("asked", [Lane.INTERACTIVE, Lane.BACKFILL])
def test_what_was_not_sent_into_bulk_is_neither_turned_nor_counted(asked: Lane) -> None:
    its = shares(ManualClock())
    assert {its.lane("a", asked) for _ in range(100)} == {asked}
    assert its.room("a") == 10


def test_a_share_of_nothing_sends_everything_into_backfill() -> None:
    its = shares(ManualClock(), {"guest": Share(tasks=0)})
    assert its.lane("guest", Lane.BULK) is Lane.BACKFILL


def test_projects_that_are_remembered_are_bounded_and_the_busiest_are_not_forgotten() -> None:
    its = shares(ManualClock(), buckets=3)
    for number in range(9):
        its.lane("busy", Lane.BULK)
        its.lane(f"p{number}", Lane.BULK)
    assert its.room("busy") == 1
    assert its.room("p0") == 10


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 30)), max_size=30))
def test_over_any_time_no_more_goes_into_bulk_than_the_share_and_what_came_back(
    steps: list[tuple[float, int]],
) -> None:
    clock = ManualClock()
    its = shares(clock)
    bulk = 0
    for seconds, tasks in steps:
        clock.advance(seconds)
        room = its.room("a")
        taken = sum(its.lane("a", Lane.BULK) is Lane.BULK for _ in range(tasks))
        assert taken == min(room, tasks)
        bulk += taken
    assert bulk <= SHARE.tasks + SHARE.per_second * clock.monotonic() + 0.001


async def batches(*sizes: int, gate: asyncio.Event | None = None) -> AsyncIterator[list[Line]]:
    number = 0
    for place, size in enumerate(sizes):
        if place == 1 and gate is not None:
            await gate.wait()
        yield [(number + n, b"{}") for n in range(1, size + 1)]
        number += size


async def looked_at(lines: AsyncIterator[list[Line]], wanted: int) -> list[list[int]]:
    return [[number for number, _ in batch] for batch in [batch async for batch in first_together(lines, wanted)]]


@pytest.mark.parametrize(("sizes", "first"), [((3, 3, 3, 3), 6), ((9, 3), 9), ((1, 1), 2), ((1, 0, 4, 1), 5)])
async def test_an_upload_is_looked_at_until_it_is_clear_whether_it_fits(sizes: Sequence[int], first: int) -> None:
    told = await looked_at(batches(*sizes), wanted=5)
    assert len(told[0]) == first
    assert [number for batch in told for number in batch] == list(range(1, sum(sizes) + 1))


async def test_an_upload_of_nothing_is_nothing() -> None:
    assert await looked_at(batches(), wanted=5) == []


async def test_lines_that_trickle_in_do_not_wait_for_those_that_may_never_come() -> None:
    gate = asyncio.Event()
    told = first_together(batches(2, 3, gate=gate), wanted=100)
    assert len(await anext(told)) == 2
    gate.set()
    assert [len(batch) async for batch in told] == [3]


async def test_no_more_of_an_upload_is_held_than_is_worth_it() -> None:
    async def long() -> AsyncIterator[list[Line]]:
        for number in range(1, 9):
            yield [(number, b"x" * (LOOK_BYTES // 2))]

    assert [len(batch) async for batch in first_together(long(), wanted=1000)] == [2, 1, 1, 1, 1, 1, 1]


async def test_an_upload_that_breaks_off_says_so_to_whoever_reads_it() -> None:
    async def broken() -> AsyncIterator[list[Line]]:
        yield [(1, b"{}")]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await looked_at(broken(), wanted=5)
