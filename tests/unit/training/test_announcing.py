"""Everybody learns what serves: after a crash, and where an old word came behind a newer one. Artifacts go last."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from prelabel_contract import names
from prelabel_contract.events import ModelPromoted, ModelServing
from prelabel_provider.models.manifest import Rules
from prelabel_provider.models.store import Models, Origin
from prelabel_provider.models.workspace import Workspaces
from prelabel_provider.training.trainings import Trainings
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.tables import Table
from prelabel_runtime.testing.store import running
from prelabel_training.gate.overlooked import Overlooked
from prelabel_training.registry.announcing import Announcer
from prelabel_training.registry.leftovers import Leftovers
from prelabel_training.registry.registry import Registry, Target, told
from prelabel_training.registry.retention import Retention
from prelabel_training.registry.versions import Versions

from tests.rig.judged import MODEL, PROVIDER, Killed, Scene, killing, scene


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(SqliteStore(tmp_path / "store.db")) as store, scene(tmp_path, store) as made:
        yield made


@pytest_asyncio.fixture
async def models(here: Scene) -> AsyncIterator[Table[ModelServing]]:
    """What everybody reads."""
    table = Table(here.bus, names.MODELS, ModelServing, rng=random.Random(0))
    await table.start()
    following = asyncio.create_task(table.run())
    yield table
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
    await table.stop()


def runtime_of(here: Scene) -> Runtime:
    """A process."""
    settings = RuntimeSettings(bus="sqlite:///none", store="sqlite:///none")
    return Runtime(settings, here.bus, here.store, Metrics(), clock=here.clock)


def announcer(here: Scene, models: Table[ModelServing]) -> Announcer:
    """The part of a process that looks after it."""
    overlooked = Overlooked(here.store.documents, here.bus, here.projects, here.clock, patience=60.0)
    return Announcer(runtime_of(here), here.registry(), models, overlooked, 1.0)


def target(number: int) -> Target:
    """A version."""
    return Target(f"{number}-abc", f"{number:064d}", PROVIDER, "", "promoted", "key-1")


async def test_a_change_whose_process_died_before_it_was_told_is_told(here: Scene, models: Table[ModelServing]) -> None:
    project = await here.project()
    for seam in range(1, 20):
        try:
            await here.registry(killing(seam)).move(project, MODEL, target(1))
        except Killed:
            if await here.pointer(project) is not None:
                break
    assert not here.told
    await announcer(here, models).look()
    await models.catch_up()
    known = models.get(f"{project}/{MODEL}")
    assert known is not None
    assert (known.version, known.epoch) == ("1-abc", 1)
    assert [one.version for one in here.told_of(project, ModelPromoted)] == ["1-abc"]
    before = len(here.told)
    await announcer(here, models).look()
    assert len(here.told) == before, "once is enough"


async def test_an_old_word_behind_a_newer_one_is_put_right(here: Scene, models: Table[ModelServing]) -> None:
    project = await here.project()
    old = await here.registry().move(project, MODEL, target(1))
    await here.registry().move(project, MODEL, target(2))
    await here.publish(told(old))  # a process that was held up
    await models.catch_up()
    wrong = models.get(f"{project}/{MODEL}")
    assert wrong is not None
    assert wrong.epoch == 1
    await announcer(here, models).look()
    await models.catch_up()
    right = models.get(f"{project}/{MODEL}")
    assert right is not None
    assert (right.version, right.epoch) == ("2-abc", 2)


async def test_what_serves_what_served_before_and_the_newest_artifacts_stay(here: Scene, tmp_path: Path) -> None:
    project = await here.project()
    store = Models(str(here.folder), tmp_path / "cache")
    made = [await artifact(store, tmp_path, number) for number in range(6)]
    for right, name in enumerate(made, start=20):
        await here.deliver(await here.trained(project, right=right, artifact=name, version=f"v-{name[:5]}"))
    registry = Registry.of(here.store.documents, here.bus, here.clock)
    for name in made[:2]:
        await registry.move(project, MODEL, Target(f"x-{name[:5]}", name, PROVIDER, "", "promoted", "key-1"))
    versions, trainings = Versions(here.store.documents), Trainings(here.store.documents, here.clock)
    retention = Retention(
        runtime_of(here),
        store,
        here.projects,
        registry,
        versions,
        trainings,
        Leftovers(Workspaces(str(here.folder)), trainings, versions),
        keep=2,
        every=1.0,
        grace=0.0,
    )
    assert await retention.look() == [], "they are young"
    here.clock.advance(10 * 365 * 86_400)
    assert set(await retention.look()) == {made[2], made[3]}
    assert set(await store.published()) == {*made[:2], *made[4:]}
    await retention.stop()


async def artifact(store: Models, folder: Path, number: int) -> str:
    """An artifact in the model store."""
    source = folder / f"made-{number}"
    source.mkdir()
    (source / "model.json").write_text(json.dumps({"number": number}))
    return await store.publish(source, ["model.json"], Origin(1, "f"), Rules(PROVIDER, frozenset({".json"})))
