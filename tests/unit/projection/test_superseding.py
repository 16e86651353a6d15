"""What a prediction replaces that was asked for again: told once it is there, whatever is delivered how often."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from prelabel_contract.events import AnyEvent, Event, PredictionCreated, PredictionSuperseded
from prelabel_contract.examples import examples
from prelabel_projection.handlers import Projection
from prelabel_projection.superseding import Superseding
from prelabel_runtime.store.base import Store
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import fresh, running

CREATED = next(one.data for one in examples() if isinstance(one.data, PredictionCreated))


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with running(SqliteStore(tmp_path / "store.db")) as store:
        yield store


def said(task: str, request: str, offset: int, generation: str = "", **more: Any) -> Event[PredictionCreated]:
    """A prediction of a task, as it stands in the log."""
    values = {"task": task, "request": f"{task}:{request}", "generation": generation, "revision": 1, "model": "names"}
    data = CREATED.model_copy(update={**values, **more})
    return Event(data, request, "/inference/spacy", 1000 + offset, "prelabel.predictions", task, offset)


async def handled(store: Store, *batch: Event[PredictionCreated]) -> list[AnyEvent]:
    """What follows from a batch."""
    replies = await Superseding(store).telling(Projection(store).on())[PredictionCreated](batch)
    return [one for reply in replies if not isinstance(reply, Exception) for one in reply]


def pairs(told: Sequence[AnyEvent]) -> set[tuple[str, str]]:
    """Which request is replaced by which."""
    assert all(isinstance(one.data, PredictionSuperseded) for one in told)
    return {(one.data.request, one.data.by) for one in told}


async def replaced(store: Store, task: str) -> set[str]:
    """The requests of a task that are marked."""
    found = (await store.outcomes.of_tasks([task])).get(task, ())
    return {one.request.removeprefix(f"{task}:") for one in found if one.superseded_by is not None}


async def test_a_prediction_that_was_asked_again_replaces_the_older_ones_of_its_model(store: Store) -> None:
    t = fresh("task")
    before = [said(t, "a", 1), said(t, "other", 2, model="topics"), said(t, "b", 3)]
    assert await handled(store, *before) == []
    told = await handled(store, said(t, "c", 4, "names/1"))
    assert pairs(told) == {(f"{t}:a", f"{t}:c"), (f"{t}:b", f"{t}:c")}
    assert {one.key for one in told} == {t}
    await Projection(store).superseded(told)
    assert await replaced(store, t) == {"a", "b"}
    # Handled again, as after a crash before the place was committed: nothing is left to be told.
    assert await handled(store, said(t, "c", 4, "names/1")) == []


async def test_what_was_told_and_lost_is_told_again_under_the_same_id(store: Store) -> None:
    t = fresh("task")
    log = [said(t, "a", 1), said(t, "b", 2, "names/1")]
    first, again = await handled(store, *log), await handled(store, *log)
    assert [one.id for one in first] == [one.id for one in again]
    assert pairs(first) == {(f"{t}:a", f"{t}:b")}


async def test_nothing_is_replaced_by_what_was_asked_first_or_stands_before_it(store: Store) -> None:
    t = fresh("task")
    assert await handled(store, said(t, "a", 1), said(t, "b", 2)) == []
    assert await handled(store, said(t, "later", 9)) == []
    assert pairs(await handled(store, said(t, "c", 5, "names/1"))) == {(f"{t}:a", f"{t}:c"), (f"{t}:b", f"{t}:c")}


async def test_a_late_generation_is_replaced_by_the_newer_one_that_came_before_it(store: Store) -> None:
    t = fresh("task")
    assert await handled(store, said(t, "new", 9, "names/2")) == []
    assert pairs(await handled(store, said(t, "old", 5, "names/1"))) == {(f"{t}:old", f"{t}:new")}


async def test_a_newer_revision_of_the_task_is_never_replaced_by_an_older_ones_prediction(store: Store) -> None:
    t = fresh("task")
    assert await handled(store, said(t, "next", 3, revision=2)) == []
    assert await handled(store, said(t, "again", 4, "names/1", revision=1)) == []
    told = await handled(store, said(t, "again next", 5, "names/1", revision=2))
    assert pairs(told) == {(f"{t}:next", f"{t}:again next"), (f"{t}:again", f"{t}:again next")}


async def test_nothing_is_told_of_a_deleted_task(store: Store) -> None:
    t = fresh("task")
    await handled(store, said(t, "a", 1))
    await store.outcomes.delete_of_tasks([t])
    assert await handled(store, said(t, "b", 2, "names/1")) == []


_LOG = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["", "names/1", "names/2"])), min_size=1, max_size=10)


@settings(max_examples=40, database=None, derandomize=True)
@given(_LOG, st.integers(0, 2**32 - 1))
def test_the_same_predictions_are_replaced_however_the_log_is_cut_and_repeated(
    tmp_path_factory: pytest.TempPathFactory, log: list[tuple[int, str]], seed: int
) -> None:
    """A consumer takes any number of records, dies, and begins again somewhere before."""

    async def check() -> None:
        chance = random.Random(seed)
        async with running(SqliteStore(tmp_path_factory.mktemp("store") / "store.db")) as store:
            records = [said(f"t{task}", f"{n}", n, generation) for n, (task, generation) in enumerate(log)]
            at, waiting = 0, list[AnyEvent]()
            while at < len(records):
                end = min(len(records), at + chance.randint(1, 4))
                told = await handled(store, *records[at:end])
                created = {
                    one.request for found in (await store.outcomes.of_tasks(["t0", "t1"])).values() for one in found
                }
                assert {by for _, by in pairs(told)} <= created, "never before the new one is there"
                waiting += told
                if chance.random() < 0.5:
                    await Projection(store).superseded(waiting)
                    waiting = []
                at = chance.randint(0, end) if chance.random() < 0.3 else end
            await Projection(store).superseded(waiting)
            for task in (0, 1):
                own = [(n, generation) for n, (of, generation) in enumerate(log) if of == task]
                newest = max((n for n, generation in own if generation), default=-1)
                assert await replaced(store, f"t{task}") == {f"{n}" for n, _ in own if n < newest}

    asyncio.run(check())
