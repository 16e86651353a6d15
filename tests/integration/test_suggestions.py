"""What became of suggestions: said by people's annotations, told as events, whatever comes first."""

from typing import Any

import pytest
from prelabel_contract import names
from prelabel_contract.events import SuggestionAccepted, SuggestionCorrected, SuggestionRejected

from tests.rig.in_process import Here, eventually, spec, task

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOLD = (SuggestionAccepted, SuggestionCorrected, SuggestionRejected)


async def found(here: Here, project: str, text: str = "Ada waits now") -> dict[str, Any]:
    """A task's prediction by the model `finder`: one span, one choice."""
    await here.post(f"{project}/tasks", task(text, id="t"))
    return next(p for p in await here.predicted(project, "t") if p["model"] == "finder")


async def told(here: Here, project: str, count: int) -> list[Any]:
    """The events about suggestions of a project, once there are so many."""

    async def look() -> list[Any]:
        return [data for kind in TOLD for data in await here.events(names.ANNOTATIONS, kind, project=project)]

    seen: list[Any] = await eventually(look, lambda seen: len(seen) >= count)
    return seen


def as_people_write(regions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same regions as a tool for annotating sends them: its own ids, no scores, another order."""
    kept = ("kind", "field", "question", "labels", "start", "end")
    return [
        {"id": f"box-{n}", **{name: value for name, value in region.items() if name in kept}}
        for n, region in enumerate(reversed(regions))
    ]


async def test_regions_as_they_were_accept_a_suggestion_and_others_correct_it(here: Here) -> None:
    project = await here.project()
    shown = await found(here, project)
    assert len(shown["regions"]) == 2
    made = {"task": "t", "parent_prediction": shown["request"]}
    same, fewer = as_people_write(shown["regions"]), as_people_write(shown["regions"][:1])
    await here.post(f"{project}/annotations", {**made, "id": "a", "annotator": "eve", "regions": same})
    await here.post(f"{project}/annotations", {**made, "id": "b", "annotator": "bob", "regions": fewer})
    events = {one.annotator: one for one in await told(here, project, 2)}
    assert {who: type(one) for who, one in events.items()} == {"eve": SuggestionAccepted, "bob": SuggestionCorrected}
    eve = events["eve"]
    assert (eve.request, eve.model, eve.provider) == (shown["request"], "finder", "rules")
    assert eve.version == shown["version"]
    assert eve.annotation == names.annotation_uid(project, eve.task, "eve", "a")


async def test_who_answers_more_than_a_model_was_asked_has_not_corrected_it(here: Here) -> None:
    finder = {**spec()["models"][0], "questions": ["names"]}
    project = await here.project(models=[finder])
    shown = await found(here, project)
    assert [one["question"] for one in shown["regions"]] == ["names"]
    topic = {"kind": "choice", "field": "text", "question": "topic", "labels": ["later"]}
    regions = [*as_people_write(shown["regions"]), topic]
    body = {"task": "t", "annotator": "eve", "parent_prediction": shown["request"], "regions": regions}
    await here.post(f"{project}/annotations", body)
    assert [type(one) for one in await told(here, project, 1)] == [SuggestionAccepted]


async def test_an_annotation_that_says_the_same_again_is_the_same_event(here: Here) -> None:
    project = await here.project()
    shown = await found(here, project)
    body = {"id": "a", "task": "t", "annotator": "eve", "parent_prediction": shown["request"], "regions": []}
    await here.post(f"{project}/annotations", body)
    await here.post(f"{project}/annotations", body)
    await told(here, project, 2)
    ids = [
        dict(record.headers)["ce_id"]
        for record in await here.records(names.ANNOTATIONS)
        if dict(record.headers)["ce_type"] == SuggestionCorrected.TYPE.encode() and record.key == project.encode()
    ]
    assert len(ids) == 2
    assert len(set(ids)) == 1


async def test_what_was_made_from_nothing_or_skipped_says_nothing_of_a_suggestion(here: Here) -> None:
    project = await here.project()
    shown = await found(here, project)
    of_it = {"task": "t", "annotator": "eve", "parent_prediction": shown["request"]}
    nothing: list[dict[str, Any]] = [
        {**of_it, "skipped": True},
        {**of_it, "parent_prediction": "nobody-ever-made-it", "regions": []},
        {"task": "t", "annotator": "bob", "regions": []},
    ]
    assert (await here.post(f"{project}/annotations", nothing)).status_code == 202
    await here.post(f"{project}/annotations", {**of_it, "regions": []})  # behind them in the same log
    assert [type(one) for one in await told(here, project, 1)] == [SuggestionCorrected]


async def test_an_annotation_that_comes_before_its_prediction_is_judged_when_that_is_there(here: Here) -> None:
    from prelabel_contract import cloudevents
    from prelabel_runtime.bus.base import Message

    project = await here.project()
    shown = await found(here, project)
    sent = next(
        record
        for record in await here.records(names.PREDICTIONS)
        if record.value is not None and shown["request"].encode() in record.value
    )
    assert sent.value is not None
    event = cloudevents.decode(sent.headers, sent.value, topic=sent.topic, key=sent.key)
    assert event is not None
    late = names.derived("late", shown["request"])
    body = {"task": "t", "annotator": "eve", "parent_prediction": late, "regions": as_people_write(shown["regions"])}
    await here.post(f"{project}/annotations", body)
    await here.until(f"{project}/tasks/t", lambda t: len(t["annotations"]) == 1)
    message = Message(sent.topic, sent.key, sent.value.replace(shown["request"].encode(), late.encode()), sent.headers)
    await here.runtime.bus.publish([message])
    assert [(type(one), one.request) for one in await told(here, project, 1)] == [(SuggestionAccepted, late)]


async def test_a_suggestion_is_refused_by_its_id(here: Here) -> None:
    project = await here.project()
    shown = await found(here, project)
    path = f"{project}/tasks/t/predictions/{shown['request']}/rejection"
    answer = await here.client.post(f"/v1/projects/{path}", params={"annotator": "eve"})
    assert answer.status_code == 202
    assert answer.json()["request"] == shown["request"]
    [one] = await told(here, project, 1)
    assert (type(one), one.annotator, one.request, one.annotation) == (
        SuggestionRejected,
        "eve",
        shown["request"],
        None,
    )


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("tasks/t/predictions/nobody-ever-made-it/rejection", "unknown_prediction"),
        ("tasks/none/predictions/x/rejection", "unknown_task"),
    ],
)
async def test_what_nobody_predicted_cannot_be_refused(here: Here, path: str, code: str) -> None:
    project = await here.project()
    await found(here, project)
    answer = await here.post(f"{project}/{path}", None)
    assert answer.status_code == 404
    assert answer.json()["type"] == f"urn:prelabel:problem:{code}"
