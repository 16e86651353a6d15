"""What may wait is dispatched in portions, and lets everybody else go first as long as that can be waited for."""

import asyncio
from collections.abc import Sequence

import pytest
from prelabel_ingestion.precedence import PORTION, Apart, after_everybody, in_portions
from prelabel_runtime.service import Reply
from prelabel_runtime.testing.doubles import ManualClock


class Handled:
    """Each portion takes a second."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.portions: list[int] = []

    async def __call__(self, batch: Sequence[int]) -> Sequence[Reply]:
        self.portions.append(len(batch))
        self.clock.advance(1.0)
        return [[]] * len(batch)


class Busy:
    """Somebody else who always has something to do, and takes a tenth of a second for it each time."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.rounds = 0

    async def work(self) -> None:
        while True:
            self.rounds += 1
            self._clock.advance(0.1)
            await asyncio.sleep(0)


async def test_a_batch_is_handled_in_portions_and_answered_whole() -> None:
    handled = Handled()
    assert len(await in_portions(handled)(range(2 * PORTION + 1))) == 2 * PORTION + 1
    assert handled.portions == [PORTION, PORTION, 1]


async def test_others_get_on_between_the_portions() -> None:
    handled = Handled()
    busy = Busy(handled.clock)
    other = asyncio.create_task(busy.work())
    await in_portions(handled)(range(5 * PORTION))
    assert busy.rounds >= 4
    other.cancel()


async def test_backfill_waits_for_nothing_where_nobody_has_anything_to_do() -> None:
    handled = Handled()
    began = handled.clock.monotonic()
    await after_everybody(handled, handled.clock.monotonic)(range(5 * PORTION))
    assert handled.clock.monotonic() - began == 5.0  # its own work and nothing else


async def test_backfill_lets_others_have_four_fifths_of_a_loop_that_is_always_busy_and_gets_one() -> None:
    handled = Handled()
    busy = Busy(handled.clock)
    handle = after_everybody(handled, handled.clock.monotonic)
    await handle(range(PORTION))
    other = asyncio.create_task(busy.work())
    async with asyncio.timeout(60):
        await handle(range(10 * PORTION))
    other.cancel()
    assert handled.portions == [PORTION] * 11
    assert abs(busy.rounds * 0.1 - 4 * 10 * 1.0) < 3


class Submitted:
    """As much of an event as is looked at."""

    def __init__(self, task: str) -> None:
        self.data = self
        self.task = task


async def test_what_is_about_one_task_is_handled_one_after_the_other_and_the_rest_is_not_held_up() -> None:
    told: list[str] = []
    go = asyncio.Event()

    async def handle(batch: Sequence[Submitted]) -> Sequence[Reply]:
        words = "".join(one.task for one in batch)
        told.append(f"{words} begins")
        if words == "ab":
            await go.wait()
        told.append(f"{words} ends")
        return [[]] * len(batch)

    apart = Apart(handle)
    batches = [asyncio.create_task(apart([Submitted(task) for task in tasks])) for tasks in ("ab", "bc", "d", "cb")]
    for _ in range(5):
        await asyncio.sleep(0)
    assert told == ["ab begins", "d begins", "d ends"]
    go.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*batches)
    assert told[3:] == ["ab ends", "bc begins", "bc ends", "cb begins", "cb ends"]


async def test_a_batch_that_fails_holds_up_nobody() -> None:
    async def handle(batch: Sequence[Submitted]) -> Sequence[Reply]:
        raise ValueError

    apart = Apart(handle)
    for _ in range(2):
        with pytest.raises(ValueError):  # noqa: PT011 - the handler's own
            await apart([Submitted("a")])
