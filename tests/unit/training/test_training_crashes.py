"""Killed between any two steps of asking for a training, or of cancelling one: it is told once, with what it names."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from prelabel_contract.events import TrainingCancelled, TrainingRequested
from prelabel_provider.training.trainings import TrainingState
from prelabel_training.examples.fingerprint import fingerprint
from prelabel_training.examples.lens import Lens, Lesson

from .scene import MODEL, PROJECT, Deaths, Died, Scene, scene

CLAIM_SECONDS = 31
STEPS = (
    "put trigger",  # decided, and claimed
    "put holdout",
    "put training_unended",
    "put training",
    "publish",
    "put trigger",  # announced
    "put trigger",  # looked again
)
"""What asking for a training leaves outside, in order; its files are written after the second."""
STEPS_OF_CANCELLING = (
    "put trigger",  # claimed
    "put training_unended",
    "put training",  # there is one
    "put training",
    "publish",
    "put trigger",  # announced
    "put trigger",  # it has ended
)


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


async def until_dead(here: Scene, deaths: Deaths) -> bool:
    """A new process looks, and dies or not."""
    here.process(deaths)
    try:
        await here.look()
    except Died:
        return True
    return False


async def survived(here: Scene) -> None:
    """Another one takes up what was left, once nobody else can be at it."""
    here.clock.advance(CLAIM_SECONDS)
    here.process()
    await here.look()


async def steps(here: Scene) -> list[str]:
    """Every step that leaves a trace of the look that is due now."""
    deaths = Deaths()
    assert not await until_dead(here, deaths)
    return deaths.steps


async def name_of_what_was_given(here: Scene, number: int) -> str:
    """The fingerprint of the files of a training, made anew from what is stored of their tasks."""
    lens = Lens.of(here.project, here.project.models[0])
    given = await here.given(number)
    tasks = await here.store.tasks.get_many(list(given))
    said = await here.store.examples.annotations(PROJECT, limit=10_000)
    lessons = [lens.lesson([one for one in said if one.task == uid], tasks[uid]) for uid in given]
    return fingerprint((one.task, one.seen.content) for one in lessons if isinstance(one, Lesson))


async def test_the_steps_are_as_many_as_are_killed_at(here: Scene) -> None:
    await here.annotate(*"abcde")
    assert tuple(await steps(here)) == STEPS
    assert await here.service.trigger.cancel(PROJECT, MODEL, 1)
    assert tuple(await steps(here)) == STEPS_OF_CANCELLING


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(len(STEPS)))
async def test_killed_at_any_step_a_training_is_asked_for_once_with_the_examples_that_it_names(
    here: Scene, at: int, after: bool
) -> None:
    await here.annotate(*"abcde")
    assert await until_dead(here, Deaths(at, after))
    await here.annotate("late")  # whatever had been written is not all there is any more
    await survived(here)
    (record,) = await here.records()
    told = [one for one in await here.events() if isinstance(one.data, TrainingRequested)]
    assert {one.id for one in told} == {told[0].id}
    assert {one.data for one in told} == {told[0].data}
    assert (told[0].data.training, told[0].data.cut) == (record.training, record.cut)
    given = await here.given(1)
    assert len(given) == record.examples in (5, 6)
    assert record.cut == len(given) - 1
    assert await name_of_what_was_given(here, 1) == record.fingerprint
    await here.end(1)
    for _ in range(3):
        look = await here.look()
        here.clock.to(look.again_ms or here.clock.now_ms())
    await here.look()
    assert [one.examples for one in await here.records()] == ([5, 6] if record.examples == 5 else [6])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(len(STEPS_OF_CANCELLING)))
async def test_killed_at_any_step_of_cancelling_a_training_ends_and_is_told_once(
    here: Scene, at: int, after: bool
) -> None:
    await here.annotate(*"abcde")
    await here.look()
    assert await here.service.trigger.cancel(PROJECT, MODEL, 1)
    assert await until_dead(here, Deaths(at, after))
    await survived(here)
    (record,) = await here.records()
    assert record.state is TrainingState.CANCELLED
    assert len({one.id for one in await here.events() if isinstance(one.data, TrainingCancelled)}) == 1


@pytest.mark.parametrize("at", range(7))
async def test_cancelled_while_it_was_being_prepared_nobody_trains_it(here: Scene, at: int) -> None:
    await here.annotate(*"abcde")
    assert await until_dead(here, Deaths(at, after=True))
    here.process()
    assert await here.service.trigger.cancel(PROJECT, MODEL, 1)
    await survived(here)
    (record,) = await here.records()
    assert record.state is TrainingState.CANCELLED
    assert await here.trainings.take(record.training, "trainer", 60) is None


@pytest.mark.parametrize("at", [2, 3, 4, 5])
async def test_who_was_held_up_for_longer_than_a_claim_changes_nothing_of_what_another_did(
    here: Scene, at: int
) -> None:
    await here.annotate(*"abcde")

    async def overtaken() -> None:
        await here.annotate("late")
        here.clock.advance(CLAIM_SECONDS)
        here.process()
        await here.look()

    slow = here.process(Deaths(at, meanwhile=overtaken))
    await slow.trigger.look(PROJECT)
    await here.look()
    (record,) = await here.records()
    told = await here.events()
    assert len({one.id for one in told}) == 1
    assert {(one.data.training, one.data.cut) for one in told} == {(record.training, record.cut)}
    assert await name_of_what_was_given(here, 1) == record.fingerprint


async def test_nobody_prepares_what_another_prepares(here: Scene) -> None:
    await here.annotate(*"abcde")
    told: list[int | None] = []
    others = Deaths()

    async def meanwhile() -> None:
        told.append((await here.process(others).trigger.look(PROJECT)).again_ms)

    slow = here.process(Deaths(2, meanwhile=meanwhile))
    await slow.trigger.look(PROJECT)
    assert others.steps == []
    assert told == [here.clock.now_ms() + 30_000], "it looks again when the claim is over"
    assert len(await here.records()) == 1
