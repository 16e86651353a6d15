"""What rules find, and what they refuse."""

import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.regions import Choice, Span
from prelabel_inference_rules.provider import RulesProvider
from prelabel_provider.base import BadSettings, Input, Predicted
from pydantic import ValidationError


def _load(*rules: dict[str, Any]) -> RulesProvider:
    said = [{"label": "X", **rule} for rule in rules]
    return RulesProvider.load(RulesProvider.Settings.model_validate({"rules": said}))


def _said(text: str, *rules: dict[str, Any]) -> Predicted:
    (said,) = _load(*rules).predict([Input("task", {"text": text}, "text")])
    assert isinstance(said, Predicted)
    return said


def _found(text: str, *rules: dict[str, Any]) -> list[str]:
    return [text[r.start : r.end] for r in _said(text, *rules).regions if isinstance(r, Span)]


@pytest.mark.parametrize(
    ("rule", "text", "found"),
    [
        ({"words": ["cat"]}, "category cat, Cat", ["cat"]),
        ({"words": ["cat"], "ignore_case": True}, "category cat, Cat", ["cat", "Cat"]),
        ({"words": ["New York", "New"]}, "New  York, New\nYork, New", ["New  York", "New\nYork", "New"]),
        ({"words": ["C++", "C"]}, "C++ and C, but C ++", ["C++", "C", "C"]),
        ({"words": ["café"]}, "cafe\u0301 café", ["cafe\u0301", "café"]),
        ({"words": ["हिन्दी"]}, "हिन्दी हिन्", ["हिन्दी"]),
        ({"words": ["straße"], "ignore_case": True}, "İ STRASSE Straße", ["STRASSE", "Straße"]),
        ({"substring": "cat"}, "category catcat", ["cat", "cat", "cat"]),
        ({"substring": "a.b"}, "a.b axb", ["a.b"]),
        ({"substring": "É", "ignore_case": True}, "İé", ["é"]),
        ({"pattern": r"\d+"}, "😀 12 é 34", ["12", "34"]),
        ({"pattern": r"\b|bb"}, "abba", ["bb"]),
    ],
)
def test_a_rule_finds(rule: dict[str, Any], text: str, found: list[str]) -> None:
    assert _found(text, rule) == found


def test_a_rule_without_a_score_has_none() -> None:
    assert _said("a", {"words": ["a"]}).regions[0].score is None


def test_rules_that_say_the_same_say_it_once_with_the_better_score() -> None:
    rules = ({"words": ["a"]}, {"substring": "a", "score": 0.4}, {"pattern": "a", "score": 0.7})
    (span,) = _said("a", *rules).regions
    assert span.score == 0.7


def test_choices_come_in_the_order_of_the_rules() -> None:
    rules = (
        {"label": "second", "as": "choice", "substring": "b", "score": 0.5},
        {"label": "first", "as": "choice", "substring": "a"},
        {"label": "third", "as": "choice", "substring": "c"},
    )
    said = [(r.labels, r.score) for r in _said("ab", *rules).regions if isinstance(r, Choice)]
    assert said == [(("second",), 0.5), (("first",), None)]


@pytest.mark.parametrize("rule", [{}, {"words": ["a"], "pattern": "a"}, {"words": [""]}, {"as": "box", "words": ["a"]}])
def test_a_rule_has_exactly_one_way_to_find(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _load(rule)


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ({"pattern": "("}, "/rules/1/pattern"),
        ({"pattern": "(?=a)"}, "/rules/1/pattern"),
        ({"pattern": "a*"}, "/rules/1/pattern"),
        ({"words": [" "]}, "/rules/1/words"),
    ],
)
def test_a_rule_that_cannot_work_is_named(rule: dict[str, Any], place: str) -> None:
    with pytest.raises(BadSettings, match=f"^{place}: .+"):
        _load({"words": ["fine"]}, rule)


def test_no_expression_takes_more_than_linear_time() -> None:
    model = _load({"pattern": "(x+x+)+y"}, {"pattern": "(a|aa)+$"})
    # Whoever tries every way to divide them up does not come back.
    assert model.predict([Input("task", {"text": "x" * 20_000 + "a" * 20_000 + "!"}, "text")]) == [Predicted()]


def _steps(model: RulesProvider, text: str) -> int:
    """Calls that a prediction makes: work, however busy the machine is."""
    steps = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        model.predict([Input("task", {"text": text}, "text")])
    finally:
        sys.setprofile(before)
    return steps


@pytest.mark.parametrize("as_", ["span", "choice"])
def test_a_text_is_cut_into_words_once_however_many_rules_there_are(as_: str) -> None:
    rules = [{"label": f"L{n}", "as": as_, "words": [f"word{n}", f"two words{n}"]} for n in range(200)]
    text = "Nothing of what they look for stands here. " * 50
    assert _steps(_load(*rules), text) < 2 * _steps(_load(rules[0]), text)


def test_a_text_twice_as_long_is_twice_the_work() -> None:
    model = _load({"words": ["urgent", "very urgent"]}, {"substring": "urgent"}, {"pattern": "[uv][a-z]+"})
    text = "This is very urgent. " * 200
    assert _steps(model, text * 2) < 2.2 * _steps(model, text)


def test_rules_of_words_do_not_come_between_each_other() -> None:
    rules = (
        {"label": "city", "words": ["New York", "York"]},
        {"label": "new", "words": ["new", "New"]},
        {"label": "york", "words": ["york"], "ignore_case": True},
        {"label": "news", "as": "choice", "words": ["news of York"]},
        {"label": "any", "as": "choice", "words": ["York", "absent"]},
    )
    said = _said("New York: news of York, new", *rules).regions
    found = [(r.labels[0], r.start, r.end) for r in said if isinstance(r, Span)]
    assert found == [
        ("new", 0, 3), ("city", 0, 8), ("york", 4, 8), ("city", 18, 22), ("york", 18, 22), ("new", 24, 27),
    ]  # fmt: skip
    assert [r.labels[0] for r in said if isinstance(r, Choice)] == ["news", "any"]


@given(
    st.text("ab .", max_size=30), st.lists(st.lists(st.text("ab .", min_size=1, max_size=5), min_size=1), max_size=4)
)
def test_rules_of_words_find_together_what_each_finds_alone(text: str, several: list[list[str]]) -> None:
    wanted = [[phrase for phrase in phrases if phrase.strip()] or ["a"] for phrases in several]
    rules = [{"label": f"L{index}", "words": phrases} for index, phrases in enumerate(wanted)] or [{"words": ["a"]}]
    alone = [region for rule in rules for region in _said(text, rule).regions]
    assert Counter(_said(text, *rules).regions) == Counter(alone)


@given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=5), st.booleans())
def test_every_span_lies_in_its_text(text: str, phrases: list[str], ignore_case: bool) -> None:
    words = [phrase for phrase in phrases if phrase.strip()] or ["a"]
    rules = [{"words": words, "ignore_case": ignore_case}]
    rules += [{"substring": phrase, "ignore_case": ignore_case} for phrase in phrases]
    for region in _said(text, *rules).regions:
        assert isinstance(region, Span)
        assert region.text == text[region.start : region.end] != ""


@given(st.text(max_size=30), st.text(min_size=1, max_size=3), st.text(max_size=30))
def test_a_substring_is_found_where_it_is(before: str, phrase: str, after: str) -> None:
    text = before + phrase + after
    assert _found(text, {"substring": phrase}).count(phrase) == text.count(phrase)
