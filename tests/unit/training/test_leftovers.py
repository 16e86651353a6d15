"""Files of trainings, which are tasks' data, do not outlive what they are for."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from prelabel_contract import names
from prelabel_contract.events import ModelServing
from prelabel_provider.models.settings import ModelsSettings
from prelabel_provider.models.workspace import EXAMPLES, ExampleLine
from prelabel_provider.training.trainings import Trainings, TrainingState, training_id
from prelabel_runtime.tables import Table
from prelabel_training.registry.leftovers import UNDER_WAY, Leftovers
from prelabel_training.registry.retention import Retention
from prelabel_training.registry.serving import wired
from prelabel_training.registry.versions import Judgement, VersionRecord, Versions
from prelabel_training.settings import TrainingSettings

from .scene import MODEL, PROJECT, PROVIDER, Scene, scene

FAR = 2**50
MODELS = {(PROJECT, MODEL)}


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


async def trained(here: Scene) -> None:
    """A training has files, and is asked for."""
    await here.annotate(*"abcde")
    await here.look()
    assert await here.given(1)


def leftovers(here: Scene) -> Leftovers:
    return Leftovers(here.workspaces, Trainings(here.documents, here.clock), Versions(here.documents))


async def test_what_a_training_needs_stays(here: Scene) -> None:
    await trained(here)
    assert await leftovers(here).remove(FAR, MODELS) == 0
    await here.end(1, TrainingState.TRAINED)
    assert await leftovers(here).remove(FAR, MODELS) == 0  # nobody has judged it
    assert await here.given(1)


async def test_what_nobody_will_judge_any_more_goes(here: Scene) -> None:
    await trained(here)
    await here.end(1, TrainingState.TRAINED)
    first = await Trainings(here.documents, here.clock).get(PROJECT, MODEL, 1)
    assert first is not None
    for number in range(2, UNDER_WAY + 1):
        newer = first.but(number=number, training=training_id(PROJECT, MODEL, number))
        await Trainings(here.documents, here.clock).request(newer)
    assert await leftovers(here).remove(FAR, MODELS) == 0  # it is one of the newest
    last = first.but(number=UNDER_WAY + 1, training=training_id(PROJECT, MODEL, UNDER_WAY + 1))
    await Trainings(here.documents, here.clock).request(last)
    assert await leftovers(here).remove(FAR, MODELS) == 1
    assert await here.workspaces.written() == []


async def test_what_a_model_left_that_is_gone_goes_though_its_version_was_never_judged(here: Scene) -> None:
    await trained(here)
    await here.end(1, TrainingState.TRAINED)
    assert await leftovers(here).remove(FAR, frozenset()) == 1


async def test_what_a_verdict_left_goes(here: Scene) -> None:
    await trained(here)
    await here.end(1, TrainingState.TRAINED)
    await Versions(here.documents).insert(
        VersionRecord(
            version="1-a",
            number=1,
            project=PROJECT,
            model=MODEL,
            provider=PROVIDER,
            training="t",
            artifact="a",
            verdict=Judgement(outcome="refuse", reason="worse", text="."),
            judged_ms=0,
        )
    )
    assert await leftovers(here).remove(FAR, MODELS) == 1
    assert await here.workspaces.written() == []


async def test_what_a_cancelled_training_left_goes_though_nobody_tells_its_end(here: Scene) -> None:
    await trained(here)
    await here.end(1, TrainingState.CANCELLED)
    assert await leftovers(here).remove(FAR, MODELS) == 1
    assert await here.workspaces.written() == []


async def test_what_a_process_left_that_died_before_it_asked_goes_when_it_is_old(here: Scene) -> None:
    line = ExampleLine(task="t", data={"text": "somebody's"})
    await here.workspaces.of(PROJECT, "gone", 7).write(EXAMPLES, [line])
    (written,) = await here.workspaces.written()
    assert (written.project, written.model, written.number) == (PROJECT, "gone", 7)
    assert await leftovers(here).remove(written.at_ms, MODELS) == 0
    assert await leftovers(here).remove(written.at_ms + 1, MODELS) == 1
    assert await here.workspaces.written() == []


async def test_retention_looks_for_them(here: Scene) -> None:
    await here.workspaces.of(PROJECT, "gone", 7).write(EXAMPLES, [ExampleLine(task="t", data={"text": "somebody's"})])
    place = here.folder / "models" / "trainings" / PROJECT / "gone" / "7" / EXAMPLES.name
    os.utime(place, (1_500_000_000, 1_500_000_000))
    kept = ModelsSettings(models=str(here.folder / "models"), models_cache=here.folder / "cache")
    models = Table(here.bus, names.MODELS, ModelServing, rng=here.runtime.rng)
    parts = wired(here.runtime, TrainingSettings(), kept, here.projects, models, here.workspaces).parts
    (retention,) = [part for part in parts if isinstance(part, Retention)]
    await here.projects.start()
    await retention.look()
    await here.projects.stop()
    assert not place.exists()
