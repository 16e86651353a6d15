"""Uncertainty of arrays is that of their rows, one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_provider.shares import of_labels, of_rows, told
from prelabel_provider.uncertainty import Measure, of_distribution

_SHARES = st.integers(1, 6).flatmap(
    lambda labels: st.lists(st.lists(st.floats(1e-3, 1), min_size=labels, max_size=labels), min_size=1, max_size=5)
)


@pytest.mark.parametrize("measure", Measure)
@given(rows=_SHARES)
def test_rows_have_the_figures_of_their_distributions(measure: Measure, rows: list[list[float]]) -> None:
    assert of_rows(np.array(rows), measure) == pytest.approx([of_distribution(row, measure) for row in rows], abs=1e-9)


@pytest.mark.parametrize("measure", Measure)
@given(rows=_SHARES)
def test_labels_beside_each_other_are_as_unsure_as_the_most_doubtful(measure: Measure, rows: list[list[float]]) -> None:
    each = [max(of_distribution((share, 1 - share), measure) for share in row) for row in rows]
    assert of_labels(np.array(rows), measure) == pytest.approx(each, abs=1e-9)


@pytest.mark.parametrize(
    ("measure", "figure"), [(Measure.MARGIN, 0.8), (Measure.LEAST_CONFIDENCE, 0.75), (Measure.ENTROPY, 0.9463946304)]
)
def test_each_measure_says_what_it_says(measure: Measure, figure: float) -> None:
    shares = (0.5, 0.3, 0.2) if measure is not Measure.ENTROPY else (0.5, 0.25, 0.25)
    assert of_rows(np.array([shares]), measure) == pytest.approx([figure])


@pytest.mark.parametrize("measure", Measure)
def test_sure_is_nothing_and_a_guess_is_everything(measure: Measure) -> None:
    shares = np.array([[0, 0, 1], [1, 1, 1], [np.nan, 0.5, 0.5], [0, 0, 0]], np.float32)
    assert told(of_rows(shares, measure)) == [0.0, pytest.approx(1.0), None, None]
    assert told(of_labels(np.array([[0, 1], [0.5, 1], [np.nan, 1]]), measure)) == [0.0, pytest.approx(1.0), None]
