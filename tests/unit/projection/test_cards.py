"""A task on a card: the right stretch of its text, marks where they belong, nothing from older revisions."""

from typing import Any

import orjson
from prelabel_projection.cards import LEAD, SNIPPET, Card, card
from prelabel_runtime.store.base import State, StoredOutcome, StoredTask


def task(data: dict[str, Any], **body: Any) -> StoredTask:
    return StoredTask("uid", "mails", "t1", 7, 1000, "c", orjson.dumps({"data": data, "meta": {}, **body}).decode())


def outcome(*regions: dict[str, Any], model: str = "ner", **values: Any) -> StoredOutcome:
    values = {"state": State.CREATED, "revision": 7, "at_ms": 2000, **values}
    body = orjson.dumps({"regions": regions, **values.pop("more", {})}).decode()
    return StoredOutcome(f"r-{model}", "mails", "uid", model=model, provider="spacy", task_ms=1000, body=body, **values)


def span(start: int, end: int, label: str = "PERSON", field: str = "text", **more: Any) -> dict[str, Any]:
    return {"kind": "span", "field": field, "start": start, "end": end, "labels": [label], **more}


def marked(one: Card) -> list[tuple[str, str]]:
    return [(one.text[mark.start : mark.end], mark.label) for mark in one.marks]


def test_offsets_count_code_points_also_behind_emoji() -> None:
    one = card(task({"text": "🎉👩‍👩‍👧 Ada"}), [outcome(span(7, 10))], ["text"])
    assert marked(one) == [("Ada", "PERSON")]


def test_a_long_text_is_cut_around_its_first_mark() -> None:
    text = "word " * 500 + "Ada met Grace. " + "word " * 500
    start = text.index("Ada")
    one = card(task({"text": text}), [outcome(span(start, start + 3), span(start + 8, start + 13))], ["text"])
    assert marked(one) == [("Ada", "PERSON"), ("Grace", "PERSON")]
    assert (one.before, one.after) == (True, True)
    assert len(one.text) <= SNIPPET
    assert one.text.index("Ada") <= LEAD


def test_a_mark_that_the_cut_meets_ends_there() -> None:
    one = card(task({"text": "x" * 1000}), [outcome(span(0, 900))], ["text"])
    assert [(mark.start, mark.end) for mark in one.marks] == [(0, SNIPPET)]
    assert one.after


def test_the_field_with_the_most_marks_is_shown() -> None:
    data = {"title": "Ada", "text": "Ada and Grace"}
    one = card(task(data), [outcome(span(0, 3, field="title"), span(0, 3), span(8, 13))], ["title", "text"])
    assert (one.field, marked(one)) == ("text", [("Ada", "PERSON"), ("Grace", "PERSON")])
    assert one.others == 1


def test_without_marks_the_field_that_is_asked_about_is_shown() -> None:
    one = card(task({"a": "first", "b": "asked"}), [outcome()], ["b"])
    assert (one.field, one.text, one.marks) == ("b", "asked", ())


def test_a_large_text_shows_its_beginning() -> None:
    blobs = {"text": {"sha256": "0" * 64, "bytes": 5_000_000, "preview": "Ada begins"}}
    one = card(task({"text": None}, blobs=blobs), [outcome(span(0, 3), span(400, 403))], ["text"])
    assert (one.text, one.after, marked(one)) == ("Ada begins", True, [("Ada", "PERSON")])


def test_what_a_newer_revision_replaced_is_not_shown() -> None:
    old = outcome(span(0, 3), revision=6)
    replaced = outcome(span(0, 3), model="b", superseded_by="9")
    one = card(task({"text": "Ada"}), [old, replaced], ["text"])
    assert (one.marks, one.said, one.at_ms) == ((), (), 0)


def test_choices_and_failures_are_told_with_their_models() -> None:
    choice = {"kind": "choice", "question": "tone", "labels": ["urgent"], "score": 0.4, "below_threshold": True}
    failed = outcome(model="b", state=State.FAILED, at_ms=3000, more={"reason": "timeout"})
    one = card(task({"text": "x"}), [outcome(choice), failed], ["text"])
    assert [(c.label, c.question, c.score, c.below_threshold, c.model) for c in one.choices] == [
        ("urgent", "tone", 0.4, True, "ner")
    ]
    assert [(said.model, said.outcome, said.reason) for said in one.said] == [
        ("ner", "created", None),
        ("b", "failed", "timeout"),
    ]
    assert (one.others, one.at_ms) == (0, 3000)


def test_a_task_without_a_text_has_a_card_all_the_same() -> None:
    rectangle = {"kind": "rectangle", "field": "image", "labels": ["Car"], "x": 1}
    one = card(task({"image": {"url": "s3://x"}, "n": 7}), [outcome(rectangle)], ["image"])
    assert (one.text, one.marks, one.others) == ("", (), 1)
