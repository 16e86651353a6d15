"""Quality is not counted for everybody who looks, and not shown for long."""

import asyncio
from collections.abc import Awaitable, Callable

from prelabel_contract.projects import Learning, Project
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.testing.doubles import ManualClock
from prelabel_training.quality.quality import Census, Quality
from prelabel_training.quality.recounting import FRESH_SECONDS, STALE_SECONDS, Recounting

from .scene import project


def counts(clock: ManualClock, seconds: float, began: list[str]) -> Callable[[Project], Awaitable[Quality]]:
    """Counting that takes so long, and says that it began."""

    async def count(of: Project) -> Quality:
        began.append(of.id)
        await asyncio.sleep(0)
        clock.advance(seconds)
        return Census((), Learning(), {}, {}).quality(blind_share=0.0)

    return count


async def test_those_who_ask_at_once_wait_for_one_count_and_other_projects_for_none_of_it() -> None:
    clock, began = ManualClock(), list[str]()
    go_on = asyncio.Event()
    usual = counts(clock, 0.0, began)

    async def count(of: Project) -> Quality:
        quality = await usual(of)
        if of.id == "mails":
            await go_on.wait()
        return quality

    counting = Recounting(count, clock)
    waiting = [asyncio.create_task(counting.of(project(id="mails"))) for _ in range(3)]
    async with asyncio.timeout(10):
        await counting.of(project(id="other"))
    go_on.set()
    first, *others = await asyncio.gather(*waiting)
    assert all(one is first for one in others)
    assert sorted(began) == ["mails", "other"]


async def test_a_count_that_fails_fails_once_for_all_who_wait_and_is_tried_again_by_the_next() -> None:
    clock, began = ManualClock(), list[str]()
    usual = counts(clock, 0.0, began)

    async def count(of: Project) -> Quality:
        quality = await usual(of)
        if len(began) == 1:
            raise Unavailable("the store")
        return quality

    counting = Recounting(count, clock)
    told = await asyncio.gather(*(counting.of(project()) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in told] == [Unavailable] * 3
    assert len(began) == 1
    await counting.of(project())
    assert len(began) == 2


async def test_who_leaves_takes_the_count_from_nobody() -> None:
    clock, began = ManualClock(), list[str]()
    counting_now, go_on = asyncio.Event(), asyncio.Event()
    usual = counts(clock, 0.0, began)

    async def count(of: Project) -> Quality:
        counting_now.set()
        await go_on.wait()
        return await usual(of)

    counting = Recounting(count, clock)
    leaves, stays = (asyncio.create_task(counting.of(project())) for _ in range(2))
    await counting_now.wait()
    leaves.cancel()
    await asyncio.wait([leaves])
    go_on.set()
    await stays
    assert len(began) == 1


async def test_it_is_counted_anew_when_it_is_no_longer_fresh_or_the_project_changes() -> None:
    clock, began = ManualClock(), list[str]()
    counting = Recounting(counts(clock, 0.0, began), clock)
    first = await counting.of(project())
    clock.advance(FRESH_SECONDS / 2)
    assert await counting.of(project()) is first
    await counting.of(project(learning={"holdout": 0.5}))
    assert len(began) == 2
    clock.advance(FRESH_SECONDS)
    again = await counting.of(project(learning={"holdout": 0.5}))
    assert (len(began), again.at_ms) == (3, clock.now_ms())


async def test_what_takes_long_is_shown_longer_but_not_for_ever() -> None:
    clock, began = ManualClock(), list[str]()
    counting = Recounting(counts(clock, 20.0, began), clock)
    await counting.of(project())
    clock.advance(STALE_SECONDS - 1)
    await counting.of(project())
    assert len(began) == 1
    clock.advance(1)
    await counting.of(project())
    assert len(began) == 2
