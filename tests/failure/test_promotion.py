"""Wherever a process dies around a promotion: one version serves, each training has one verdict, and all is told."""

import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from prelabel_contract.events import Event as Told
from prelabel_contract.events import ModelPromoted, ModelTrained
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.store.base import Store
from prelabel_runtime.store.mongo import MongoStore, with_pymongo
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import fresh, running
from prelabel_training.registry.versions import SETTINGS

from tests.rig.judged import Counting, Killed, Scene, interrupting, killing, scene
from tests.rig.promotions import back, check, first, many_kills, to_the_end
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
    _, trainings = await many_kills(here, random.Random(37), 100)
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
