"""From annotations to a training that was asked for: what is written, told and remembered, on a real bus and store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from prelabel_contract.regions import Choice, Span
from prelabel_provider.training.trainings import TrainingState
from prelabel_runtime.store.annotations import stored_annotation
from prelabel_training.examples.fingerprint import fingerprint
from prelabel_training.examples.holdout import in_holdout
from prelabel_training.triggers.states import Remembered

from .scene import MODEL, PROJECT, Died, Scene, model, project, scene


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


async def remembered(here: Scene) -> Remembered:
    kept = (await here.service.trigger.states.of(PROJECT))[MODEL]
    return kept.remembered


# ------------------------------------------------------------------------------------------------------- starting


async def test_enough_examples_ask_for_a_training_that_is_given_exactly_them(here: Scene) -> None:
    await here.annotate("a", "b", "c", "d")
    await here.look()
    assert await here.records() == []
    await here.annotate("e", label="ham")
    await here.look()
    (record,) = await here.records()
    (told,) = await here.events()
    assert (record.state, record.examples, record.cut, record.number) == (TrainingState.REQUESTED, 5, 4, 1)
    assert (told.data.training, told.data.cut, told.data.config) == (record.training, 4, here.project.config_hash)
    given = await here.given(1)
    assert sorted(given) == list("abcde")
    assert given["e"].data == {"text": "text of e"}
    assert [region.labels for region in given["e"].regions] == [("ham",)]
    assert (await remembered(here)).state.last.announced  # type: ignore[union-attr]


async def test_what_comes_while_one_trains_starts_the_next(here: Scene) -> None:
    await here.annotate(*"abcde")
    await here.look()
    await here.annotate("f")
    await here.look()
    here.clock.advance(40)
    await here.look()
    assert len(await here.records()) == 1, "one at a time"
    await here.end(1)
    await here.look()
    assert [one.examples for one in await here.records()] == [5, 6]


async def test_new_examples_are_trained_on_after_the_quiet_period(here: Scene) -> None:
    await here.annotate("a", "b", "c")
    look = await here.look()
    assert await here.records() == []
    assert look.again_ms is not None
    here.clock.to(look.again_ms)
    await here.look()
    assert [one.examples for one in await here.records()] == [3]


async def test_a_training_that_failed_is_tried_again_and_one_that_was_refused_is_not(here: Scene) -> None:
    await here.annotate(*"abcde")
    await here.look()
    await here.end(1, TrainingState.FAILED)
    look = await here.look()
    assert look.again_ms is not None
    here.clock.to(look.again_ms)
    await here.look()
    assert len(await here.records()) == 2
    await here.end(2, TrainingState.REFUSED)
    here.clock.advance(10_000)
    await here.look()
    assert len(await here.records()) == 2
    said = (await remembered(here)).why
    assert said is not None
    assert said.reason == "given_up"


async def test_nothing_is_written_while_nothing_changes(here: Scene) -> None:
    await here.annotate("a", "b")
    await here.look()
    here.clock.advance(10)
    await here.look()
    before = (await here.documents.page("trigger", limit=10))[0].revision
    for _ in range(5):
        here.clock.advance(60)
        await here.service.trigger.look(PROJECT)
    assert (await here.documents.page("trigger", limit=10))[0].revision == before


# --------------------------------------------------------------------------------------------- what is no example


async def test_what_cannot_be_learned_from_is_left_out_with_its_reason(here: Scene) -> None:
    await here.annotate(*"abcde")
    await here.task("far", "short")
    await here.task("skips")
    span = Span(question="names", field="text", labels=("PERSON",), start=2, end=90)
    outside = Choice(question="topic", field="text", labels=("cheese",))
    own = Choice(question="topic", field="text", labels=("ham",))
    await here.learner.annotations(
        [
            here.said("nowhere"),
            here.said("a", regions=(outside,)),
            here.said("far", regions=(own, span)),
            here.said("skips", skipped=True),
        ]
    )
    await here.look()
    (record,) = await here.records()
    assert sorted(await here.given(1)) == ["b", "c", "d", "e", "far"], "the span is another model's business"
    assert record.log[1][1] == "held out: 0; left out: 1 label_set, 1 skipped, 1 unknown_task"
    both = project(models=[{**model(), "questions": []}])
    here.change(both)
    counts = await here.service.counting.of(both)
    assert counts.models[0].left_out == {"label_set": 1, "skipped": 1, "unknown_task": 1, "data": 1}


async def test_a_task_that_is_stored_late_is_an_example_once_it_is_there(here: Scene) -> None:
    await here.annotate("a", "b", "c", "d")
    await here.learner.annotations([here.said("late")])
    look = await here.look()
    assert await here.records() == []
    await here.task("late")
    assert look.again_ms is not None
    here.clock.to(look.again_ms)
    await here.look()
    assert sorted(await here.given(1)) == ["a", "b", "c", "d", "late"]


async def test_tasks_that_never_come_are_looked_for_ever_more_seldom(here: Scene) -> None:
    await here.annotate("a", "b")
    await here.learner.annotations([here.said("never")])
    began, looks = here.clock.now_ms(), 0
    while here.clock.now_ms() < began + 86_400_000:
        look = await here.look()
        assert look.again_ms is not None
        here.clock.to(look.again_ms)
        looks += 1
    assert looks < 24 * 6 + 20, "every ten minutes in the end"


async def test_a_deleted_task_is_in_no_later_training_and_its_deletion_starts_one(here: Scene) -> None:
    await here.annotate(*"abcde")
    await here.look()
    await here.end(1)
    await here.delete("b")
    look = await here.look()
    assert look.again_ms is not None
    here.clock.to(look.again_ms)
    await here.look()
    first, second = await here.records()
    assert sorted(await here.given(2)) == ["a", "c", "d", "e"]
    assert first.fingerprint != second.fingerprint


async def test_an_older_version_that_comes_late_changes_nothing(here: Scene) -> None:
    for task in "abcde":
        await here.task(task)
    old = here.said("a", "ham", offset=0)
    await here.learner.annotations(
        [here.said("a", "spam", offset=5), *(here.said(t, offset=i) for i, t in enumerate("bcde", 6))]
    )
    await here.learner.annotations([old, old])
    await here.look()
    assert [region.labels for region in (await here.given(1))["a"].regions] == [("spam",)]


async def test_what_was_said_last_decides_and_a_withdrawn_answer_gives_way_to_the_one_before(here: Scene) -> None:
    await here.annotate(*"abcde")
    await here.learner.annotations(
        [here.said("a", "ham", by="bob"), here.said("b", "ham", by="bob"), here.withdrawn("b", by="bob")]
    )
    await here.look()
    given = await here.given(1)
    assert given["a"].regions[0].labels == ("ham",)
    assert given["b"].regions[0].labels == ("spam",)
    (record,) = await here.records()
    assert record.cut == 7, "the cut includes what was withdrawn: who repeats it up to there finds the same set"


async def test_while_another_process_writes_a_training_waits_to_be_sure_what_it_holds(here: Scene) -> None:
    await here.annotate(*"abcde")
    other = here.service.hearing
    looking = here.process()
    async with other.writing({PROJECT: 5}):
        look = asyncio.create_task(looking.trigger.look(PROJECT))
        async with asyncio.timeout(60):
            while here.clock.sleepers < 2:  # noqa: ASYNC110 - who renews the claim, and who waits
                await asyncio.sleep(0.01)
        await here.task("f")
        await here.store.examples.put([stored_annotation(here.said("f"))])
    here.clock.advance(1)
    await asyncio.wait_for(look, 60)
    (record,) = await here.records()
    assert (record.examples, record.cut) == (6, 5)
    assert sorted(await here.given(1)) == list("abcdef")


async def test_who_died_while_writing_keeps_no_training_from_starting_for_good(here: Scene) -> None:
    await here.annotate(*"abcde")
    with contextlib.suppress(Died):
        async with here.service.hearing.writing({PROJECT: 9}):
            raise Died
    look = asyncio.create_task(here.service.trigger.look(PROJECT))
    async with asyncio.timeout(60):
        while not look.done():
            here.clock.advance(1)
            await asyncio.sleep(0.01)
    (record,) = await here.records()
    assert (record.examples, record.cut) == (5, 4)


# ------------------------------------------------------------------------------------------------------- hold-out


async def test_held_out_tasks_are_written_apart_and_the_share_is_settled_by_the_first_training(here: Scene) -> None:
    here.change(project(learning={"holdout": 0.5}))
    tasks = [f"t{number}" for number in range(30)]
    await here.annotate(*tasks)
    await here.look()
    apart = {task for task in tasks if in_holdout(PROJECT, task, 0.5)}
    assert set(await here.held_out(1)) == apart
    assert set(await here.given(1)) == set(tasks) - apart
    (record,) = await here.records()
    assert (record.examples, record.holdout) == (len(tasks) - len(apart), len(apart))
    await here.end(1)
    here.change(project(learning={"holdout": 0.1}))
    here.clock.advance(60)
    await here.annotate(*(f"u{number}" for number in range(10)))
    await here.look()
    assert set(await here.held_out(2)) >= apart, "what was held out once is for good"


async def test_the_record_names_the_set_that_the_files_hold(here: Scene) -> None:
    await here.annotate(*"abcdefgh")
    await here.look()
    (record,) = await here.records()
    surveyed = await here.service.counting.of(here.project)
    assert surveyed.models[0].new == 0
    assert record.fingerprint != fingerprint([])


# --------------------------------------------------------------------------------------------------------- by hand


async def test_a_wish_is_granted_at_once_and_refused_with_the_minimum_said(here: Scene) -> None:
    await here.annotate("a", "b")
    await here.service.trigger.ask(PROJECT, MODEL)
    await here.look()
    wish = (await remembered(here)).wish
    assert wish is not None
    assert wish.number is None
    assert wish.why.sentence.startswith("Too few examples: 2 of at least 3; 1 more needed")
    await here.annotate("c")
    await here.service.trigger.ask(PROJECT, MODEL)
    await here.look()
    assert [one.examples for one in await here.records()] == [3]


async def test_a_model_that_says_nothing_about_training_trains_when_asked_and_not_before(here: Scene) -> None:
    here.change(project(models=[{"name": MODEL, "provider": "ledger", "questions": ["topic"]}]))
    await here.annotate(*(f"t{number}" for number in range(30)))
    here.clock.advance(10_000)
    await here.look()
    assert await here.records() == []
    await here.service.trigger.ask(PROJECT, MODEL)
    await here.look()
    assert [one.examples for one in await here.records()] == [30]


async def test_who_asks_while_one_trains_gets_that_one_unless_something_has_come_meanwhile(here: Scene) -> None:
    await here.annotate("a", "b", "c")
    await here.service.trigger.ask(PROJECT, MODEL)
    await here.look()
    await here.service.trigger.ask(PROJECT, MODEL)
    await here.look()
    met = (await remembered(here)).wish
    assert met is not None
    assert (met.wish, met.number, met.why.reason) == (2, 1, "already")
    await here.annotate("d")
    await here.service.trigger.ask(PROJECT, MODEL)
    await here.look()
    assert len(await here.records()) == 1, "one at a time"
    await here.end(1)
    await here.look()
    assert [one.examples for one in await here.records()] == [3, 4]
    await here.end(2)
    here.clock.advance(1000)
    await here.look()
    assert len(await here.records()) == 2, "each wish once"


async def test_who_asks_when_one_has_ended_gets_another_though_nobody_has_noticed_its_end(here: Scene) -> None:
    await here.annotate("a", "b", "c")
    await here.service.trigger.ask(PROJECT, MODEL)
    await here.look()
    await here.end(1)
    await here.service.trigger.ask(PROJECT, MODEL)
    await here.look()
    assert [one.number for one in await here.records()] == [1, 2]
    ended = {"provider": "ledger", "end": "trained"}
    assert here.runtime.metrics.registry.get_sample_value("prelabel_trainings_ended_total", ended) == 1


async def test_of_a_model_that_trains_by_hand_only_a_wish_while_one_trains_is_answered_as_well(here: Scene) -> None:
    here.change(project(models=[{"name": MODEL, "provider": "ledger", "questions": ["topic"]}]))
    await here.annotate(*(f"t{number}" for number in range(20)))
    for _ in range(2):
        await here.service.trigger.ask(PROJECT, MODEL)
        await here.look()
    assert [one.examples for one in await here.records()] == [20]
    met = (await remembered(here)).wish
    assert met is not None
    assert (met.wish, met.number) == (2, 1)


async def test_a_wish_that_waits_is_looked_at_once_while_nothing_changes(here: Scene) -> None:
    await here.annotate("a", "b", "c")
    await here.service.trigger.ask(PROJECT, MODEL)
    await here.look()
    await here.annotate("d")
    await here.service.trigger.ask(PROJECT, MODEL)
    await here.look()
    before = (await here.documents.page("trigger", limit=10))[0].revision
    surveys = here.runtime.metrics.registry.get_sample_value("prelabel_training_look_seconds_count")
    for _ in range(5):
        await here.service.trigger.look(PROJECT)
    assert (await here.documents.page("trigger", limit=10))[0].revision == before
    now = here.runtime.metrics.registry.get_sample_value("prelabel_training_look_seconds_count")
    assert now == surveys, "each reads all examples"


# ------------------------------------------------------------------------------------------------------ cancelling


async def test_cancelling_ends_the_record_and_tells_so_once(here: Scene) -> None:
    await here.annotate(*"abcde")
    await here.look()
    assert await here.service.trigger.cancel(PROJECT, MODEL, 1)
    await here.look()
    (record,) = await here.records()
    assert (record.state, record.reason) == (TrainingState.CANCELLED, "cancelled")
    assert [one.type for one in await here.events()] == [
        "prelabel.training.requested.v1",
        "prelabel.training.cancelled.v1",
    ]
    here.clock.advance(1000)
    await here.look()
    assert len(await here.records()) == 1, "nothing is new since"
    await here.annotate(*"fghij")
    await here.look()
    assert [one.examples for one in await here.records()] == [5, 10], "what it would have learned is in the next"


async def test_a_model_that_the_project_gives_up_has_its_training_cancelled(here: Scene) -> None:
    await here.annotate(*"abcde")
    await here.look()
    here.change(project(models=[]))
    await here.look()
    (record,) = await here.records()
    assert record.state is TrainingState.CANCELLED
    assert (await here.events())[-1].type == "prelabel.training.cancelled.v1"


# --------------------------------------------------------------------------------------------------- several at it


async def test_processes_that_look_at_once_ask_for_one_training(here: Scene) -> None:
    await here.annotate(*"abcde")
    others = [here.service.trigger, *(here.process().trigger for _ in range(4))]
    await asyncio.gather(*(one.look(PROJECT) for one in others))
    here.clock.advance(60)
    for one in others:
        await one.look(PROJECT)
    assert len(await here.records()) == 1
    assert len({one.id for one in await here.events()}) == 1


async def test_a_storm_makes_three_trainings_at_most_and_the_last_annotation_is_in_one(here: Scene) -> None:
    tasks = [f"t{number:04}" for number in range(1000)]
    for start in range(0, 1000, 100):  # ten seconds
        await here.annotate(*tasks[start : start + 100])
        await here.look()
        for record in await here.records():
            if not record.state.final:
                await here.end(record.number)
        await here.look()
        here.clock.advance(1)
    for _ in range(5):
        look = await here.look()
        for record in await here.records():
            if not record.state.final:
                await here.end(record.number)
        here.clock.to(look.again_ms or here.clock.now_ms())
    records = await here.records()
    assert len(records) <= 3
    assert records[-1].examples == 1000
    assert records[-1].cut == 999
