"""What one model sees of a task."""

from typing import Any

import orjson
import pytest
from prelabel_contract.projects import Project
from prelabel_runtime.store.base import StoredTask
from prelabel_training.examples.lens import Left, Lens, Lesson

from .annotated import annotated


def project(**model: Any) -> Project:
    questions = [
        {"name": "q", "kind": "choice", "field": "text", "labels": ["x", "y"]},
        {"name": "names", "kind": "span", "field": "title", "labels": ["PERSON"]},
    ]
    models = [{"name": "m", "provider": "ledger", **model}]
    return Project.model_validate({"id": "p", "label_set": {"questions": questions}, "models": models})


def lens(*questions: str, **more: Any) -> Lens:
    made = project(questions=questions, **more)
    return Lens.of(made, made.models[0])


def task(revision: int = 1, **data: Any) -> StoredTask:
    body = {"data": {"text": "a text", "title": "Ada writes", "other": 1, **data}, "meta": {}}
    return StoredTask("t", "p", None, revision, 0, "c", orjson.dumps(body).decode())


def choice(label: str) -> dict[str, Any]:
    return {"kind": "choice", "question": "q", "field": "text", "labels": [label]}


def span(start: int, end: int, label: str = "PERSON", **more: Any) -> dict[str, Any]:
    base = {"kind": "span", "question": "names", "field": "title", "labels": [label], "start": start, "end": end}
    return {**base, **more}


def seen(lens: Lens, *regions: dict[str, Any], at: StoredTask | None = None) -> Lesson:
    found = lens.lesson([annotated(0, regions=list(regions))], at or task())
    assert isinstance(found, Lesson), found
    return found


def test_a_model_sees_its_fields_and_the_answers_to_its_questions() -> None:
    both = (choice("x"), span(0, 3, text="Ada"))
    whole = seen(lens(), *both)
    assert dict(whole.data) == {"text": "a text", "title": "Ada writes"}
    assert [one.question for one in whole.regions] == ["q", "names"]
    part = seen(lens("q"), *both)
    assert dict(part.data) == {"text": "a text"}
    assert [one.question for one in part.regions] == ["q"]


def test_an_answer_of_nothing_is_an_example() -> None:
    assert seen(lens("q"), span(0, 3)).regions == ()


@pytest.mark.parametrize(
    ("regions", "left"),
    [
        ([choice("z")], Left.LABEL_SET),
        ([choice("x"), span(0, 3, "PLACE")], Left.LABEL_SET),
        ([span(0, 99)], Left.DATA),
        ([span(0, 3, text="Eva")], Left.DATA),
        ([{"kind": "choice", "question": "q", "field": "nothing", "labels": ["x"]}], Left.LABEL_SET),
        ([{"kind": "span", "question": "names", "start": "first"}], Left.UNREADABLE),
    ],
)
def test_what_would_teach_something_wrong_is_left_out_whole(regions: list[dict[str, Any]], left: Left) -> None:
    assert lens().lesson([annotated(0, regions=regions)], task()) is left


def test_what_is_wrong_in_another_models_answers_leaves_nothing_out() -> None:
    assert seen(lens("q"), choice("x"), span(0, 99)).regions[0].labels == ("x",)


def test_a_task_that_is_not_there_or_has_none_of_the_fields_is_left_out() -> None:
    said = [annotated(0, regions=[choice("x")])]
    assert lens().lesson(said, None) is Left.UNKNOWN_TASK
    empty = StoredTask("t", "p", None, 1, 0, "c", '{"data": {"other": 1}, "meta": {}}')
    assert lens().lesson(said, empty) is Left.DATA


def test_skipped_answers_and_unreviewed_ones_where_only_reviewed_count_are_no_examples() -> None:
    assert lens().lesson([annotated(0, "x", marked=["skipped"])], task()) is Left.SKIPPED
    made = project()
    strict = made.model_copy(update={"learning": made.learning.model_copy(update={"policy": "reviewed"})})
    only = Lens.of(strict, strict.models[0])
    said = [annotated(0, regions=[choice("x")])]
    assert only.lesson(said, task()) is Left.SKIPPED
    assert isinstance(
        only.lesson([*said, annotated(1, by="r", regions=[choice("y")], marked=["ground_truth"])], task()), Lesson
    )


def test_the_content_has_another_name_exactly_when_something_learned_differs() -> None:
    usual = seen(lens("q"), choice("x")).seen.content
    assert seen(lens("q"), choice("x"), at=task(other=2)).seen.content == usual, "no field of the model's"
    assert seen(lens("q"), choice("x"), span(0, 3)).seen.content == usual, "no question of the model's"
    assert seen(lens("q"), choice("x"), at=task(revision=9)).seen.content == usual
    assert seen(lens("q"), choice("y")).seen.content != usual
    assert seen(lens("q"), choice("x"), at=task(text="another")).seen.content != usual


def test_a_field_in_the_blob_store_is_named_by_its_hash_and_its_spans_are_not_judged() -> None:
    def large(digest: str) -> StoredTask:
        body = {
            "data": {"text": None, "title": None},
            "meta": {},
            "blobs": {"title": {"sha256": digest * 64, "bytes": 9, "head": ""}},
        }
        return StoredTask("t", "p", None, 1, 0, "c", orjson.dumps(body).decode())

    one = seen(lens("names"), span(0, 99), at=large("a"))
    other = seen(lens("names"), span(0, 99), at=large("b"))
    assert set(one.blobs) == {"title"}
    assert one.seen.content != other.seen.content


def test_two_lenses_have_one_name_exactly_if_they_see_the_same() -> None:
    assert lens("q").name == lens("q", labels={"a": "x"}).name
    assert lens("q").name != lens().name
