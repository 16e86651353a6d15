"""The report has the shape that its readers expect, and says what the rounds said."""

import json

import pytest

from tests.benchmarks.case import Figure
from tests.benchmarks.report import Result, as_json, results

BARE = Figure("ner.bare", "docs/s", "the model alone")
SQLITE = Figure("ner.sqlite", "docs/s", "end to end", ratio_to="ner.bare", at_least=0.85)
ROUNDS = [
    {"ner.bare": 100.0, "ner.sqlite": 90.0},
    {"ner.bare": 200.0, "ner.sqlite": 100.0},
    {"ner.bare": 50.0, "ner.sqlite": 40.0},
]


def test_a_result_holds_median_spread_ratio_and_goal() -> None:
    report = json.loads(json.dumps(as_json(results((BARE, SQLITE), ROUNDS), machine="a machine")))
    nothing = {"ratio_to": None, "ratio": None, "ratio_low": None, "ratio_high": None, "goal": "", "reached": None}
    assert report["machine"] == "a machine"
    assert report["results"][0] == {
        "name": "ner.bare", "median": 100.0, "low": 50.0, "high": 200.0, "unit": "docs/s", "rounds": 3,
        "what": "the model alone", **nothing,
    }  # fmt: skip
    assert report["results"][1] == {
        "name": "ner.sqlite", "median": 90.0, "low": 40.0, "high": 100.0, "unit": "docs/s", "rounds": 3,
        "what": "end to end", "ratio_to": "ner.bare", "ratio": 0.8, "ratio_low": 0.5, "ratio_high": 0.9,
        "goal": "≥ 0.85 of ner.bare", "reached": False,
    }  # fmt: skip


def test_ratios_are_taken_within_a_round() -> None:
    """The machine may be slow for a whole round; the median over all rounds would compare different machines."""
    (_, sqlite) = results((BARE, SQLITE), ROUNDS)
    assert sqlite.ratio == 0.8
    assert sqlite.ratio != round(sqlite.median / 100.0, 3)


def test_a_round_without_a_figure_counts_for_the_others_only() -> None:
    (bare, sqlite) = results((BARE, SQLITE), [*ROUNDS[:2], {"ner.bare": 10.0}])
    assert (bare.rounds, sqlite.rounds) == (3, 2)
    assert (sqlite.low, sqlite.ratio) == (90.0, 0.7)


def test_what_was_never_measured_is_not_in_the_report() -> None:
    assert [one.name for one in results((BARE, SQLITE), [{"ner.sqlite": 1.0}])] == ["ner.sqlite"]


def test_without_the_other_figure_there_is_no_ratio_and_no_verdict() -> None:
    (sqlite,) = results((SQLITE,), [{"ner.sqlite": 1.0}])
    assert (sqlite.ratio, sqlite.reached) == (None, None)


@pytest.mark.parametrize(
    ("figure", "value", "reached"),
    [
        (Figure("f", "/s", "", at_least=10), 10.0, True),
        (Figure("f", "/s", "", at_least=10), 9.9, False),
        (Figure("f", "ms", "", at_most=300), 300.0, True),
        (Figure("f", "ms", "", at_most=300), 300.1, False),
        (Figure("f", "/s", "", at_least=1, at_most=2), 3.0, False),
        (Figure("f", "/s", ""), 3.0, None),
    ],
)
def test_a_goal_without_a_ratio_is_about_the_median(figure: Figure, value: float, reached: bool | None) -> None:
    (one,) = results((figure,), [{"f": value}])
    assert isinstance(one, Result)
    assert one.reached is reached
