"""CloudEvents over Kafka: binary out, both modes in; what is wrong is refused, what is new is let pass."""

import base64
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prelabel_contract import names
from prelabel_contract.cloudevents import Headers, _moment, decode, encode, structured
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import (
    EVENTS,
    PUBLIC,
    AnnotationSubmitted,
    AnyEvent,
    ConfigPublished,
    Event,
    EventData,
    PredictionCreated,
    PredictionFailed,
    PredictionRequested,
    TaskAccepted,
    TaskSubmitted,
    event,
)
from prelabel_contract.examples import EVERY_KIND, examples, public_examples
from prelabel_contract.names import Lane
from prelabel_contract.regions import Choice, Rectangle, Region, Relation, Span

STRUCTURED: Headers = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
SUBMITTED = TaskSubmitted(project="letters", task="t", data={"text": "Ada"})
EVENT: AnyEvent = event(SUBMITTED, id="e-1", source="/doors/1", time_ms=1_767_268_800_123)

text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)
slug = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
score = st.none() | st.floats(0, 1)
percent = st.floats(0, 100)
json_value = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)
data = st.dictionaries(name, json_value, min_size=1, max_size=3)
meta = st.dictionaries(text, json_value, max_size=3)
labels = st.lists(name, min_size=1, max_size=3).map(tuple)
common = {"id": st.none() | name, "field": text, "question": text, "labels": labels, "score": score}
offsets = st.lists(st.integers(0, 2**53 - 1), min_size=2, max_size=2).map(sorted)
region: st.SearchStrategy[Region] = st.one_of(
    st.builds(lambda ends, **rest: Span(start=ends[0], end=ends[1], **rest), offsets, **common),
    st.builds(Choice, **common),
    st.builds(Rectangle, x=percent, y=percent, width=percent, height=percent, **common),
    st.builds(Relation, from_id=text, to_id=text, **common),
    st.sampled_from(EVERY_KIND),
)
regions = st.lists(region, max_size=4).map(tuple)
by_request = {
    "project": slug,
    "task": text,
    "request": text,
    "id": st.none() | name,
    "revision": st.integers(0, 2**53),
    "model": slug,
    "provider": slug,
    "lane": st.sampled_from(Lane),
    "run": st.none() | text,
    "meta": meta,
    "correlation": st.none() | text,
    "config": text,
    "input_hash": text,
}
payload: st.SearchStrategy[EventData] = st.one_of(
    st.builds(TaskSubmitted, project=slug, task=text, data=data, meta=meta, lane=st.sampled_from(Lane), run=text),
    st.builds(PredictionRequested, data=data, deadline_ms=st.none() | st.integers(0, 2**53 - 1), **by_request),
    st.builds(PredictionCreated, version=text, regions=regions, label_set=text, score=score, **by_request),
    st.builds(PredictionFailed, reason=text, detail=text, outcome=text, **by_request),
    st.builds(
        AnnotationSubmitted,
        project=slug,
        task=text,
        annotation=text,
        annotator=name,
        regions=regions,
        skipped=st.booleans(),
    ),
)
times = st.integers(0, 253_402_300_799_999)


@given(payload, text, text, times)
def test_what_is_encoded_is_decoded(said: EventData, id_: str, source: str, time_ms: int) -> None:
    sent: AnyEvent = event(said, id=id_, source=source, time_ms=time_ms)
    headers, value = encode(sent)
    assert decode(headers, value, topic=sent.topic, key=sent.key.encode()) == sent


@given(payload, text, text, times)
def test_structured_mode_says_the_same_as_binary_mode(said: EventData, id_: str, source: str, time_ms: int) -> None:
    sent: AnyEvent = event(said, id=id_, source=source, time_ms=time_ms)
    value = orjson.dumps(structured(sent))
    assert decode(STRUCTURED, value, topic=sent.topic, key=sent.key.encode()) == sent


@pytest.mark.parametrize("sent", examples(), ids=lambda e: e.type)
def test_every_example_travels_in_both_modes(sent: AnyEvent) -> None:
    headers, value = encode(sent)
    assert decode(headers, value, topic=sent.topic, key=sent.key.encode()) == sent
    assert decode(STRUCTURED, orjson.dumps(structured(sent)), topic=sent.topic, key=sent.key.encode()) == sent


@pytest.mark.parametrize("sent", public_examples(), ids=lambda e: e.type)
def test_what_upstreams_write_is_read_by_its_public_type(sent: AnyEvent) -> None:
    headers, value = encode(sent)
    assert decode(headers, value, topic=sent.topic, key=sent.key.encode(), types=PUBLIC) == sent


def test_binary_mode_out_carries_the_attributes_as_headers() -> None:
    headers, value = encode(EVENT)
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_type": b"prelabel.task.submitted.v1",
        "ce_source": b"/doors/1",
        "ce_id": b"e-1",
        "ce_time": b"2026-01-01T12:00:00.123Z",
        "content-type": b"application/json",
    }
    expected = {
        "project": "letters",
        "task": "t",
        "data": {"text": "Ada"},
        "blobs": {},
        "meta": {},
        "lane": "bulk",
        "door": "http",
    }
    assert orjson.loads(value) == expected


@pytest.mark.parametrize(
    ("lane", "told"), [("bulk", None), ("interactive", b"interactive"), ("backfill", b"backfill"), ("of-later", None)]
)
def test_a_submitted_task_tells_its_lane_in_a_header_unless_it_is_bulk(lane: str, told: bytes | None) -> None:
    sent: AnyEvent = event(SUBMITTED.model_copy(update={"lane": lane}), id="1", source="s", time_ms=0)
    headers, value = encode(sent)
    assert dict(headers).get("ce_lane") == told
    received = _decoded(headers, value)
    assert isinstance(received.data, TaskSubmitted)
    assert received.data.lane == lane


def test_null_in_the_data_of_a_task_is_kept() -> None:
    sent: AnyEvent = event(
        SUBMITTED.model_copy(update={"data": {"a": None, "b": [None, {"c": None}]}}),
        id="1",
        source="s",
        time_ms=0,
    )
    received = _decoded(*encode(sent))
    assert isinstance(received.data, TaskSubmitted)
    assert received.data.data == {"a": None, "b": [None, {"c": None}]}


def test_headers_are_read_whatever_their_case_and_order() -> None:
    headers, value = encode(EVENT)
    shouted = tuple((name.upper(), content) for name, content in reversed(headers))
    assert _decoded((*shouted, ("traceparent", b"\xff")), value).data == SUBMITTED


@given(payload, text, text, times)
def test_what_we_write_is_read_the_same_as_if_another_had_written_it(
    said: EventData, id_: str, source: str, time_ms: int
) -> None:
    headers, value = encode(event(said, id=id_, source=source, time_ms=time_ms))
    others = ((name.title(), content) for name, content in reversed(headers))
    assert decode(headers, value, topic="t") == decode(others, value, topic="t")


@pytest.mark.parametrize("attribute", ["specversion", "id", "source", "type"])
def test_a_header_that_is_null_on_the_wire_counts_as_missing(attribute: str) -> None:
    headers, value = encode(EVENT)
    nulled: Any = tuple((name, None if name == f"ce_{attribute}" else content) for name, content in headers)
    assert _reason(nulled, value) == "not_a_cloudevent"


def test_a_time_of_any_length_is_refused_without_being_kept() -> None:
    before = _moment.cache_info().currsize
    assert _reason(*_with(time=b"2026-01-01T12:00:00." + b"1" * 100_000 + b"x")) == "not_a_cloudevent"
    assert _decoded(*_with(time=b"2026-01-01T12:00:00.123" + b"0" * 100 + b"Z")).time_ms == EVENT.time_ms
    assert _moment.cache_info().currsize == before


@given(times)
@example(14_083_101_555_581)  # through floats, this one comes back a millisecond earlier
def test_a_moment_keeps_its_millisecond(time_ms: int) -> None:
    assert _decoded(*encode(event(SUBMITTED, id="1", source="s", time_ms=time_ms))).time_ms == time_ms


def test_time_may_be_left_out_and_may_have_any_zone() -> None:
    assert _decoded(*_with(time=None)).time_ms == 0
    assert _decoded(*_with(time=b"2026-01-01T13:30:00.123+01:30")).time_ms == EVENT.time_ms
    assert _decoded(*_with(time=b"2026-01-01T12:00:00.123456789Z")).time_ms == EVENT.time_ms


def test_position_and_key_are_those_of_the_record() -> None:
    headers, value = encode(EVENT)
    received = decode(headers, value, topic="prelabel.submitted", key=b"\xff", offset=7)
    assert received is not None
    assert (received.topic, received.key, received.offset) == ("prelabel.submitted", "\ufffd", 7)
    assert _decoded(headers, value).key == ""


def test_a_type_that_is_not_known_is_skipped() -> None:
    for type_ in (
        b"com.example.other",
        b"prelabel.task.archived.v1",
        b"prelabel.task.submitted",
        b"v1",
        b".",
    ):
        headers, value = _with(type=type_)
        assert decode(headers, value, topic="t") is None
        assert decode(headers, b"not JSON", topic="t") is None


def test_a_known_type_in_an_unknown_major_version_is_refused() -> None:
    for version in (b"v2", b"v0", b"v99", b"vnext"):
        with pytest.raises(InvalidEvent) as refused:
            decode(*_with(type=b"prelabel.task.submitted." + version), topic="t")
        assert refused.value.reason == "unknown_major_version"


def test_a_tombstone_is_no_event() -> None:
    assert _reason(encode(EVENT)[0], None) == "tombstone"


@pytest.mark.parametrize("attribute", ["specversion", "id", "source", "type"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_an_attribute_that_is_missing_or_no_text_is_refused(attribute: str, content: bytes | None) -> None:
    assert _reason(*_with(**{attribute: content})) == "not_a_cloudevent"


@pytest.mark.parametrize("time", [b"yesterday", b"1767268800", b"2026-13-01T00:00:00Z"])
def test_a_time_that_is_none_is_refused(time: bytes) -> None:
    assert _reason(*_with(time=time)) == "not_a_cloudevent"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff",
        b"{}",
        b'{"project": "letters", "task": "t", "data": {}}',
        b'{"project": "Not A Slug", "task": "t", "data": {"text": ""}}',
        b'{"project": "p", "task": "t", "data": {"text": "\xff"}}',
        b'{"project": "p", "task": "t", "data": {"text": "\\ud800"}}',
        b'{"project": "p", "task": "t", "data": {"text": NaN}}',
        b'{"project": "p", "task": "t", "data": {"text": -Infinity}}',
        b'{"project": "p", "task": "t", "data": {"text": 1e999}}',
        b'{"project": "p", "task": "t", "data": {"text": [[9223372036854775808]]}}',
        b'{"project": "p", "task": "t", "data": {"text": 1' + b"0" * 5000 + b"}}",
        b'{"project": "p", "task": "t", "data": {"text": ' + b"[" * 5000 + b"]" * 5000 + b"}}",
    ],
    ids=lambda value: repr(value[:70]),
)
def test_data_that_does_not_fit_its_type_is_refused_in_both_modes(value: bytes) -> None:
    assert _reason(encode(EVENT)[0], value) == "invalid"
    document = _document(data="@").replace(b'"@"', value or b"null")
    assert _reason(STRUCTURED, document) in ("invalid", "not_json")


def test_a_refusal_names_the_field_and_never_repeats_the_value() -> None:
    with pytest.raises(InvalidEvent) as refused:
        decode(encode(EVENT)[0], b'{"project": "TOP SECRET", "task": "t", "data": {"text": ""}}', topic="t")
    assert refused.value.errors[0].pointer == "/project"
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": NaN}', b'"\\ud800"'])
def test_a_structured_value_that_is_not_json_is_refused(value: bytes) -> None:
    assert _reason(STRUCTURED, value) == "not_json"


@pytest.mark.parametrize("value", [b"[]", b"null", b"1", b"{}"])
def test_a_structured_value_that_is_no_event_is_refused(value: bytes) -> None:
    assert _reason(STRUCTURED, value) == "not_a_cloudevent"


@pytest.mark.parametrize("attribute", ["specversion", "id", "source", "type"])
@pytest.mark.parametrize("content", [None, "", 1, [], {}])
def test_a_structured_attribute_that_is_no_text_is_refused(attribute: str, content: object) -> None:
    assert _reason(STRUCTURED, _document(**{attribute: content})) == "not_a_cloudevent"


def test_structured_data_may_come_as_base64() -> None:
    _, value = encode(EVENT)
    document = _document(data_base64=base64.b64encode(value).decode())
    assert _decoded(STRUCTURED, document).data == SUBMITTED


def test_base64_with_a_foreign_character_is_refused_although_the_rest_would_do() -> None:
    content = base64.b64encode(encode(EVENT)[1]).decode()
    assert _reason(STRUCTURED, _document(data_base64="!" + content)) == "not_a_cloudevent"


@pytest.mark.parametrize("content", ["not base64!", "ä", "QQ", 1, None, ["QQ=="]])
def test_base64_that_is_none_is_refused(content: object) -> None:
    assert _reason(STRUCTURED, _document(data_base64=content)) == "not_a_cloudevent"


def test_structured_mode_is_told_by_the_content_type_alone() -> None:
    document = _document()
    assert _reason((("content-type", b"application/json"),), document) == "not_a_cloudevent"
    assert _decoded((("Content-Type", b"Application/CloudEvents+JSON"),), document).data == SUBMITTED


def test_unknown_fields_and_attributes_are_ignored() -> None:
    said = orjson.loads(encode(EVENT)[1])
    document = _document(data={**said, "tomorrow": {"deep": [1]}}, tomorrow=1, partitionkey="x")
    assert _decoded(STRUCTURED, document).data == SUBMITTED


def test_a_configuration_of_tomorrow_is_read() -> None:
    question = {
        "name": "q",
        "kind": "cuboid",
        "also": ["voxel"],
        "field": "scan",
        "multiple": False,
        "max_rating": 3,
    }
    model = {"name": "m", "provider": "p", "labels": {"a": "not listed yet"}, "questions": ["of tomorrow"]}
    project = {"id": "p", "label_set": {"questions": [question]}, "models": [model]}
    document = _document(type=ConfigPublished.TYPE, data={"hash": "h", "project": project})
    received = _decoded(STRUCTURED, document).data
    assert isinstance(received, ConfigPublished)
    assert received.project.label_set.questions[0].kinds == ("cuboid", "voxel")


def test_a_lane_of_tomorrow_is_read_from_a_log_and_refused_from_an_upstream() -> None:
    data = {"project": "p", "task": "t", "data": {"text": "x"}, "lane": "express"}
    received = _decoded(STRUCTURED, _document(data=data)).data
    assert isinstance(received, TaskSubmitted)
    assert received.lane == "express"
    with pytest.raises(InvalidEvent, match="/lane"):
        decode(STRUCTURED, _document(data=data), topic=names.inbound("x"), types=PUBLIC)


def test_every_type_names_its_major_version_once() -> None:
    assert all(type_.rpartition(".v")[2].isdigit() and type_.startswith("prelabel.") for type_ in (*EVENTS, *PUBLIC))
    assert all(type_ == cls.TYPE for type_, cls in (*EVENTS.items(), *PUBLIC.items()))
    assert TaskAccepted.TYPE in EVENTS
    assert {cls.TYPE for cls in _concrete(EventData)} == {*EVENTS, *PUBLIC}


def _concrete(cls: type[EventData]) -> list[type[EventData]]:
    below = [leaf for sub in cls.__subclasses__() for leaf in _concrete(sub)]
    # Helpers between the events are private; every other class is an event.
    return below if cls.__name__.startswith("_") or cls.__name__ in ("EventData", "Inbound") else [cls, *below]


def _decoded(headers: Headers, value: bytes) -> Event[EventData]:
    received = decode(headers, value, topic="t")
    assert received is not None
    return received


def _reason(headers: Headers, value: bytes | None) -> str:
    with pytest.raises(InvalidEvent) as refused:
        decode(headers, value, topic="t")
    return refused.value.reason


def _with(**attributes: bytes | None) -> tuple[Headers, bytes]:
    """EVENT in binary mode with other attributes; None leaves one out."""
    headers, value = encode(EVENT)
    replaced = {**dict(headers), **{f"ce_{name}": content for name, content in attributes.items()}}
    return tuple((name, content) for name, content in replaced.items() if content is not None), value


def _document(**attributes: Any) -> bytes:
    """EVENT in structured mode with other attributes."""
    return orjson.dumps({**structured(EVENT), **attributes})
