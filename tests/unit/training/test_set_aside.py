"""Kills that are no record's fault can set a version's record aside: it is judged all the same, and once."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from prelabel_contract import names
from prelabel_contract.events import Event, ModelTrained
from prelabel_runtime.attempts import LIMIT
from prelabel_runtime.bus.base import Partition
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.dead_letters import DEAD_LETTER_HEADER, read_aside
from prelabel_runtime.loop import Loop
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.service import Batching, Handler, Reply, Subscription, each
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import running
from prelabel_runtime.topics.spec import topic_spec
from prelabel_training.gate.gatekeeper import GROUP
from prelabel_training.gate.overlooked import Overlooked
from prelabel_training.registry.versions import Versions

from tests.rig.judged import MODEL, Scene, scene

PATIENCE = 60.0


class Killed(Exception):
    """The process ends, whatever it was at."""


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(SqliteStore(tmp_path / "store.db")) as store, scene(tmp_path, store) as made:
        await made.bus.provision([topic_spec(name, 1) for name in (names.retry(GROUP), names.dead_letters(GROUP))])
        yield made


def gate(here: Scene, handler: Handler) -> Loop:
    """The gate's consumer in a process."""
    batching = Batching(records=1, linger=0.0)
    of = Subscription(group=GROUP, topics=(names.LEARNING,), batching=batching, on={ModelTrained: handler})
    return Loop(here.bus, of, clock=SystemClock(), metrics=Metrics(), rng=random.Random(1))


async def killed(batch: Sequence[Event[ModelTrained]]) -> Sequence[Reply]:
    """Somebody ends the process while it judges."""
    raise Killed


async def set_aside(here: Scene) -> list[str]:
    """Why records of the group were."""
    letters = await here.bus.fetch(Partition(names.dead_letters(GROUP), 0), 0, 100)
    asides = [read_aside(one, DEAD_LETTER_HEADER) for one in letters]
    return [one.reason for one in asides if one is not None]


async def test_a_version_whose_record_was_set_aside_for_kills_from_outside_is_judged_all_the_same(here: Scene) -> None:
    project = await here.project()
    trained = await here.trained(project, right=30)
    await here.publish_quietly([trained])
    for _ in range(LIMIT):
        with pytest.raises(BaseExceptionGroup) as ended:
            await gate(here, killed).run()
        assert ended.group_contains(Killed)
    versions = Versions(here.store.documents)
    async with at_work(gate(here, each(here.gate().trained))):
        await until_so(lambda: set_aside(here))
        assert await versions.get(project, MODEL, 1) is None, "nobody has judged it"
        here.clock.advance(61)
        await Overlooked(here.store.documents, here.bus, here.projects, here.clock, patience=60.0).look()
        await until_so(lambda: versions.get(project, MODEL, 1))
        await until_so(lambda: here.pointer(project))
    assert await set_aside(here) == ["kills_its_process"]
    before = await here.pointer(project)
    await here.deliver(trained)  # what a replay of the letter does
    assert await here.pointer(project) == before is not None


# ------------------------------------------------------------------------------------------------------------ helpers


@contextlib.asynccontextmanager
async def at_work(loop: Loop) -> AsyncIterator[None]:
    """A consumer, stopped at the end, where what it raised is raised."""
    task = asyncio.create_task(loop.run())
    try:
        yield
    finally:
        loop.stop()
        await asyncio.wait_for(task, PATIENCE)


async def until_so(look: Callable[[], Awaitable[object]]) -> None:
    """Look until there is something."""
    async with asyncio.timeout(PATIENCE):
        while not await look():  # noqa: ASYNC110 - another task makes it so
            await asyncio.sleep(0.01)
