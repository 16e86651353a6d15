"""A trainer's machine does not fill up with the versions that it made."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from prelabel_provider.models.manifest import Rules
from prelabel_provider.models.store import Models, Origin
from prelabel_provider.training.tidying import tidy
from prelabel_provider.training.trainings import Trainings, TrainingState
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import running
from prelabel_training.registry.registry import Target

from tests.rig import trainings as rig
from tests.rig.judged import MODEL, PROVIDER, Scene, scene

YEARS = 10 * 365 * 86_400
RULES = Rules(PROVIDER, frozenset({".json"}))


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(SqliteStore(tmp_path / "store.db")) as store, scene(tmp_path, store) as made:
        yield made


async def fetched(store: Models, folder: Path, number: int) -> str:
    """A version that this machine has."""
    source = folder / f"made-{number}"
    source.mkdir()
    (source / "model.json").write_text(json.dumps({"number": number}))
    name = await store.publish(source, ["model.json"], Origin(1, "f"), RULES)
    await store.fetch(name, RULES)
    return name


async def test_what_serves_what_served_before_and_what_trainings_need_stays_on_a_trainers_machine_and_no_more(
    here: Scene, tmp_path: Path
) -> None:
    store, project = Models(str(here.folder), tmp_path / "cache"), await here.project()
    before, serving, base, candidate, rejected = [await fetched(store, tmp_path, number) for number in range(5)]
    for name in (before, serving):
        await here.registry().move(project, MODEL, Target(name[:5], name, PROVIDER, "", "promoted", "key-1"))
    evaluating: dict[str, Any] = {
        "state": TrainingState.EVALUATING,
        "artifact": candidate,
        "base": base,
        "serving_artifact": "",
    }
    await here.trained(project, right=20, **evaluating)
    documents = here.store.documents
    needed = await Trainings(documents, here.clock).owed(PROVIDER)
    assert needed
    assert await tidy(store, documents, here.clock, needed) == [], "they are young"
    here.clock.advance(YEARS)
    assert await tidy(store, documents, here.clock, needed) == [rejected]
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {before, serving, base, candidate}
    store.stop()


async def test_a_trainer_that_starts_tidies_its_machine(tmp_path: Path) -> None:
    store = rig.models(tmp_path).store()
    old = await fetched(store, tmp_path, 1)
    cached = rig.models(tmp_path).models_cache / old
    os.utime(cached, (1, 1))
    async with rig.asking(tmp_path, rig.project()) as asking:
        await asking.ask(artifact="a" * 64)
    async with rig.training(tmp_path, rig.project()) as training:
        await training.until("demo/m/1", lambda _: not cached.exists())
    store.stop()
