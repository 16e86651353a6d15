"""Whose turn it is: interactive first, the others by weight, in order within a lane, also when somebody gives up."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.names import Lane
from prelabel_provider.lanes import LEAST, MAX_MODELS, Portions, Turns


class Queue:
    """Tasks that each take a turn, in a known order."""

    def __init__(self, turns: Turns | None = None) -> None:
        self.turns = turns or Turns()
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
    await asyncio.wait_for(last, 60)
    assert had == ["last"]
    async with asyncio.timeout(60), turns.turn(Lane.BACKFILL):
        pass


async def test_an_error_in_a_turn_ends_the_turn() -> None:
    turns = Turns()
    for _ in range(3):
        try:
            async with turns.turn(Lane.BULK):
                raise ValueError
        except ValueError:
            pass


async def served(turns: Turns, coming: Sequence[tuple[Lane, float]]) -> list[tuple[Lane, float]]:
    """In what order batches have their turn that all wait for the same first one, each with its work."""
    had: list[tuple[Lane, float]] = []
    go = asyncio.Event()

    async def take(lane: Lane, work: float) -> None:
        async with turns.turn(lane, work):
            had.append((lane, work))
            await go.wait()

    tasks = []
    for lane, work in ((Lane.INTERACTIVE, 1.0), *coming):
        tasks.append(asyncio.create_task(take(lane, work)))
        await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*tasks)
    return had[1:]


def work_of(lane: Lane, batches: Sequence[tuple[Lane, float]]) -> float:
    return sum(work for its, work in batches if its is lane)


async def test_lanes_with_weights_share_by_work_and_not_by_batches() -> None:
    turns = Turns(weights={Lane.BULK: 4, Lane.BACKFILL: 1})
    had = await served(turns, [(Lane.BACKFILL, 500)] * 40 + [(Lane.BULK, 100)] * 100)
    until_bulk_is_done = had[: max(place for place, (lane, _) in enumerate(had) if lane is Lane.BULK) + 1]
    assert work_of(Lane.BACKFILL, until_bulk_is_done) == 100 * 100 / 4 - 500  # the next would go beyond its share


@given(
    weight=st.floats(0.1, 10),
    batches=st.lists(st.tuples(st.sampled_from([Lane.BULK, Lane.BACKFILL]), st.integers(1, 300)), max_size=60),
)
def test_no_lane_falls_behind_its_share_by_more_than_a_batch_of_each(
    weight: float, batches: list[tuple[Lane, int]]
) -> None:
    had = asyncio.run(served(Turns(weights={Lane.BULK: weight, Lane.BACKFILL: 1}), batches))
    assert sorted(had) == sorted((lane, float(work)) for lane, work in batches)
    largest = {lane: max((work for its, work in batches if its is lane), default=0) for lane in Lane}
    bound = largest[Lane.BULK] / weight + largest[Lane.BACKFILL]
    for lane in (Lane.BULK, Lane.BACKFILL):
        assert [work for its, work in had if its is lane] == [work for its, work in batches if its is lane]
    both_wait = min(
        (max(place for place, (its, _) in enumerate(had) if its is lane) for lane in {lane for lane, _ in had}),
        default=0,
    )
    for place in range(both_wait if len({lane for lane, _ in had}) == 2 else 0):
        so_far = had[: place + 1]
        ahead = work_of(Lane.BULK, so_far) / weight - work_of(Lane.BACKFILL, so_far)
        assert abs(ahead) <= bound + 1e-6


async def test_a_lane_that_was_idle_has_saved_up_nothing() -> None:
    turns = Turns(weights={Lane.BULK: 1, Lane.BACKFILL: 1})
    for _ in range(100):
        async with turns.turn(Lane.BACKFILL, 10):
            pass
    had = await served(turns, [(Lane.BACKFILL, 10), (Lane.BULK, 10)] * 20)
    assert all(first is not second for (first, _), (second, _) in pairwise(had))


async def test_as_many_turns_as_slots_are_held_at_once_and_an_urgent_one_beside_them() -> None:
    queue = Queue(Turns(slots=2, urgent=1))
    lanes = [Lane.BULK, Lane.BACKFILL, Lane.BULK, Lane.INTERACTIVE, Lane.INTERACTIVE]
    tasks = [await queue.start(f"{lane} {n}", lane) for n, lane in enumerate(lanes)]
    assert queue.had == ["bulk 0", "backfill 1", "interactive 3"]
    queue.go.set()
    await asyncio.gather(*tasks)
    assert queue.had[3:] == ["interactive 4", "bulk 2"]


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"urgent": -1}, {"weights": {Lane.BULK: 0}}])
def test_turns_that_could_never_be_had_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="at least"):
        Turns(**wrong)  # type: ignore[arg-type]


def test_what_may_wait_is_asked_in_portions_that_take_the_model_a_moment() -> None:
    portions = Portions(seconds=0.1)
    places = list(range(1000))
    assert {len(part) for part in portions.of("m", places)} == {LEAST}  # how fast it is, nobody knows yet
    portions.took("m", 100, 0.1)
    assert [len(part) for part in portions.of("m", places)] == [100] * 10
    assert [place for part in portions.of("m", places) for place in part] == places
    portions.took("slow", 1, 60.0)
    assert len(portions.of("slow", places)[0]) == LEAST
    portions.took("fast", 1000, 0.001)
    assert len(portions.of("fast", places)) == 1


def test_how_fast_models_were_is_kept_for_the_latest_of_them_only() -> None:
    portions = Portions(seconds=0.1)
    for number in range(MAX_MODELS + 1):
        portions.took(f"m{number}", 1000, 0.001)
    assert len(portions.of("m0", range(1000))[0]) == LEAST
    assert len(portions.of("m1", range(1000))[0]) == 1000
