"""Whoever is told to stop is told why, and is not told so by noise, nor by a model that is too sure of itself."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_training.leases.stopping import Point, Reason, StopRules, signal

RULES = StopRules()
DOUBTFUL = [0.5] * 100
SURE = [0.01] * 100


def curve(*scores: float, half: float = 0.03, first: int = 100, step: int = 100) -> list[Point]:
    return [
        Point(first + step * at, score, max(0.0, score - half), min(1.0, score + half))
        for at, score in enumerate(scores)
    ]


RISING = curve(0.6, 0.7, 0.8)
FLAT = curve(0.6, 0.8, 0.81, 0.8)
FALLING = curve(0.9, 0.8, 0.7)
WIDE = curve(0.8, 0.8, 0.8, half=0.1)
SAME_DATA = curve(0.8, 0.8, 0.8, step=1)


@pytest.mark.parametrize(
    ("points", "pool", "stop", "reason"),
    [
        (RISING, [], True, Reason.NOTHING_LEFT),
        ([], [], True, Reason.NOTHING_LEFT),
        (FLAT, DOUBTFUL, True, Reason.FLAT),
        (FLAT, SURE, True, Reason.FLAT),
        (RISING, DOUBTFUL, False, Reason.LEARNING),
        (FALLING, DOUBTFUL, False, Reason.LEARNING),
        (RISING, SURE, False, Reason.LEARNING),
        (WIDE, DOUBTFUL, False, Reason.UNSURE),
        (WIDE, SURE, True, Reason.CERTAIN),
        (SAME_DATA, DOUBTFUL, False, Reason.TOO_EARLY),
        (curve(0.8, 0.8), DOUBTFUL, False, Reason.TOO_EARLY),
        (SAME_DATA, SURE, True, Reason.CERTAIN),
        (curve(0.8, 0.8), SURE, False, Reason.TOO_EARLY),
        ([], SURE, False, Reason.TOO_EARLY),
        (WIDE, SURE[:49], False, Reason.UNSURE),
        (WIDE, [*SURE[:95], *[0.9] * 5], True, Reason.CERTAIN),
        (WIDE, [*SURE[:94], *[0.9] * 6], False, Reason.UNSURE),
        (WIDE, [*SURE[:94], *[None] * 6], False, Reason.UNSURE),
        (FLAT, [None], True, Reason.FLAT),
    ],
    ids=[
        "nothing_left",
        "nothing_at_all",
        "flat",
        "flat_and_sure",
        "rising",
        "falling",
        "rising_and_too_sure",
        "small_holdout",
        "small_holdout_and_sure",
        "hardly_more_examples",
        "two_versions",
        "hardly_more_examples_and_sure",
        "two_versions_and_sure",
        "sure_without_versions",
        "few_open",
        "sure_of_95",
        "sure_of_94",
        "unknown_is_not_sure",
        "flat_without_scores",
    ],
)
def test_the_signal_names_its_reason(
    points: Sequence[Point], pool: Sequence[float | None], stop: bool, reason: Reason
) -> None:
    found = signal(points, pool, RULES)
    assert (found.stop, found.reason) == (stop, reason)
    assert found.text.startswith("Stop: " if stop else "Go on: ")
    assert found.text.endswith(".")


@pytest.mark.parametrize("scores", [(0.6, 0.7, 0.8), (0.8, 0.81, 0.8)], ids=["learning", "flat"])
def test_scores_of_other_hold_outs_are_told_as_such(scores: tuple[float, ...]) -> None:
    first, *others = curve(*scores)
    said = "(1 of them on earlier hold-outs, whose tasks may differ)"
    assert said in signal([replace(first, alike=False), *others], DOUBTFUL, RULES).text
    assert "hold-outs" not in signal([first, *others], DOUBTFUL, RULES).text


points = st.lists(st.floats(0, 1), max_size=5).map(lambda scores: curve(*scores))
pools = st.lists(st.none() | st.floats(0, 1), max_size=20)
LOOSE = StopRules(minimum=1)


@given(points, pools, st.randoms(use_true_random=False))
def test_the_order_of_the_open_tasks_changes_nothing(
    found: list[Point], pool: list[float | None], shuffled: Random
) -> None:
    assert signal(found, shuffled.sample(pool, len(pool)), LOOSE) == signal(found, pool, LOOSE)


@given(points, pools, st.floats(0, 1))
def test_less_uncertainty_never_turns_a_stop_into_going_on(
    found: list[Point], pool: list[float | None], by: float
) -> None:
    lowered = [None if one is None else one * by for one in pool]
    assert signal(found, lowered, LOOSE).stop >= signal(found, pool, LOOSE).stop


@given(points, pools)
def test_older_versions_than_the_rules_look_at_change_nothing(found: list[Point], pool: list[float | None]) -> None:
    newest = found[-LOOSE.versions :]
    if len(newest) == LOOSE.versions:
        assert signal(found, pool, LOOSE) == signal(newest, pool, LOOSE)


@pytest.mark.parametrize("uncertainty", [-0.1, 1.1, float("nan")], ids=["under", "over", "nan"])
def test_uncertainty_out_of_range_is_refused(uncertainty: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        signal([], [uncertainty], RULES)


@pytest.mark.parametrize(
    "values", [(-1, 0.5, 0.4, 0.6), (1, 0.5, 0.6, 0.7), (1, 0.5, 0.3, 0.4), (1, 0.9, 0.8, 1.1)], ids=str
)
def test_points_outside_of_their_interval_are_refused(values: tuple[int, float, float, float]) -> None:
    with pytest.raises(ValueError, match="a point has"):
        Point(*values)


@pytest.mark.parametrize(
    "rules",
    [
        {"versions": 1},
        {"growth": 1.0},
        {"growth": float("nan")},
        {"widest": 0.0},
        {"low": 1.0},
        {"share": 0.0},
        {"minimum": 0},
    ],
    ids=lambda rules: "_".join(f"{name}_{value}" for name, value in rules.items()),
)
def test_rules_that_nothing_or_everything_meets_are_refused(rules: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"curve|between"):
        StopRules(**rules)  # type: ignore[arg-type]
