"""What is shown of versions is of one moment: the one that serves is among them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from prelabel_provider.models.store import Models
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import running
from prelabel_training.api_models import Desk
from prelabel_training.models_answers import state_of
from prelabel_training.registry.loads import Loads
from prelabel_training.registry.registry import promoted
from prelabel_training.registry.versions import Judgement, VersionRecord, Versions

from tests.rig.judged import MODEL, PROVIDER, Scene, SeamedDocuments, interrupting, scene


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(SqliteStore(tmp_path / "store.db")) as store, scene(tmp_path, store) as made:
        yield made


async def test_one_version_serves_whatever_is_promoted_between_the_two_looks(here: Scene) -> None:
    project = await here.project()
    await _promote(here, project, 1)
    for passing in (1, 2):
        seam = interrupting(passing, lambda passing=passing: _promote(here, project, passing + 1))  # type: ignore[misc]
        versions = Versions(SeamedDocuments(here.store.documents, seam))
        folder = here.folder / "models"
        desk = Desk(
            here.projects,
            here.registry(seam),
            versions,
            Loads(here.store.documents),
            Models(str(folder), folder / "cache"),
        )
        pointer, newest = await desk.newest(project, MODEL, 10)
        assert [state_of(one, pointer, None) for one in newest].count("serving") == 1, passing


async def _promote(here: Scene, project: str, number: int) -> None:
    record = VersionRecord(
        version=f"{number}-made",
        number=number,
        project=project,
        model=MODEL,
        provider=PROVIDER,
        training=f"{project}/{MODEL}/{number}",
        artifact=f"{number:064x}",
        verdict=Judgement(outcome="promote", reason="better", text="Promoted: better."),
        judged_ms=1,
    )
    await Versions(here.store.documents).insert(record)
    await here.registry().move(project, MODEL, promoted(record, "gate", ""))
