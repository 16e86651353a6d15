"""Whose turn it is: the most urgent lane first, in order within a lane, also when somebody gives up."""

import asyncio

from prelabel_contract.names import Lane
from prelabel_provider.lanes import Turns


class Queue:
    """Tasks that each take a turn, in a known order."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.had: list[str] = []
        self.go = asyncio.Event()

    async def take(self, name: str, lane: Lane) -> None:
        async with self.turns.turn(lane):
            self.had.append(name)
            await self.go.wait()

    async def start(self, name: str, lane: Lane) -> "asyncio.Task[None]":
        task = asyncio.create_task(self.take(name, lane))
        await asyncio.sleep(0)
        return task


async def test_interactive_goes_before_bulk_and_backfill_whoever_came_first() -> None:
    queue = Queue()
    tasks = [
        await queue.start(name, lane)
        for name, lane in (
            ("running", Lane.BULK),
            ("backfill", Lane.BACKFILL),
            ("bulk 1", Lane.BULK),
            ("bulk 2", Lane.BULK),
            ("interactive", Lane.INTERACTIVE),
        )
    ]
    queue.go.set()
    await asyncio.gather(*tasks)
    assert queue.had == ["running", "interactive", "bulk 1", "bulk 2", "backfill"]


async def test_one_turn_at_a_time() -> None:
    queue = Queue()
    tasks = [await queue.start(str(n), Lane.BULK) for n in range(5)]
    assert queue.had == ["0"]
    queue.go.set()
    await asyncio.gather(*tasks)


async def test_who_gives_up_waiting_keeps_nobody_waiting() -> None:
    queue = Queue()
    first = await queue.start("first", Lane.BULK)
    quitter = await queue.start("quitter", Lane.INTERACTIVE)
    last = await queue.start("last", Lane.BULK)
    quitter.cancel()
    queue.go.set()
    await asyncio.gather(first, last)
    assert queue.had == ["first", "last"]


async def test_who_gives_up_just_when_it_is_their_turn_passes_it_on() -> None:
    turns = Turns()
    held = turns.turn(Lane.BULK)
    await held.__aenter__()
    had: list[str] = []

    async def take(name: str) -> None:
        async with turns.turn(Lane.BULK):
            had.append(name)

    quitter, last = asyncio.create_task(take("quitter")), asyncio.create_task(take("last"))
    await asyncio.sleep(0)
    await held.__aexit__(None, None, None)  # the turn is the quitter's now, who has not noticed yet
    quitter.cancel()
    await asyncio.wait_for(last, 5)
    assert had == ["last"]
    async with asyncio.timeout(5), turns.turn(Lane.BACKFILL):
        pass


async def test_an_error_in_a_turn_ends_the_turn() -> None:
    turns = Turns()
    for _ in range(3):
        try:
            async with turns.turn(Lane.BULK):
                raise ValueError
        except ValueError:
            pass
