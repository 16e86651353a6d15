"""Of all that people said about a task, one answer is learned."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.answers import answer
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_training.examples.policy import Because, Policy, derive

from .annotated import annotated

BOTH = pytest.mark.parametrize("policy", list(Policy))


@BOTH
def test_a_reviewed_answer_outranks_later_ones_and_any_number_of_others(policy: Policy) -> None:
    reviewed = annotated(1, "right", by="reviewer", marked=["ground_truth"])
    others = [annotated(2 + i, "wrong", by=f"person-{i}") for i in range(5)]
    derived = derive([*others, reviewed], policy)
    assert derived is not None
    assert (derived.annotation, derived.because) == (reviewed, Because.REVIEWED)
    assert (derived.votes, derived.voters) == (1, 6)


@BOTH
def test_of_two_reviewed_answers_the_latest_is_learned(policy: Policy) -> None:
    first, second = (annotated(i, str(i), by=f"reviewer-{i}", marked=["ground_truth"]) for i in (1, 2))
    derived = derive([second, first], policy)
    assert derived is not None
    assert derived.annotation is second


@BOTH
@pytest.mark.parametrize("gone", ["deleted", "skipped"])
def test_what_was_withdrawn_or_declined_is_no_example_however_late_or_reviewed(policy: Policy, gone: str) -> None:
    assert derive([annotated(9, "x", marked=("ground_truth", gone))], policy) is None
    kept = annotated(1, "kept", by="ann")
    derived = derive([kept, annotated(9, "x", by="ben", marked=("ground_truth", gone))], policy)
    assert derived is not None
    assert (derived.annotation, derived.voters) == (kept, 1)


@BOTH
def test_an_old_version_that_comes_late_changes_nothing(policy: Policy) -> None:
    new, old = annotated(5, "new"), annotated(4, "old", marked=["ground_truth"])
    derived = derive([new, old], policy)
    assert derived is not None
    assert derived.annotation is new


@BOTH
def test_what_is_deleted_stays_deleted_also_against_a_later_version(policy: Policy) -> None:
    assert derive([annotated(4, marked=["deleted"]), annotated(5, "back")], policy) is None


def test_the_latest_is_told_by_the_log_and_not_by_clocks() -> None:
    first = replace(annotated(1, "first", by="ann"), at_ms=99_999)
    second = replace(annotated(2, "second", by="ben"), at_ms=5)
    derived = derive([second, first], Policy.LATEST)
    assert derived is not None
    assert derived.annotation is second


def test_most_people_decide_and_not_the_latest_of_them() -> None:
    said = [annotated(1, "a", by="ann"), annotated(2, "a", by="ben"), annotated(3, "b", by="cleo")]
    derived = derive(said, Policy.MAJORITY)
    assert derived is not None
    assert (derived.annotation, derived.because) == (said[1], Because.MAJORITY)
    assert (derived.votes, derived.voters) == (2, 3)


def test_a_person_has_one_vote_however_often_they_answer() -> None:
    eager = [annotated(i, "a", by="eager", name=f"e{i}") for i in range(5)]
    changed = annotated(5, "b", by="eager", name="e5")
    others = [annotated(6, "b", by="ann"), annotated(7, "c", by="ben")]
    derived = derive([*eager, *others], Policy.MAJORITY)
    assert derived is not None
    assert (derived.because, derived.voters) == (Because.TIE, 3)
    derived = derive([*eager, changed, *others], Policy.MAJORITY)
    assert derived is not None
    assert (derived.annotation, derived.because) == (others[0], Because.MAJORITY)


def test_a_tie_goes_to_the_latest_of_those_who_lead() -> None:
    said = [annotated(i, label, by=f"p{i}") for i, label in enumerate("abbaac")]
    tied = [*said[:4], said[5]]
    derived = derive(tied, Policy.MAJORITY)
    assert derived is not None
    assert (derived.annotation, derived.because) == (said[3], Because.TIE)


def test_annotations_of_several_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="several tasks"):
        derive([annotated(1, "a", task="t"), annotated(2, "a", task="u")], Policy.LATEST)


# ------------------------------------------------------------------------------------------------ the same answer

SPAN = {"kind": "span", "question": "q", "field": "text", "start": 0, "end": 4, "labels": ["PER"]}
OTHER = {**SPAN, "start": 9, "end": 12, "labels": ["ORG"]}
LINK = {"kind": "relation", "question": "q", "labels": ["works for"], "direction": "right"}


def linked(a: str, b: str, *, turned: bool = False) -> list[dict[str, Any]]:
    ends = (b, a) if turned else (a, b)
    return [{**SPAN, "id": a}, {**OTHER, "id": b}, {**LINK, "from_id": ends[0], "to_id": ends[1]}]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        pytest.param([SPAN, OTHER], [OTHER, SPAN], id="order"),
        pytest.param([{**SPAN, "id": "x"}], [{**SPAN, "id": "y", "score": 0.5}], id="ids-and-scores"),
        pytest.param([{**SPAN, "text": "Anna"}], [SPAN], id="words-covered"),
        pytest.param([{**SPAN, "labels": ["a", "b"]}], [{**SPAN, "labels": ["b", "a"]}], id="order-of-labels"),
        pytest.param(linked("x", "y"), linked("1", "0")[::-1], id="relations-under-other-ids"),
    ],
)
def test_the_same_said_in_other_words_is_one_answer(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> None:
    assert answer(one) == answer(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        pytest.param([SPAN], [], id="nothing"),
        pytest.param([SPAN], [SPAN, SPAN], id="twice"),
        pytest.param([SPAN], [{**SPAN, "end": 5}], id="offsets"),
        pytest.param([SPAN], [{**SPAN, "labels": ["ORG"]}], id="labels"),
        pytest.param(linked("x", "y"), linked("x", "y", turned=True), id="the-way-an-arrow-points"),
        pytest.param([{"kind": "text", "text": ["a"]}], [{"kind": "text", "text": ["b"]}], id="free-text"),
    ],
)
def test_what_says_something_else_is_another_answer(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> None:
    assert answer(one) != answer(two)


# -------------------------------------------------------------------------------------------- whatever comes when

MARKS = ("deleted", "skipped", "ground_truth")
VERSIONS = st.builds(
    annotated,
    st.integers(0, 50),
    st.sampled_from("abc"),
    by=st.sampled_from(["ann", "ben", "cleo"]),
    name=st.sampled_from(["1", "2", "3"]),
    marked=st.sets(st.sampled_from(MARKS)),
)


@given(st.lists(VERSIONS, max_size=8), st.sampled_from(Policy), st.randoms(use_true_random=False))
def test_no_order_and_no_repetition_changes_the_example(
    versions: list[Any], policy: Policy, rng: random.Random
) -> None:
    again = [*versions, *rng.choices(versions, k=3)] if versions else []
    rng.shuffle(again)
    assert derive(again, policy) == derive(versions, policy)


async def test_the_latest_is_what_the_store_takes_for_the_example(tmp_path: Path) -> None:
    rng = random.Random(7)
    store = SqliteStore(tmp_path / "results.db")
    await store.start()
    try:
        for number in range(150):
            versions = [
                annotated(
                    rng.randrange(9),
                    rng.choice("ab"),
                    task=f"t{number}",
                    by=(who := rng.choice("abc")),
                    name=who,
                    marked=[mark for mark in MARKS if rng.random() < 0.2],
                )
                for _ in range(rng.randrange(6))
            ]
            await store.examples.put(versions)
            derived = derive(versions, Policy.LATEST)
            assert await store.examples.current("p", f"t{number}") == (derived.annotation if derived else None)
    finally:
        await store.stop()
