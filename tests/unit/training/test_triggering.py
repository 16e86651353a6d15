"""The part that wakes the trigger: at start, by what is stored, by moments that were named, and in another's place."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest_asyncio
from prelabel_contract.projects import Project
from prelabel_provider.training.trainings import TrainingState
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.store.annotations import stored_annotation
from prelabel_training.triggers.starting import Starting

from .scene import MODEL, PROJECT, Deaths, Scene, model, project, scene

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds until what must come has failed to come."""


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


@contextlib.asynccontextmanager
async def running(service: Starting) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(service.triggering.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(here: Scene, ready: Callable[[int], bool], *, seconds: float = 0.5) -> int:
    """The number of trainings, once it is as wanted; time goes on meanwhile, by `seconds` at once."""
    async with asyncio.timeout(PATIENCE):
        while not ready(found := len(await here.records())):
            here.clock.advance(seconds)
            await asyncio.sleep(0.01)
    return found


async def test_what_was_stored_before_it_started_is_looked_at_at_start(here: Scene) -> None:
    await here.annotate(*"abcde")
    async with running(here.process()):
        await until(here, lambda found: found == 1, seconds=0)


async def test_what_is_stored_wakes_it(here: Scene) -> None:
    async with running(here.service):
        await here.annotate(*"abcde")
        await until(here, lambda found: found == 1)


async def test_a_moment_that_was_named_is_kept(here: Scene) -> None:
    async with running(here.service):
        await here.annotate("a", "b", "c")
        began = here.clock.now_ms()
        await until(here, lambda found: found == 1)
        assert here.clock.now_ms() - began >= 30_000


async def test_the_end_of_a_training_is_noticed_though_nobody_tells_it(here: Scene) -> None:
    async with running(here.service):
        await here.annotate(*"abcde")
        await until(here, lambda found: found == 1)
        await here.annotate(*"fghij")
        await here.end(1)
        await until(here, lambda found: found == 2)


async def test_what_another_process_was_told_and_did_not_live_to_do_is_done(here: Scene) -> None:
    other = here.process()
    here.process()
    async with running(here.service):
        await until(here, lambda found: found == 0, seconds=0)
        for task in "abcde":
            await here.task(task)
        async with other.hearing.writing({PROJECT: 4}):  # it stores, and dies before it looks
            await here.store.examples.put([stored_annotation(here.said(task)) for task in "abcde"])
        await until(here, lambda found: found == 1)


async def test_a_project_that_begins_to_learn_is_looked_at_though_nothing_is_said(here: Scene) -> None:
    silent: Project = project(models=[{**model(), "training": None}])
    here.change(silent)
    await here.annotate(*"abcde")
    async with running(here.service):
        here.change(project())
        await until(here, lambda found: found == 1)


async def test_a_defect_or_a_store_that_is_down_at_one_project_stops_nothing(here: Scene) -> None:
    deaths = Deaths(trouble=[Unavailable("the store"), ValueError("a defect")])
    async with running(here.process(deaths)) as task:
        await here.annotate(*"abcde")
        await until(here, lambda found: found == 1)
        assert not task.done()
    assert deaths.trouble == []


async def test_a_storm_costs_a_look_a_second(here: Scene) -> None:
    deaths = Deaths()
    async with running(here.process(deaths)):
        for number in range(100):  # ten seconds
            await here.annotate(f"t{number}")
            here.clock.advance(0.1)
            await asyncio.sleep(0)
    assert deaths.looks <= 12


async def test_somebody_who_asks_waits_for_no_rest_and_gets_the_training(here: Scene) -> None:
    here.change(project(models=[model(every_n=None, quiet_seconds=None)]))
    await here.annotate(*"abcd")
    spec = here.project.models[0]
    async with running(here.service):
        asked = await asyncio.wait_for(here.service.asking.ask(PROJECT, spec), PATIENCE)
        assert asked.record is not None
        assert (asked.record.state, asked.record.examples) == (TrainingState.REQUESTED, 4)
        cancelled = await asyncio.wait_for(here.service.asking.cancel(asked.record), PATIENCE)
        assert cancelled.state is TrainingState.CANCELLED
        assert (await here.service.trigger.states.of(PROJECT))[MODEL].remembered.state.under_way is not None


class Stuck(Deaths):
    """A process that is held up where it writes a training's record, until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.goes_on = asyncio.Event(), asyncio.Event()

    async def step(self, name: str, do: Callable[[], Awaitable[T]]) -> T:
        if name == "put training":
            self.held.set()
            await self.goes_on.wait()
        return await super().step(name, do)


async def test_who_asks_while_another_process_is_at_it_costs_a_look_now_and_then(here: Scene) -> None:
    here.change(project(models=[model(every_n=None, quiet_seconds=None)]))
    await here.annotate(*"abcd")
    spec, stuck, deaths = here.project.models[0], Stuck(), Deaths()
    other, own = here.process(stuck), here.process(deaths)
    async with running(other):
        first = asyncio.create_task(other.asking.ask(PROJECT, spec))
        await asyncio.wait_for(stuck.held.wait(), PATIENCE)
        async with running(own):  # not before: its first look would take up the wish, which is to be the other's
            before = deaths.looks
            second = asyncio.create_task(own.asking.ask(PROJECT, spec))
            async with asyncio.timeout(PATIENCE):
                while not second.done():
                    here.clock.advance(0.1)
                    await asyncio.sleep(0.01)
            assert (second.result().record, second.result().why.reason) == (None, "deciding")
            assert deaths.looks - before <= 15, "in ten seconds"
        stuck.goes_on.set()
        asked = await asyncio.wait_for(first, PATIENCE)
        assert asked.record is not None
        assert asked.record.number == 1
