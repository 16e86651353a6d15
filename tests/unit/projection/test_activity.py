"""What this process remembers of what it wrote: bounded, newest first, in slots of time."""

from typing import Any

import pytest
from prelabel_contract.events import EventData, PredictionFailed, TaskDeleted, event
from prelabel_projection.activity import KEPT_TASKS, SLOT_SECONDS, SLOTS, Activity
from prelabel_runtime.testing.doubles import ManualClock


def failed(project: str, task: str) -> Any:
    values = {"project": project, "task": task, "request": "r", "revision": 1, "model": "m", "provider": "p"}
    data: EventData = PredictionFailed.model_validate({**values, "config": "c", "input_hash": "i", "reason": "x"})
    return event(data, id="1", source="/s", time_ms=0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def activity(clock: ManualClock) -> Activity:
    return Activity(clock)


def test_the_task_that_was_predicted_last_comes_first_and_once(activity: Activity) -> None:
    activity.note([failed("mails", "a"), failed("mails", "b"), failed("letters", "c"), failed("mails", "a")])
    assert activity.latest("mails") == ["a", "b"]
    assert activity.latest("letters") == ["c"]
    assert activity.latest("unknown") == []


def test_only_so_many_are_kept(activity: Activity) -> None:
    activity.note([failed("mails", f"t{n}") for n in range(100)])
    assert activity.latest("mails") == [f"t{n}" for n in range(99, 99 - KEPT_TASKS, -1)]


def test_counts_move_on_with_time_and_are_forgotten(activity: Activity, clock: ManualClock) -> None:
    activity.note([failed("mails", "a")] * 3)
    clock.advance(2 * SLOT_SECONDS)
    activity.note([failed("mails", "a")])
    slots = activity.throughput(lambda slot: slot.outcomes)
    assert len(slots) == SLOTS
    assert slots[-3:] == [3, 0, 1]
    clock.advance(SLOTS * SLOT_SECONDS)
    assert sum(activity.throughput(lambda slot: slot.outcomes)) == 0


def test_a_project_is_told_to_have_changed_by_anything_that_happens_in_it(activity: Activity) -> None:
    before = activity.version_of("mails")
    activity.note([event(TaskDeleted(project="mails", task="a"), id="1", source="/s", time_ms=0)])
    assert activity.version_of("mails") > before
    assert activity.version_of("letters") == before


async def test_handlers_stay_one_where_they_were_one(activity: Activity) -> None:
    async def handler(batch: Any) -> Any:
        return [()] * len(batch)

    watched = activity.watching({PredictionFailed: handler, TaskDeleted: handler})
    assert watched[PredictionFailed] is watched[TaskDeleted]
    assert await watched[PredictionFailed]([failed("mails", "a")]) == [()]
    assert activity.latest("mails") == ["a"]
