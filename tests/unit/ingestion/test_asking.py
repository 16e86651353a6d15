"""What models are asked: hashes that never change, and nothing of a configuration that was replaced."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract import names
from prelabel_contract.blobs import BlobRef, hashed
from prelabel_contract.events import PredictionRequested, TaskSubmitted
from prelabel_contract.names import Lane
from prelabel_contract.projects import Project
from prelabel_ingestion.asking import MAX_PROJECTS, Ask, Asks, Content, request
from prelabel_runtime.store.base import Submission

text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)
value = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
data = st.dictionaries(text, value, min_size=1, max_size=4)
ref = BlobRef(sha256="0" * 64, bytes=9)


def submitted(data: dict[str, Any], blobs: dict[str, BlobRef] | None = None, **more: Any) -> TaskSubmitted:
    return TaskSubmitted(project="p", task="t", data=data, blobs=blobs or {}, **more)


def project(*fields: str, models: tuple[str, ...] = ("m",)) -> Project:
    questions = [{"name": f"q{place}", "kind": "span", "field": name} for place, name in enumerate(fields)]
    asked = [
        {"name": name, "provider": "echo", "questions": [f"q{place}"]}
        for name, place in zip(models, range(len(fields)), strict=False)
    ]
    return Project.model_validate({"id": "p", "label_set": {"questions": questions}, "models": asked})


@given(data, data, st.booleans())
def test_a_tasks_hash_is_that_of_its_data_and_meta_together(
    said: dict[str, Any], meta: dict[str, Any], beside: bool
) -> None:
    blobs = {next(iter(said)): ref} if beside else {}
    expected = names.content_hash({"data": hashed(said, blobs), "meta": meta})
    assert Content.of(submitted(said, blobs)).hash(meta) == expected
    assert Content.of(submitted(said, blobs)).hash({}) == names.content_hash({"data": hashed(said, blobs), "meta": {}})


@given(data, st.lists(text, max_size=3), st.booleans())
def test_an_inputs_hash_is_that_of_the_fields_asked_about(
    said: dict[str, Any], others: list[str], beside: bool
) -> None:
    blobs = {next(iter(said)): ref} if beside else {}
    for asked in ({*said}, {*others}, {*others, *tuple(said)[1:]}):
        fields = {name: said[name] for name in asked if name in said}
        kept = {name: blobs[name] for name in asked if name in blobs}
        part = Content.of(submitted(said, blobs)).part(frozenset(asked))
        assert part == (fields, kept, names.content_hash(hashed(fields, kept)))


def test_a_request_is_what_checking_it_again_would_make_of_it() -> None:
    said = submitted({"text": "Ada", "other": [1.5, None]}, id="17", meta={"a": 1}, run="r", deadline_ms=5)
    known = Submission("t", 3, "content", "config")
    made = request(said, Content.of(said), Ask("m", "echo", frozenset({"text"})), known, 1000)
    assert made == PredictionRequested.model_validate(made.model_dump())
    assert made.data == {"text": "Ada"}
    assert made.input_hash == names.content_hash({"text": "Ada"})
    assert made.request == names.request_id("t", made.input_hash, "m", "config")


def test_a_lane_of_tomorrow_is_not_urgent_here() -> None:
    known, ask = Submission("t", 3, "content", "config"), Ask("m", "echo", frozenset({"text"}))
    for lane, expected in (("express", Lane.BULK), ("interactive", Lane.INTERACTIVE), (Lane.BACKFILL, Lane.BACKFILL)):
        said = submitted({"text": "Ada"}, lane=lane)
        assert request(said, Content.of(said), ask, known, 0).lane is expected


def test_every_model_is_asked_about_the_fields_of_its_own_questions() -> None:
    asks = Asks().of("c", project("text", "title", models=("a", "b")))
    assert asks == (Ask("a", "echo", frozenset({"text"})), Ask("b", "echo", frozenset({"title"})))


def test_a_configuration_that_was_replaced_under_its_name_asks_nothing_any_more() -> None:
    asks = Asks()
    assert asks.of("c", project("text"))[0].fields == {"text"}
    assert asks.of("c", project("title"))[0].fields == {"title"}


def test_configurations_of_long_ago_are_forgotten() -> None:
    asks, one = Asks(), project("text")
    for number in range(MAX_PROJECTS + 5):
        asks.of(f"c{number}", one)
    assert len(asks._known) == MAX_PROJECTS
