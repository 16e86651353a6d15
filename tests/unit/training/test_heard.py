"""How far annotations are: exact for who reads it before and after, whoever writes and wherever that dies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from prelabel_runtime.store.documents import Documents
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_training.examples.heard import Hearing, Position


@pytest_asyncio.fixture
async def documents(tmp_path: Path) -> AsyncIterator[Documents]:
    store = SqliteStore(tmp_path / "results.db")
    await store.start()
    yield store.documents
    await store.stop()


async def test_nothing_was_heard_of_a_project_that_nobody_spoke_about(documents: Documents) -> None:
    assert await Hearing(documents).position("p") == Position()


async def test_it_is_not_settled_while_somebody_writes_and_settled_at_the_last_offset_after(
    documents: Documents,
) -> None:
    hearing = Hearing(documents)
    async with hearing.writing({"p": 7, "q": 3}):
        assert not (await Hearing(documents).position("p")).settled
    done = await Hearing(documents).position("p")
    assert (done.settled, done.done) == (True, 7)
    assert (await hearing.position("q")).done == 3


async def test_who_died_while_writing_leaves_it_unsettled_until_it_was_done_again(documents: Documents) -> None:
    class Died(BaseException):
        pass

    try:
        async with Hearing(documents).writing({"p": 7}):
            raise Died
    except Died:
        pass
    assert not (await Hearing(documents).position("p")).settled
    async with Hearing(documents).writing({"p": 7}):
        pass
    assert (await Hearing(documents).position("p")).settled


async def test_what_is_delivered_again_moves_nothing_and_what_is_older_moves_nothing_back(documents: Documents) -> None:
    hearing = Hearing(documents)
    async with hearing.writing({"p": 7}):
        pass
    before = await hearing.position("p")
    for offset in (7, 2):
        async with hearing.writing({"p": offset}):
            pass
    assert await hearing.position("p") == before


async def test_what_changes_otherwise_moves_the_revision_and_no_offset(documents: Documents) -> None:
    hearing = Hearing(documents)
    await hearing.changed(["p"])
    assert await hearing.position("p") == Position(), "there is nothing to forget"
    async with hearing.writing({"p": 7}):
        pass
    before = await hearing.position("p")
    await hearing.changed(["p"])
    after = await hearing.position("p")
    assert (after.begun, after.done) == (before.begun, before.done)
    assert after.revision > before.revision


async def test_several_processes_at_one_project_end_at_the_greatest_offset(documents: Documents) -> None:
    async def write(offset: int) -> None:
        async with Hearing(documents).writing({"p": offset}):
            await asyncio.sleep(0)

    await asyncio.gather(*(write(offset) for offset in (3, 9, 1, 7, 5)))
    position = await Hearing(documents).position("p")
    assert (position.begun, position.done) == (9, 9)


async def test_nobody_of_this_process_writes_while_it_is_held_still(documents: Documents) -> None:
    hearing = Hearing(documents)
    written: list[int] = []

    async def write() -> None:
        async with hearing.writing({"p": 1}):
            written.append(1)

    async with hearing.still("p"):
        writing = asyncio.create_task(write())
        async with hearing.writing({"other": 5}):
            pass
        assert written == []
    await writing
    assert written == [1]
