"""SIGKILL of the whole process while versions are judged: the same promises as at any single seam."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from prelabel_contract import cloudevents, names
from prelabel_contract.events import AnyEvent
from prelabel_provider.training.trainings import training_id, version_name
from prelabel_runtime.bus.base import Partition
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import running

from tests.rig.judged import MODEL, Scene, artifact_of, scene
from tests.rig.processes import ALL_IN_ONE, NotRunning, Prelabel, PrelabelProcess
from tests.rig.promotions import check

PROJECTS = 24
KILLS = 6
PATIENCE = 240.0
SOON = {"PRELABEL_TRAINING_OVERLOOKED_SECONDS": "10"}
"""Kills that meet one record three times in a row set it aside, though it is not to blame: then it is told of again."""


@asynccontextmanager
async def looking(folder: Path) -> AsyncIterator[Scene]:
    """The files of a process that does not run."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    async with running(SqliteStore(data / "results.db")) as store, scene(data, store) as here:
        yield here


async def given(folder: Path) -> list[str]:
    """Projects with two versions each, of which the second is compared with the first; all are still to be judged."""
    async with looking(folder) as here:
        projects = [await here.project() for _ in range(PROJECTS)]
        for project in projects:
            first = await here.trained(project, right=25)
            artifact = artifact_of(project, 1)
            second = await here.trained(
                project, right=30, serving_version=version_name(1, artifact), serving_artifact=artifact, serving_epoch=1
            )
            await here.serving_answers(project, right=20)
            await here.publish_quietly([first, second])
        return projects


def judged(folder: Path) -> int:
    """Versions that have been written down."""
    with closing(sqlite3.connect(f"file:{folder / 'data' / 'results.db'}?mode=ro", uri=True, timeout=60)) as file:
        query = "SELECT count(*) FROM documents WHERE place >= 'version:' AND place < 'version;'"
        (count,) = file.execute(query).fetchone()
        return int(count)


async def until_judged(folder: Path, count: int, judge: PrelabelProcess) -> None:
    """Wait for so many versions. Raises NotRunning where nobody judges any more."""
    async with asyncio.timeout(PATIENCE):
        while judged(folder) < count:
            if not judge.alive:
                raise NotRunning(f"{judge.name} ended with {judge.exit_code}; {judge.last_words()}")
            await asyncio.sleep(0.002)


@pytest.mark.slow
async def test_a_process_that_is_killed_again_and_again_promotes_each_version_once(tmp_path: Path) -> None:
    projects = await given(tmp_path)
    rng, kills, total = random.Random(37), 0, 2 * PROJECTS
    with Prelabel.all_in_one(tmp_path, providers=("echo",), environment=SOON) as prelabel:
        judge = prelabel.process(ALL_IN_ONE)
        while kills < KILLS and (before := judged(tmp_path)) < total - 10:
            await until_judged(tmp_path, before + rng.randint(1, 5), judge)
            await asyncio.to_thread(prelabel.kill, ALL_IN_ONE)
            kills += 1
            judge.start()  # it goes on judging before it is ready
        await until_judged(tmp_path, total, judge)
        await asyncio.to_thread(judge.ready)
    print(f"{kills} kills")
    assert kills >= 5, "it was killed amid its work"
    async with looking(tmp_path) as here:
        await read_log(here)
        for project in projects:
            here.numbers[project] = 2
            pointer = await here.pointer(project)
            assert pointer is not None
            assert [one.training for one in pointer.changes] == [training_id(project, MODEL, one) for one in (1, 2)]
            await check(here, project, compacted=True)


async def read_log(here: Scene) -> None:
    """What was told, as everybody can read it."""
    for topic in (names.MODELS, names.LEARNING):
        for place, end in (await here.bus.offsets([topic], "end")).items():
            here.told += [one async for one in events(here, place, end)]


async def events(here: Scene, place: Partition, end: int) -> AsyncIterator[AnyEvent]:
    """The events of a partition."""
    offset = 0
    while offset < end:
        for record in await here.bus.fetch(place, offset, 500):
            offset = record.offset + 1
            told = cloudevents.decode(record.headers, record.value, topic=record.topic, key=record.key)
            if told is not None:
                yield told
