"""Uncertainty is a figure from 0 to 1 that falls as the score rises, and is missing where there is no score."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.regions import Choice, Region, Span
from prelabel_provider.uncertainty import Gathering, Measure, gathered, of_distribution, of_score, uncertainty

measures = st.sampled_from(Measure)
gatherings = st.sampled_from(Gathering)
shares = st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(any)
scores = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def said(*found: float | None) -> list[Region]:
    return [Span(start=at, end=at + 1, labels=("PER",), score=score) for at, score in enumerate(found)]


@given(shares, measures, st.randoms(use_true_random=False))
def test_the_order_of_the_labels_changes_nothing(found: list[float], measure: Measure, shuffled: Random) -> None:
    assert 0 <= of_distribution(found, measure) <= 1
    mixed = shuffled.sample(found, len(found))
    assert of_distribution(mixed, measure) == of_distribution(found, measure)


@given(scores, scores, measures, gatherings)
def test_it_never_rises_with_the_scores(
    ones: list[float], others: list[float], measure: Measure, gathering: Gathering
) -> None:
    pairs = [sorted(pair) for pair in zip(ones, others, strict=False)]
    low = uncertainty(said(*(pair[0] for pair in pairs)), measure, gathering)
    high = uncertainty(said(*(pair[1] for pair in pairs)), measure, gathering)
    assert low is not None
    assert high is not None
    assert 0 <= high <= low + 1e-12
    assert low <= 1


@given(st.floats(0.5, 1), st.floats(0.5, 1), measures)
def test_of_two_labels_every_measure_gives_the_same_order(one: float, other: float, measure: Measure) -> None:
    less, more = sorted((one, other))
    assert of_distribution((more, 1 - more), measure) <= of_distribution((less, 1 - less), measure) + 1e-12


@pytest.mark.parametrize("measure", Measure, ids=lambda measure: measure.value)
@pytest.mark.parametrize("labels", [2, 3, 50], ids=["two", "three", "fifty"])
def test_guessing_is_1_and_knowing_is_0_however_many_labels_there_are(labels: int, measure: Measure) -> None:
    assert of_distribution([1 / labels] * labels, measure) == pytest.approx(1)
    assert of_distribution([1.0] + [0.0] * (labels - 1), measure) == 0


def test_each_measure_looks_at_what_its_name_says() -> None:
    close, spread = (0.5, 0.5, 0.0), (0.5, 0.25, 0.25)
    assert of_distribution(close, Measure.LEAST_CONFIDENCE) == of_distribution(spread, Measure.LEAST_CONFIDENCE) == 0.75
    assert of_distribution(close, Measure.MARGIN) == 1 > of_distribution(spread, Measure.MARGIN) == 0.75
    assert of_distribution(close, Measure.ENTROPY) == pytest.approx(math.log(2) / math.log(3))
    assert of_distribution(spread, Measure.ENTROPY) == pytest.approx(1.5 * math.log(2) / math.log(3))


@given(shares, st.floats(1e-6, 1e6), measures)
def test_shares_need_not_sum_to_1(found: list[float], scale: float, measure: Measure) -> None:
    found = [round(share, 6) for share in found] + [1.0]
    scaled = [share * scale for share in found]
    assert of_distribution(scaled, measure) == pytest.approx(of_distribution(found, measure), abs=1e-9)


def test_shares_of_which_floats_hold_no_sum_are_shares() -> None:
    assert of_distribution((1e308, 1e308), Measure.ENTROPY) == 1
    assert of_distribution((5e-324, 5e-324), Measure.MARGIN) == 1


@pytest.mark.parametrize(
    "found", [(), (0.0, 0.0), (-0.1, 1.1), (math.nan, 1.0), (math.inf, 1.0)], ids=["no", "zero", "minus", "nan", "inf"]
)
def test_shares_that_are_none_are_refused(found: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="share"):
        of_distribution(found, Measure.ENTROPY)


@pytest.mark.parametrize("score", [-0.01, 1.01, math.nan], ids=["under", "over", "nan"])
@pytest.mark.parametrize("measure", Measure, ids=lambda measure: measure.value)
def test_scores_out_of_range_are_refused(score: float, measure: Measure) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        of_score(score, measure)


@pytest.mark.parametrize("regions", [[], said(None), said(None, None)], ids=["nothing", "one", "two"])
def test_without_a_score_there_is_none(regions: list[Region]) -> None:
    assert uncertainty(regions) is None


def test_regions_without_a_score_are_passed_over_and_those_below_the_threshold_are_not() -> None:
    doubted = Span(start=0, end=1, labels=("PER",), score=0.25, below_threshold=True)
    assert uncertainty([*said(None, 0.75), doubted]) == 0.75


def test_distributions_count_instead_of_scores() -> None:
    sure = Choice(labels=("a",), score=1.0)
    assert uncertainty([sure], Measure.MARGIN, distributions=[(0.5, 0.5), (1.0, 0.0)]) == 1
    assert uncertainty([], distributions=[(1.0, 0.0)]) == 0


@given(scores)
def test_what_is_gathered_lies_between_the_mean_and_any(found: list[float]) -> None:
    mean, highest, any_of = (gathered(found, each) for each in (Gathering.MEAN, Gathering.HIGHEST, Gathering.ANY))
    assert mean <= highest + 1e-12
    assert highest <= any_of + 1e-12
    assert gathered([any_of], Gathering.ANY) == pytest.approx(any_of)


def test_one_doubtful_token_among_many_is_seen_by_the_highest_and_lost_in_the_mean() -> None:
    tokens = [(1.0, 0.0)] * 99 + [(0.5, 0.5)]
    assert uncertainty([], distributions=tokens) == 1
    assert uncertainty([], gathering=Gathering.MEAN, distributions=tokens) == pytest.approx(0.01)
    assert uncertainty([], gathering=Gathering.ANY, distributions=tokens) == 1
