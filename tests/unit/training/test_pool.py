"""The open pool: what is looked at is bounded, and what is open is found."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.projects import Project
from prelabel_runtime.store.base import Doubt, State, Store, StoredAnnotation, StoredTask
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import annotation, outcome, running, task
from prelabel_training.examples.holdout import in_holdout
from prelabel_training.leases import pool as pools
from prelabel_training.leases.choosing import Choosing, Ways
from prelabel_training.leases.pool import Open, Pools, newest


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with running(SqliteStore(tmp_path / "store.db")) as store:
        yield store


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 20 tasks and pools of 30: a large project is one of some hundreds then."""
    monkeypatch.setattr(pools, "STEP", 20)
    monkeypatch.setattr(pools, "POOL", 30)
    monkeypatch.setattr(pools, "MOST", 200)


async def filled(store: Store, count: int) -> list[str]:
    """Tasks of project p, a second apart; returns their uids."""
    tasks = [StoredTask(f"t{n:04}", "p", None, 1, 1000 * n, "config", '{"data":{}}') for n in range(count)]
    await store.tasks.put(tasks)
    return [one.uid for one in tasks]


async def answer(store: Store, uids: list[str]) -> None:
    """Somebody annotates tasks."""
    said: list[StoredAnnotation] = [annotation("p", uid, f"a{uid}", offset=1) for uid in uids]
    await store.annotations.put(said)
    await store.examples.put(said)


async def read(store: Store, wanted: int = 5, seed: int = 1) -> tuple[list[str], int, bool]:
    """The uids of the pool, how much was looked at, and whether that was all."""
    found = await Pools(store, random.Random(seed)).read("p", ["ner"], wanted=wanted)
    return [one.task for one in found.tasks], found.seen, found.whole


async def test_a_small_project_is_seen_whole(store: Store) -> None:
    uids = await filled(store, 50)
    await answer(store, uids[:40])
    found, _, whole = await read(store)
    assert (found, whole) == (uids[40:], True)
    await answer(store, uids[40:])
    assert (await read(store))[::2] == ([], True)


@pytest.mark.usefixtures("small_steps")
async def test_of_a_large_project_some_places_are_looked_at_all_over_it(store: Store) -> None:
    uids = await filled(store, 600)
    everywhere = set[str]()
    for seed in range(20):
        found, seen, whole = await read(store, seed=seed)
        assert len(found) <= 30
        assert set(found) <= set(uids)
        assert (seen, whole) == (80, False)
        everywhere |= set(found)
    for part in range(6):
        assert everywhere & set(uids[100 * part : 100 * (part + 1)]), f"the part {part} of six is never looked at"


@pytest.mark.usefixtures("small_steps")
async def test_the_last_open_tasks_are_found_by_walking_as_far_as_is_allowed(store: Store) -> None:
    uids = await filled(store, 180)
    await answer(store, uids[:77] + uids[79:])
    found, seen, _ = await read(store)
    assert found == uids[77:79]
    assert seen <= 200
    for seed in range(3):  # one that lies beyond what is looked at may be missed; that is not called all there is
        more = await filled(store, 600)
        await answer(store, more[:600])
        found, seen, whole = await read(store, seed=seed)
        assert (found, whole) == ([], False)
        assert seen <= 200


async def test_only_the_projects_models_count_and_what_stands(store: Store) -> None:
    await store.tasks.put([task("p", "t")])
    created: dict[str, Any] = {"state": State.CREATED, "at_ms": 1}
    await store.outcomes.put(
        [
            outcome("p", "t", "old", offset=1, uncertainty=0.9, **created),
            outcome("p", "t", "new", offset=2, uncertainty=0.2, **created),
            outcome("p", "t", "gone", offset=3, uncertainty=1.0, model="dropped", **created),
            outcome("p", "t", "other", offset=4, uncertainty=None, model="b", **created),
        ]
    )
    [one] = (await Pools(store, random.Random(1)).read("p", ["ner", "b"], wanted=1)).tasks
    assert [doubt.request for doubt in one.newest] == ["other", "new"]
    assert (one.uncertainty(), one.uncertainty("b"), one.uncertainty("ner")) == (0.2, None, 0.2)


_DOUBTS = st.lists(
    st.builds(
        Doubt, task=st.just("t"), model=st.sampled_from("abc"), request=st.uuids().map(str), revision=st.integers(1, 3),
        offset=st.integers(0, 9), uncertainty=st.none(), superseded_by=st.sampled_from([None, None, "x"]),
    ),
    max_size=8,
)  # fmt: skip


@given(_DOUBTS)
def test_one_prediction_of_each_model_stands_and_it_is_the_newest(doubts: list[Doubt]) -> None:
    stored = sorted(doubts, key=lambda one: (one.model, one.revision, one.offset, one.request))
    found = newest(stored, frozenset("ab"))
    for model in "ab":
        own = [one for one in stored if one.model == model and one.superseded_by is None]
        assert [one for one in found if one.model == model] == own[-1:]
    assert {one.model for one in found} <= {"a", "b"}


# --------------------------------------------------------------------------------------------------- choosing

SPEC = {
    "id": "p",
    "label_set": {"questions": [{"name": "topic", "kind": "choice", "field": "text", "labels": ["x", "y"]}]},
    "models": [{"name": "one", "provider": "rules"}, {"name": "two", "provider": "rules"}],
}


def says(uid: str, model: str, label: str) -> Any:
    """A prediction of one choice."""
    body = f'{{"regions":[{{"kind":"choice","question":"topic","field":"text","labels":["{label}"]}}]}}'
    return outcome("p", uid, f"{uid}{model}", model=model, state=State.CREATED, at_ms=1, body=body)


async def chosen(store: Store, way: Ways, count: int, seed: int = 1, holdout: float = 0.0) -> list[str]:
    """The uids of what is chosen from the pool."""
    lot = random.Random(seed)
    pool = await Pools(store, lot).read("p", ["one", "two"], wanted=1)
    choosing = Choosing(store.examples, lot)
    live = await Pools(store, lot).live()
    project = Project.model_validate(SPEC)
    return [one.task for one in await choosing.chosen(project, live, pool.tasks, way, count, holdout=holdout)]


async def test_tasks_of_which_models_say_different_things_come_first(store: Store) -> None:
    uids = await filled(store, 12)
    for n, uid in enumerate(uids):
        await store.outcomes.put([says(uid, "one", "x"), says(uid, "two", "y" if n in (3, 8) else "x")])
    assert set(await chosen(store, Ways.DISAGREEMENT, 2)) == {uids[3], uids[8]}


async def test_texts_unlike_those_annotated_come_first(store: Store) -> None:
    texts = ["the cat sat on the mat", "the cat sat on a mat", "the cat lay on the mat", "stocks fell sharply today"]
    tasks = [
        StoredTask(f"t{n}", "p", None, 1, n, "config", f'{{"data":{{"text":"{text}","other":1}}}}')
        for n, text in enumerate(texts)
    ]
    await store.tasks.put(tasks)
    await answer(store, ["t0"])
    for seed in range(5):
        assert (await chosen(store, Ways.DIVERSITY, 1, seed)) == ["t3"]


@pytest.mark.parametrize("way", [Ways.UNCERTAINTY, Ways.RANDOM])
async def test_held_out_tasks_come_by_chance_in_their_share_whatever_the_model_doubts(store: Store, way: Ways) -> None:
    uids = await filled(store, 400)
    held = {uid for uid in uids if in_holdout("p", uid, 0.25)}
    for n, uid in enumerate(uids):
        doubt = 0.9 if uid in held else 0.1
        made = outcome("p", uid, f"r{uid}", model="one", state=State.CREATED, offset=n, at_ms=1, uncertainty=doubt)
        await store.outcomes.put([made])
    found = [await chosen(store, way, 20, seed, holdout=0.25) for seed in range(20)]
    assert 60 <= sum(uid in held for each in found for uid in each) <= 140, "of 400, 25 % within 4.6 deviations"
    everything = await chosen(store, way, 1000, holdout=0.25)
    assert sorted(everything) == uids


async def test_the_same_seed_gives_the_same_choice(store: Store) -> None:
    await filled(store, 40)
    for way in Ways:
        assert await chosen(store, way, 10, seed=4) == await chosen(store, way, 10, seed=4)


async def test_a_prediction_that_cannot_be_read_leaves_disagreement_unknown(store: Store) -> None:
    uids = await filled(store, 2)
    broken = outcome("p", uids[0], "r", model="two", state=State.CREATED, at_ms=1, body='{"regions":[{"kind":"?"}]}')
    await store.outcomes.put([says(uids[0], "one", "x"), broken])
    assert sorted(await chosen(store, Ways.DISAGREEMENT, 2)) == uids


def test_an_open_task_without_predictions_is_of_unknown_uncertainty() -> None:
    assert Open("t").uncertainty() is None
