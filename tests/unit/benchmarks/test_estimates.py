"""How long a run takes is told before it begins, and fits into the time that is promised for it."""

import pytest

from tests.benchmarks.__main__ import chosen
from tests.benchmarks.case import FULL, QUICK, Case, Figure, Sizes
from tests.benchmarks.cases import CASES, ner
from tests.benchmarks.estimates import ESTIMATES, said, seconds
from tests.benchmarks.session import wanted

MINUTE = 60


def whole(sizes: Sizes, *named: str) -> float:
    return sum(seconds(case, sizes) for case in chosen(wanted([], sizes.skipped), named))


def test_every_case_has_an_estimate_and_every_estimate_a_figure() -> None:
    figures = [f"{figure.name}." for case in CASES for figure in case.figures]
    assert [case.name for case in CASES if not seconds(case, FULL)] == []
    assert [one for one in ESTIMATES if not any(name.startswith(f"{one}.") for name in figures)] == []


def test_everything_takes_less_than_two_hours_and_the_quick_run_under_five_minutes() -> None:
    assert whole(FULL, "peers") <= 100 * MINUTE
    assert whole(QUICK) <= 5 * MINUTE


def test_what_is_compared_by_name_is_measured_in_five_rounds() -> None:
    once = {case.name for case in CASES if case.rounds_of(FULL) < 5}
    assert once == {"ingest", "memory"}


def test_only_what_is_measured_is_counted() -> None:
    bare = ner.CASE.restricted(wanted(["ner.bare"]))
    assert 0 < seconds(bare, FULL) < seconds(ner.CASE, FULL)
    assert seconds(Case("x", (Figure("x", "/s", ""),), ner.start), FULL) == 0


@pytest.mark.parametrize(("length", "words"), [(40.4, "40 s"), (89.0, "89 s"), (95.0, "2 min"), (3600.0, "60 min")])
def test_lengths_are_told_for_people(length: float, words: str) -> None:
    assert said(length) == words
