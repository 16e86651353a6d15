"""A model that two projects want, in virtual time: one exceeds its share and waits in backfill with 100 times the work.

The lanes' loops and the model are stood in for by a few lines each, as the runtime has them: batches of each lane, some
of them under way at once; a process that does one thing after the other. Whose turn it is, and in what portions, is
decided by what is under test.
"""

import asyncio
from collections.abc import Sequence

import pytest
from prelabel_contract.names import Lane
from prelabel_provider.lanes import Portions, Turns

BATCH = 256
AHEAD = 4
SLOTS = 2
SECONDS = 0.002
"""A request."""


class World:
    """One worker's process, its lanes, and what they have to do."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: dict[str, float] = {}
        """When the last request of each project was answered."""
        self._turns = Turns(slots=SLOTS, urgent=1)
        self._portions = Portions()
        self._portions.took("m", 1, SECONDS)
        self._process: asyncio.Queue[tuple[int, asyncio.Future[None]]] = asyncio.Queue()

    async def run(self, lanes: dict[Lane, Sequence[str]]) -> None:
        """Each lane's requests, by the projects whose they are, in order."""
        process = asyncio.create_task(self._work())
        await asyncio.gather(*(self._serve(lane, requests) for lane, requests in lanes.items()))
        process.cancel()

    async def _work(self) -> None:
        while True:
            requests, answered = await self._process.get()
            self.now += requests * SECONDS
            answered.set_result(None)
            for _ in range(10):
                await asyncio.sleep(0)  # whoever is next gets there before the model does

    async def _serve(self, lane: Lane, requests: Sequence[str]) -> None:
        ahead = asyncio.Semaphore(AHEAD)
        async with asyncio.TaskGroup() as under_way:
            for start in range(0, len(requests), BATCH):
                await ahead.acquire()
                task = under_way.create_task(self._batch(lane, requests[start : start + BATCH]))
                task.add_done_callback(lambda _: ahead.release())

    async def _batch(self, lane: Lane, requests: Sequence[str]) -> None:
        places = range(len(requests))
        parts = self._portions.of("m", places) if lane is Lane.BACKFILL else [places]
        await asyncio.gather(*(self._ask(lane, [requests[place] for place in part]) for part in parts))

    async def _ask(self, lane: Lane, requests: Sequence[str]) -> None:
        async with self._turns.turn(lane, len(requests)):
            answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            await self._process.put((len(requests), answered))
            await answered
            self.done |= dict.fromkeys(requests, self.now)


async def ended(lanes: dict[Lane, Sequence[str]], project: str) -> float:
    world = World()
    await world.run(lanes)
    return world.done[project]


@pytest.mark.parametrize("work", [500, 1000, 2000])
async def test_who_is_within_its_share_is_slowed_by_at_most_half_by_a_hundred_times_its_work(work: int) -> None:
    alone = await ended({Lane.BULK: ["modest"] * work}, "modest")
    beside = await ended({Lane.BACKFILL: ["greedy"] * 100 * work, Lane.BULK: ["modest"] * work}, "modest")
    assert alone == pytest.approx(work * SECONDS)
    assert beside <= 1.5 * alone


async def test_a_project_alone_is_as_fast_in_backfill_as_in_bulk() -> None:
    times = [await ended({lane: ["only"] * 5000}, "only") for lane in (Lane.BULK, Lane.BACKFILL)]
    assert times[0] == pytest.approx(times[1])


async def test_backfill_gets_on_while_bulk_always_has_more() -> None:
    world = World()
    await world.run({Lane.BULK: ["bulk"] * 10_000, Lane.BACKFILL: ["back"] * 1000})
    assert world.done["back"] == pytest.approx(7 * 1000 * SECONDS, rel=0.3)
