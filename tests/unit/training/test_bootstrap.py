"""The bootstrap draws whole tasks, as many as asked for, and its intervals are what their name says."""

from math import sqrt
from random import Random
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_training.gate.bootstrap import BOUND, Resampling, percentiles, sums


def test_a_resample_is_made_of_whole_tasks_and_as_many_as_there_are() -> None:
    drawn = list(sums([(1, 0, 5), (0, 1, 7)], Resampling(count=50), Random(1)))
    assert len(drawn) == 50
    assert {a + b for a, b, _ in drawn} == {2}
    assert all(c == 5 * a + 7 * b for a, b, c in drawn)
    assert {a for a, _, _ in drawn} == {0, 1, 2}  # with replacement: one may come twice


def test_a_resample_has_the_size_that_was_asked_for() -> None:
    assert set(sums([(1,), (1,)], Resampling(count=3, size=7), Random(1))) == {(7,)}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, BOUND // 40)), min_size=1, max_size=9), st.integers())
def test_no_count_leaks_into_its_neighbour(vectors: list[tuple[int, int]], seed: int) -> None:
    size = len(vectors)
    for first, second in sums(vectors, Resampling(count=5), Random(seed)):
        assert min(a for a, _ in vectors) * size <= first <= max(a for a, _ in vectors) * size
        assert min(b for _, b in vectors) * size <= second <= max(b for _, b in vectors) * size


def test_counts_that_would_run_over_are_refused() -> None:
    with pytest.raises(ValueError, match="may add up to"):
        next(sums([(BOUND // 2,), (0,)], Resampling(), Random(1)))


def test_nothing_cannot_be_drawn_from() -> None:
    with pytest.raises(ValueError, match="nothing to draw from"):
        next(sums([], Resampling(), Random(1)))


def test_the_spread_of_the_resamples_is_the_standard_error_of_a_share() -> None:
    shares = [right / 400 for (right,) in sums([(1,)] * 320 + [(0,)] * 80, Resampling(count=4_000), Random(3))]
    assert mean(shares) == pytest.approx(0.8, abs=0.002)
    assert stdev(shares) == pytest.approx(sqrt(0.8 * 0.2 / 400), rel=0.05)


def test_percentiles_lie_between_the_nearest_values() -> None:
    assert percentiles([30, 10, 20], 0, 0.25, 0.5, 1) == [10, 15, 20, 30]
    assert percentiles([7], 0.05) == [7]
    with pytest.raises(ValueError, match="no value"):
        percentiles([], 0.5)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": 0}, {"confidence": 0.0}, {"confidence": 1.0}])
def test_what_gives_no_interval_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least one|between 0 and 1"):
        Resampling(**wrong)  # type: ignore[arg-type]
