"""Wherever a process dies around a promotion: one version serves, each training has one verdict, and all is told."""

import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from prelabel_contract.events import Event as Told
from prelabel_contract.events import ModelPromoted, ModelRejected, ModelServing, ModelTrained, TrainingRequested
from prelabel_provider.trainings import Trainings, TrainingState
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.store.base import Store
from prelabel_runtime.store.mongo import MongoStore, with_pymongo
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import fresh, running
from prelabel_training.registry.registry import Target, told
from prelabel_training.registry.versions import SETTINGS, Versions

from tests.rig.judged import MODEL, PROVIDER, Counting, Killed, Scene, Seam, interrupting, killing, scene
from tests.rig.servers import ServerHandle

Given = Callable[[Scene], Awaitable[tuple[str, Told[ModelTrained]]]]


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(SqliteStore(tmp_path / "store.db")) as store, scene(tmp_path, store) as made:
        yield made


@pytest_asyncio.fixture
async def here_on_mongo(tmp_path: Path, mongo_server: ServerHandle) -> AsyncIterator[Scene]:
    store: Store = MongoStore(mongo_server.address, clock=SystemClock(), database=fresh("p"), driver=with_pymongo)
    async with running(store) as started, scene(tmp_path, started) as made:
        yield made


# ---------------------------------------------------------------------------------------------------- what is given


async def first(here: Scene) -> tuple[str, Told[ModelTrained]]:
    """The first version of a model that could say nothing before."""
    project = await here.project()
    return project, await here.trained(project, right=25)


async def better(here: Scene) -> tuple[str, Told[ModelTrained]]:
    """A version that is better than the one that serves."""
    project, trained = await first(here)
    await here.deliver(trained)
    trained = await here.trained(project, right=30)
    await here.serving_answers(project, right=20)
    return project, trained


async def worse(here: Scene) -> tuple[str, Told[ModelTrained]]:
    """A version that is worse than the one that serves."""
    project, trained = await first(here)
    await here.deliver(trained)
    trained = await here.trained(project, right=15)
    await here.serving_answers(project, right=25)
    return project, trained


async def overtaken(here: Scene) -> tuple[str, Told[ModelTrained]]:
    """A version that was compared with what serves no more."""
    project, trained = await better(here)
    await back(here, project)()
    return project, trained


def back(here: Scene, project: str) -> Callable[[], Awaitable[object]]:
    """Somebody rolls the model back to its settings."""
    target = Target(SETTINGS, "", PROVIDER, "", "rolled_back", "key-1", detail="by hand")
    return lambda: here.registry().move(project, MODEL, target)


GIVEN = (first, better, worse, overtaken)

# ------------------------------------------------------------------------------------------------------- promises


@pytest.mark.parametrize("given", GIVEN)
async def test_a_kill_at_any_seam_leaves_one_serving_version_and_one_verdict(here: Scene, given: Given) -> None:
    assert await killed_everywhere(here, given) >= 8


@pytest.mark.mongo
@pytest.mark.parametrize("given", GIVEN)
async def test_a_kill_at_any_seam_leaves_one_serving_version_and_one_verdict_on_mongo(
    here_on_mongo: Scene, given: Given
) -> None:
    assert await killed_everywhere(here_on_mongo, given) >= 8


async def test_a_hundred_kills_around_promotions_leave_one_serving_version_each_time(here: Scene) -> None:
    rng, kills, trainings = random.Random(37), 0, 0
    project, trained = await first(here)
    while kills < 100:
        kills += await killed_at_random(here, project, trained, rng)
        trainings += 1
        if rng.random() < 0.2:
            await back(here, project)()
        trained = await here.trained(project, right=rng.choice((15, 24, 28, 30)))
        await here.serving_answers(project, right=rng.choice((15, 20, 25)))
        if rng.random() < 0.3:
            await back(here, project)()
    await to_the_end(here, project, trained)
    await check(here, project)
    assert trainings > 10, "most of them come through in the end"


@pytest.mark.parametrize("given", [first, better])
async def test_a_rollback_at_any_seam_of_a_promotion_is_ordered_with_it(here: Scene, given: Given) -> None:
    for number in range(1, await seams(here, given) + 1):
        project, trained = await given(here)
        await here.deliver(trained, interrupting(number, back(here, project)))
        await to_the_end(here, project, trained)
        pointer = await here.pointer(project)
        assert pointer is not None
        assert pointer.version == SETTINGS or pointer.changes[-2].version == SETTINGS, "one after the other"
        await check(here, project)


async def test_a_change_whose_process_died_is_told_before_the_next_one_is_made(here: Scene) -> None:
    for number in range(1, await seams(here, better) + 1):
        project, trained = await better(here)
        with contextlib.suppress(Killed):
            await here.deliver(trained, killing(number))
        await back(here, project)()
        await to_the_end(here, project, trained)
        await check(here, project)


async def test_two_gates_at_once_decide_once(here: Scene) -> None:
    for number in range(1, await seams(here, better) + 1):
        project, trained = await better(here)
        await here.deliver(trained, interrupting(number, lambda t=trained: here.deliver(t)))  # type: ignore[misc]
        assert len(here.told_of(project, ModelPromoted)) == 2, "this one, and the first"
        pointer = await here.pointer(project)
        assert pointer is not None
        assert pointer.epoch == 2
        await check(here, project)


# ---------------------------------------------------------------------------------------------------------- doing


async def seams(here: Scene, given: Given) -> int:
    """How many seams a delivery has that nobody disturbs."""
    counting = Counting()
    _, trained = await given(here)
    await here.deliver(trained, counting)
    return counting.passed


async def killed_everywhere(here: Scene, given: Given) -> int:
    """Kill the gate at each seam of its way, then let another go on; returns how many kills that were."""
    for number in count(1):
        project, trained = await given(here)
        try:
            await here.deliver(trained, killing(number))
        except Killed:
            await check(here, project, done=False)
            await to_the_end(here, project, trained)
            await check(here, project)
        else:
            return number - 1
    raise AssertionError


async def killed_at_random(here: Scene, project: str, trained: Told[ModelTrained], rng: random.Random) -> int:
    """Kill each process that takes up the record on its way, until one comes through; how many were killed."""
    kills = 0
    while True:
        try:
            await to_the_end(here, project, trained, lambda: killing(rng.randint(1, 24)))
        except Killed:
            kills += 1
            await check(here, project, done=False)
        else:
            await check(here, project)
            return kills


async def to_the_end(
    here: Scene, project: str, trained: Told[ModelTrained], seam: Callable[[], Seam] = Counting
) -> None:
    """What the processes that come after do: the record is delivered again, and what was not announced is."""
    trainings = Trainings(here.store.documents, here.clock)
    for _ in range(5):
        replies = await here.deliver(trained, seam())
        await announce(here, project)
        if not any(isinstance(one.data, TrainingRequested) for one in replies):
            return
        record = await trainings.get(project, MODEL, here.numbers[project])
        assert record is not None
        assert record.state is TrainingState.EVALUATING
        taken = await trainings.take(record.training, fresh("holder"), 60.0)
        assert taken is not None, "the trainer role finds it"
        await here.serving_answers(project, right=0 if record.serving_artifact == "" else 20)
        assert await trainings.save(taken.but(state=TrainingState.TRAINED)) is not None
    raise AssertionError("compared again and again")


async def announce(here: Scene, project: str) -> None:
    """As `Announcer` does."""
    found = await here.store.documents.get("serving", f"{project}/{MODEL}")
    if found is not None:
        await here.registry().announce(found)


async def check(here: Scene, project: str, *, done: bool = True, compacted: bool = False) -> None:
    """One version serves, now and in each epoch there was; at the end everybody knows. `compacted`: of what serves
    only the newest word is still there.
    """
    pointer = await here.pointer(project)
    versions = {one.version: one for one in await Versions(here.store.documents).page(project, MODEL, limit=1000)}
    if pointer is not None:
        assert [one.epoch for one in pointer.changes] == list(range(1, pointer.epoch + 1)), "each epoch once"
        assert all(one.version in versions or one.version == SETTINGS for one in pointer.changes)
        assert (pointer.version, pointer.artifact) == (pointer.changes[-1].version, pointer.changes[-1].artifact)
    by_epoch: dict[int, str] = {}
    for one in here.told:
        if isinstance(one.data, ModelServing) and one.data.project == project:
            assert by_epoch.setdefault(one.data.epoch, one.data.version) == one.data.version, "one version per epoch"
    assert all(pointer is not None and pointer.change(epoch) is not None for epoch in by_epoch), "told before it was so"
    if not done:
        return
    assert len(versions) == here.numbers[project], "each training has its verdict"
    changes = () if pointer is None else pointer.changes
    assert compacted or sorted(by_epoch) == [one.epoch for one in changes], "every change was told"
    if pointer is not None:
        assert {one.id for one in told(pointer)} <= {one.id for one in here.told}
    promoted = {one.version: one for one in here.told_of(project, ModelPromoted)}
    rejected = {one.version: one for one in here.told_of(project, ModelRejected)}
    assert not promoted.keys() & rejected.keys(), "one verdict"
    assert promoted.keys() | rejected.keys() == versions.keys(), "told of every version"
    assert promoted.keys() == {one.version for one in changes if one.how == "promoted"}
    assert not list((here.folder / "trainings" / project).glob("*/*/*")), "what tasks said is not kept"
