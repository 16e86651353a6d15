"""How far runs are, and their end where several processes see it: what is stored is what is told."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from prelabel_contract import cloudevents, names
from prelabel_contract.events import RunCompleted
from prelabel_projection.runs import Looks, RunWatcher
from prelabel_projection.settings import ProjectionSettings
from prelabel_runtime.bus.base import Partition
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.store.base import RunState, StoredLine
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.doubles import ManualClock
from prelabel_runtime.testing.store import running
from prelabel_runtime.topics.spec import topic_spec

PLACE = Partition(names.RUNS, 0)
NOW = 1_700_000_000_000


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "results.db")
    async with running(store):
        yield store


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    bus = SqliteBus(tmp_path / "log.db", clock=SystemClock())
    await bus.start()
    await bus.provision([topic_spec(names.RUNS, 1)])
    yield bus
    await bus.stop()


def watcher(store: SqliteStore, bus: SqliteBus, now_ms: int) -> RunWatcher:
    """A process's."""
    clock = ManualClock(now_ms)
    return RunWatcher(store, Looks(store), bus, ProjectionSettings(), clock, Metrics(), random.Random(1))


async def told(bus: SqliteBus) -> list[int]:
    """When a run ended, by what was told of it."""
    found = [
        cloudevents.decode(one.headers, one.value, topic=one.topic, key=one.key)
        for one in await bus.fetch(PLACE, 0, 100)
    ]
    return [one.time_ms for one in found if one is not None and isinstance(one.data, RunCompleted)]


async def test_a_run_that_two_end_at_once_ended_when_it_is_told_to_have(store: SqliteStore, bus: SqliteBus) -> None:
    await store.runs.seal("r", "p", 0, NOW - 1000)
    slow, quick = watcher(store, bus, NOW), watcher(store, bus, NOW + 100)
    finish = store.runs.finish

    async def held_up(run: str, state: RunState, at_ms: int, reason: str = "") -> bool:
        """The slow one has looked at its clock; the quick one does all of it now."""
        store.runs.finish = finish  # type: ignore[method-assign]
        await quick.look()
        return await finish(run, state, at_ms, reason)

    store.runs.finish = held_up  # type: ignore[method-assign]
    await slow.look()
    ended = await store.runs.get("p", "r")
    assert ended is not None
    assert ended.ended_ms == min(await told(bus)), "or a rebuild finds another end in the log"


async def test_a_run_whose_upload_came_again_with_more_lines_waits_for_them(store: SqliteStore) -> None:
    looks = Looks(store)
    for lines in (1, 2):
        await store.lines.put([StoredLine(f"r:{lines}", "p", "r", lines, None, NOW)])
        await store.runs.seal("r", "p", lines, NOW - 1000)
        (run,) = await store.runs.unfinished()
        assert (await looks.progress(run)).rejected == lines
        assert await looks.complete(run)


async def test_a_run_that_was_told_to_have_ended_is_not_told_again(store: SqliteStore, bus: SqliteBus) -> None:
    await store.runs.seal("r", "p", 0, NOW - 1000)
    for one in (watcher(store, bus, NOW), watcher(store, bus, NOW + 100)):
        await one.look()
    assert await told(bus) == [NOW]
