"""Events: every one says where it goes, and stays under the limit."""

from typing import Any

import pytest
from prelabel_contract import names
from prelabel_contract.base import unchecked
from prelabel_contract.cloudevents import encode
from prelabel_contract.errors import MAX_ERRORS, FieldError, InvalidEvent, field_errors, pointer
from prelabel_contract.events import (
    EVENTS,
    AnyEvent,
    EventData,
    PredictionCreated,
    PredictionRequested,
    RequestRef,
    TaskAccepted,
    TaskRejected,
    TaskSubmitted,
    event,
)
from prelabel_contract.examples import examples
from prelabel_contract.limits import MAX_BLOB_BYTES, MAX_DATA_BYTES, MAX_EVENT_BYTES, MAX_META_BYTES, MAX_PROJECT_BYTES
from prelabel_contract.names import Lane
from prelabel_contract.projects import Project
from prelabel_contract.regions import REGIONS
from prelabel_contract.tasks import Task, json_size
from pydantic import ValidationError


@pytest.mark.parametrize("sent", examples(), ids=lambda e: e.type)
def test_every_event_goes_to_a_topic_under_a_key(sent: AnyEvent) -> None:
    assert names.parse_topic(sent.topic)
    assert sent.key


def test_every_type_has_an_example() -> None:
    assert {e.type for e in examples()} == EVENTS.keys()


def test_a_request_goes_to_the_lane_of_its_provider() -> None:
    requests = [e.data for e in examples() if isinstance(e.data, PredictionRequested)]
    for lane in Lane:
        assert requests[0].model_copy(update={"lane": lane}).topic == f"prelabel.requests.spacy.{lane}"
    with pytest.raises(ValueError, match="express"):
        _ = requests[0].model_copy(update={"lane": "express"}).topic


def test_an_event_may_be_written_elsewhere() -> None:
    created = next(e.data for e in examples() if isinstance(e.data, PredictionCreated))
    reply: AnyEvent = event(created, id="1", source="s", time_ms=0, topic=names.REPLIES, key="c-9")
    assert (reply.topic, reply.key) == (names.REPLIES, "c-9")


FILLS = {"letters": "x", "two bytes": "ä", "four bytes": "🎉", "control characters": "\x01", "quotes": '"'}


def _largest_task(fill: str) -> Task:
    def most(limit: int) -> dict[str, Any]:
        room = limit - json_size({"text": ""})
        return {"text": fill * (room // (json_size(fill) - 2))}

    task = Task(id=fill * 200, data=most(MAX_DATA_BYTES), meta=most(MAX_META_BYTES))
    assert json_size(task.data) > MAX_DATA_BYTES - 10
    return task


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS.keys())
def test_the_largest_task_fits_into_every_event_about_it(fill: str) -> None:
    task = _largest_task(fill)
    uid, slug, config = names.task_uid("p", "t"), "m" * 40, names.content_hash("c")
    common: dict[str, Any] = {
        "project": slug,
        "task": uid,
        "id": task.id,
        "meta": task.meta,
        "lane": Lane.INTERACTIVE,
        "run": uid,
        "correlation": uid,
    }
    request = {"request": uid, "model": slug, "provider": slug}
    made: tuple[EventData, ...] = (
        TaskSubmitted(data=task.data, line=10**9, deadline_ms=10**13, door=names.inbound("s" * 40), **common),
        TaskAccepted(
            data=task.data,
            revision=2**53,
            config=config,
            requests=tuple(RequestRef.model_validate(request) for _ in range(50)),
            accepted_ms=10**13,
            **common,
        ),
        PredictionRequested.model_validate(
            {
                **common,
                **request,
                "data": task.data,
                "revision": 2**53,
                "config": config,
                "input_hash": config,
            }
        ),
    )
    for data in made:
        headers, value = encode(event(data, id=uid, source="/s" * 50, time_ms=10**12))
        size = len(value) + sum(len(name) + len(content) for name, content in headers)
        assert MAX_DATA_BYTES < size < MAX_EVENT_BYTES


@pytest.mark.parametrize(("field", "limit"), [("data", MAX_BLOB_BYTES), ("meta", MAX_META_BYTES)])
def test_a_task_over_a_limit_is_refused_with_both_sizes(field: str, limit: int) -> None:
    body: dict[str, Any] = {"data": {"text": ""}, field: {"text": "x" * limit}}
    with pytest.raises(ValidationError) as refused:
        Task.model_validate(body)
    size = limit + json_size({"text": ""})
    assert f"{field} is {size} bytes as JSON, the limit is {limit}" in str(refused.value)


def test_a_rejection_with_every_error_told_fits() -> None:
    told = tuple(FieldError(pointer="/data" * 50, detail="x" * 4000) for _ in range(MAX_ERRORS))
    rejected = TaskRejected(project="p", task="t", reason="invalid", errors=told)
    assert len(encode(event(rejected, id="1", source="s", time_ms=0))[1]) < MAX_EVENT_BYTES


def test_the_largest_project_fits() -> None:
    assert MAX_PROJECT_BYTES + 4096 < MAX_EVENT_BYTES


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, -(2**63) - 1, [{"a": 10**400}], "\ud800"])
def test_a_task_holds_only_what_every_store_can_keep(value: Any) -> None:
    with pytest.raises(ValidationError):
        Task(data={"text": value})


@pytest.mark.parametrize("value", [0, -(2**63), 2**63 - 1, 1.5, None, True, [[]], {}, "🎉\x00"])
def test_a_task_holds_any_json(value: Any) -> None:
    assert Task(data={"text": value}).data == {"text": value}


def test_an_error_below_a_field_named_like_a_kind_points_at_it() -> None:
    wrong = [
        {"kind": "rating", "rating": -1},
        {"kind": "text", "text": "a"},
        {"kind": "number", "number": "b"},
    ]
    with pytest.raises(ValidationError) as refused:
        REGIONS.validate_python(wrong)
    assert [e.pointer for e in field_errors(refused.value, at="/regions")] == [
        "/regions/0/rating",
        "/regions/1/text",
        "/regions/2/number",
    ]


def test_at_most_twenty_errors_are_told() -> None:
    with pytest.raises(ValidationError) as refused:
        REGIONS.validate_python([{"kind": "rating"}] * 100)
    assert len(field_errors(refused.value)) == MAX_ERRORS


def test_a_pointer_escapes_what_json_pointers_must() -> None:
    assert pointer(("a/b", "c~d", 0)) == "/a~1b/c~0d/0"


def test_a_refusal_names_what_was_refused_and_where() -> None:
    with pytest.raises(ValidationError) as refused:
        Project.model_validate({"id": "p", "label_set": {"questions": "many"}})
    error = InvalidEvent.from_validation(refused.value, what="project", at="/body")
    assert error.errors[0].pointer == "/body/label_set/questions"
    assert str(error).startswith("invalid: project: /body/label_set/questions: ")


def test_a_value_of_parts_that_were_checked_is_the_same_as_a_checked_one() -> None:
    for sent in examples():
        kind = type(sent.data)
        fields = {name: getattr(sent.data, name) for name in kind.model_fields}
        made = unchecked(kind)(**fields)
        assert made == sent.data
        assert type(made) is kind
        assert encode(sent._replace(data=made)) == encode(sent._replace(data=kind(**fields)))
        assert made.model_copy(update={}) == made
        assert repr(made) == repr(kind(**fields))
        with pytest.raises(ValidationError, match="frozen"):
            made.project = "other"


def test_a_value_without_a_part_that_has_no_default_is_not_made() -> None:
    with pytest.raises(TypeError, match="TaskSubmitted needs task"):
        unchecked(TaskSubmitted)(project="p", data={}, blobs={}, meta={})  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="needs blobs"):  # two values must not share what may be changed in place
        unchecked(TaskSubmitted)(project="p", task="t", data={}, meta={})
    assert unchecked(TaskSubmitted)(project="p", task="t", data={"a": 1}, blobs={}, meta={}) == TaskSubmitted(
        project="p", task="t", data={"a": 1}
    )
