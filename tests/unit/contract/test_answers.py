"""What regions say: compared between people, and between people and models."""

from typing import Any

from prelabel_contract.answers import answer


def span(start: int, **more: Any) -> dict[str, Any]:
    return {"kind": "span", "field": "text", "question": "q", "start": start, "end": start + 1, "labels": ["A"], **more}


def relation(one: str, other: str) -> dict[str, Any]:
    return {"kind": "relation", "from_id": one, "to_id": other, "labels": ["of"]}


def test_an_id_that_nothing_refers_to_says_nothing() -> None:
    assert answer([span(0, id="box-1"), span(5)]) == answer([span(5, id="x"), span(0)])


def test_two_regions_about_one_thing_say_more_than_two_about_two() -> None:
    assert answer([span(0, id="a"), span(5, id="a")]) != answer([span(0, id="a"), span(5, id="b")])


def test_which_regions_a_relation_joins_is_said_under_any_ids() -> None:
    first = answer([span(0, id="a"), span(5, id="b"), relation("a", "b")])
    assert first == answer([span(5, id="1"), span(0, id="2"), relation("2", "1")])
    assert first != answer([span(5, id="1"), span(0, id="2"), relation("1", "2")])


def test_scores_pictures_and_the_words_of_a_span_say_nothing() -> None:
    assert answer([span(0, score=0.5, below_threshold=True, text="x")]) == answer([span(0)])
    assert answer([span(0)]) != answer([span(0, labels=["B"])])
