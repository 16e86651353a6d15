"""The record of a training: one holder at a time, whoever was slower writes nothing, what has ended stays so."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from prelabel_provider.training.trainings import (
    LOG_LINES,
    TrainingProgress,
    TrainingRecord,
    Trainings,
    TrainingState,
    parse_training_id,
    training_id,
)
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.doubles import ManualClock

ID = training_id("mails", "ner", 1)


def record(number: int = 1, **values: object) -> TrainingRecord:
    named = {"training": training_id("mails", "ner", number), "project": "mails", "model": "ner", "provider": "ledger"}
    return TrainingRecord.model_validate({**named, "number": number, "config": "c", "requested_ms": 5, **values})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def trainings(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Trainings]:
    store = SqliteStore(tmp_path / "results.db")
    await store.start()
    yield Trainings(store.documents, clock)
    await store.stop()


async def test_asking_again_changes_nothing(trainings: Trainings) -> None:
    first = await trainings.request(record(examples=7))
    assert await trainings.take(ID, "a", 10) is not None
    again = await trainings.request(record(examples=9))
    assert first.examples == again.examples == 7
    assert again.state is TrainingState.TRAINING


async def test_one_of_many_who_take_it_at_once_gets_it(trainings: Trainings) -> None:
    await trainings.request(record())
    taken = await asyncio.gather(*(trainings.take(ID, f"holder-{n}", 10) for n in range(20)))
    (mine,) = [one for one in taken if one is not None]
    assert (mine.fence, mine.attempt, mine.state) == (1, 1, TrainingState.TRAINING)


async def test_a_held_training_is_nobody_else_s_until_its_lease_ends(trainings: Trainings, clock: ManualClock) -> None:
    await trainings.request(record())
    mine = await trainings.take(ID, "a", 10)
    assert mine is not None
    clock.advance(9.9)
    assert await trainings.take(ID, "b", 10) is None
    assert await trainings.take(ID, "a", 10) is None
    assert await trainings.renew(mine, 10) is not None
    clock.advance(9.9)
    assert await trainings.take(ID, "b", 10) is None
    clock.advance(0.2)
    theirs = await trainings.take(ID, "b", 10)
    assert theirs is not None
    assert (theirs.fence, theirs.attempt, theirs.started_ms) == (2, 2, mine.started_ms)


async def test_who_lost_it_writes_nothing(trainings: Trainings, clock: ManualClock) -> None:
    await trainings.request(record())
    mine = await trainings.take(ID, "a", 10)
    clock.advance(11)
    theirs = await trainings.take(ID, "b", 10)
    assert mine is not None
    assert theirs is not None
    assert await trainings.renew(mine, 10) is None
    assert await trainings.save(mine.but(state=TrainingState.TRAINED, artifact="a" * 64)) is None
    assert await trainings.get("mails", "ner", 1) == theirs


async def test_what_has_ended_stays_as_it_ended(trainings: Trainings, clock: ManualClock) -> None:
    await trainings.request(record())
    mine = await trainings.take(ID, "a", 10)
    assert mine is not None
    ended = await trainings.save(mine.but(state=TrainingState.TRAINED, artifact="a" * 64, version="1-a"))
    assert ended is not None
    assert (ended.holder, ended.ended_ms) == ("", clock.now_ms())
    assert await trainings.save(mine.but(state=TrainingState.FAILED)) is None
    assert await trainings.cancel(ID) == ended
    assert await trainings.take(ID, "b", 10) is None
    assert await trainings.get("mails", "ner", 1) == ended


async def test_a_training_that_nobody_is_at_is_cancelled_at_once(trainings: Trainings, clock: ManualClock) -> None:
    await trainings.request(record())
    ended = await trainings.cancel(ID)
    assert ended is not None
    assert (ended.state, ended.reason) == (TrainingState.CANCELLED, "cancelled")
    await trainings.request(record(2))
    dead = await trainings.take(training_id("mails", "ner", 2), "a", 10)
    assert dead is not None
    clock.advance(11)
    ended = await trainings.cancel(dead.training)
    assert ended is not None
    assert ended.state is TrainingState.CANCELLED
    assert await trainings.renew(dead, 10) is None


async def test_a_holder_finds_the_cancellation_whatever_it_was_about_to_write(trainings: Trainings) -> None:
    await trainings.request(record())
    mine = await trainings.take(ID, "a", 10)
    assert mine is not None
    asked = await trainings.cancel(ID)
    assert asked is not None
    assert (asked.state, asked.cancel) == (TrainingState.TRAINING, True)
    found = await trainings.renew(mine.but(progress=TrainingProgress(step=1, steps=2)), 10)
    assert found is not None
    assert (found.cancel, found.progress.step) == (True, 1)


async def test_nobody_takes_up_what_is_cancelled(trainings: Trainings, clock: ManualClock) -> None:
    await trainings.request(record())
    await trainings.take(ID, "a", 10)
    await trainings.cancel(ID)
    clock.advance(11)
    assert await trainings.take(ID, "b", 10) is None
    (left,) = await trainings.owed("ledger")
    assert left.cancel


async def test_what_is_owed_has_not_ended_or_was_not_told(trainings: Trainings) -> None:
    for number in range(1, 4):
        await trainings.request(record(number, requested_ms=10 - number))
    await trainings.request(record(4, provider="ledger-2"))
    mine = await trainings.take(ID, "a", 10)
    assert mine is not None
    failed = await trainings.save(mine.but(state=TrainingState.FAILED, reason="crashed"))
    assert failed is not None
    assert [one.number for one in await trainings.owed("ledger")] == [3, 2, 1]
    await trainings.settle(failed)
    await trainings.settle(failed)
    assert [one.number for one in await trainings.owed("ledger")] == [3, 2]
    assert [one.number for one in await trainings.owed("ledger-2")] == [4]


async def test_what_was_opened_again_stays_owed(trainings: Trainings) -> None:
    await trainings.request(record())
    await trainings.settle(record())
    assert [one.number for one in await trainings.owed("ledger")] == [1]


async def test_what_is_let_go_of_is_taken_at_once_and_counts_as_no_try(trainings: Trainings) -> None:
    await trainings.request(record())
    mine = await trainings.take(ID, "a", 10)
    assert mine is not None
    await trainings.release(mine)
    theirs = await trainings.take(ID, "b", 10)
    assert theirs is not None
    assert (theirs.attempt, theirs.tries, theirs.fence) == (2, 1, 2)
    await trainings.release(mine)
    assert await trainings.get("mails", "ner", 1) == theirs


async def test_trainings_are_listed_newest_first_page_by_page(trainings: Trainings) -> None:
    for number in (1, 2, 10, 9):
        await trainings.request(record(number))
    assert [one.number for one in await trainings.of("mails", "ner", 2)] == [10, 9]
    assert [one.number for one in await trainings.of("mails", "ner", 9, after=9)] == [2, 1]
    assert not await trainings.of("mails", "ne", 9)


def test_a_log_keeps_its_last_lines() -> None:
    long = record()
    for at in range(LOG_LINES + 5):
        long = long.told(at, f"line {at}")
    assert len(long.log) == LOG_LINES
    assert long.log[-1] == (LOG_LINES + 4, f"line {LOG_LINES + 4}")


@pytest.mark.parametrize("name", ["", "mails/ner", "mails/ner/x", "mails/ner/1/2", "mails/ner/²"])
def test_what_is_no_training_s_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not project/model/number"):
        parse_training_id(name)
