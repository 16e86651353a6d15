"""Who dies with a culprit in one process is not blamed with it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest_asyncio
from prelabel_contract import names
from prelabel_contract.events import Event, RunOpened
from prelabel_runtime.bus.base import TopicSpec
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.floor import Floor
from prelabel_runtime.service import Reply

from .scene import GROUP, created, loop_of, open_bus, records, runs_in, submit, subscription

OTHER = "projection"


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    async with open_bus(tmp_path) as bus:
        await bus.provision(
            [TopicSpec(topic, partitions=1) for topic in (names.retry(OTHER), names.dead_letters(OTHER))]
        )
        yield bus


async def test_of_two_groups_that_die_together_only_the_guilty_one_is_blamed(bus: SqliteBus) -> None:
    await submit(bus, "a", "killer", "b")
    deaths = 0
    while not (await runs_in(bus, names.RUNS)).count("done"):
        deaths += await _process(bus)
        assert deaths < 10
    assert [r.value for r in await records(bus, names.dead_letters(OTHER))] == []
    assert await runs_in(bus, names.dead_letters(GROUP)) == ["killer"]
    assert deaths <= 5
    assert sorted(await runs_in(bus, names.RUNS)) == ["a", "b", "done"]


async def _process(bus: SqliteBus) -> bool:
    """Two groups in a process; ends with it, or when both are through. Whether it died.

    The innocent take as long as the guilty may still die beside them: whoever dies does so in the middle of their work.
    """
    dying, through, past = asyncio.Event(), asyncio.Event(), asyncio.Event()
    floor = Floor()
    if "b" in await runs_in(bus, names.RUNS):
        past.set()

    async def guilty(batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        if any(e.data.run == "killer" for e in batch):
            dying.set()
            await asyncio.Event().wait()  # nothing of it goes on
        if any(e.data.run == "b" for e in batch):
            past.set()
        return [[created(e.data.run)] for e in batch]

    async def innocent(batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        while not (dying.is_set() or past.is_set() or _wanted_alone(floor)):  # noqa: ASYNC110 - a floor tells nobody
            await asyncio.sleep(0.002)
        if dying.is_set():
            await asyncio.Event().wait()
        if any(e.data.run == "b" for e in batch):
            through.set()
        return [[created("done")] if e.data.run == "b" else () for e in batch]

    loops = [
        asyncio.create_task(loop_of(bus, sub, floor=floor).run())
        for sub in (subscription(guilty), subscription(innocent, group=OTHER))
    ]

    async def both_through() -> None:
        await through.wait()
        while sorted(await runs_in(bus, names.RUNS)) != ["a", "b", "done"]:  # noqa: ASYNC110 - it is in a file
            await asyncio.sleep(0.01)

    ends = [asyncio.create_task(dying.wait()), asyncio.create_task(both_through())]
    async with asyncio.timeout(60):
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in (*loops, *ends):
        task.cancel()  # as a kill would: nothing is tidied up
    await asyncio.gather(*loops, *ends, return_exceptions=True)
    return dying.is_set()


def _wanted_alone(floor: Floor) -> bool:
    """Whether somebody has the floor to itself, or waits for that: nobody else dies beside whoever is at work."""
    place = floor.together_now()
    if place is not None:
        place.leave()
    return place is None


async def test_who_wants_to_be_alone_waits_for_those_at_work_and_goes_before_those_who_come() -> None:
    floor = Floor()
    at_work = await floor.together()
    assert floor.alone_now() is None
    alone = asyncio.create_task(floor.alone())
    await asyncio.wait({alone}, timeout=0)
    assert floor.together_now() is None
    later = asyncio.create_task(floor.together())
    at_work.leave()
    at_work.leave()
    (await alone).leave()
    (await later).leave()
    assert floor.alone_now() is not None


async def test_who_gives_up_waiting_holds_up_nobody() -> None:
    floor = Floor()
    at_work = await floor.together()
    alone = asyncio.create_task(floor.alone())
    await asyncio.wait({alone}, timeout=0)
    assert floor.together_now() is None
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    assert floor.together_now() is not None
    at_work.leave()
