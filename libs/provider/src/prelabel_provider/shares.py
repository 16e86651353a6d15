"""Uncertainty of many answers at once, by the shares that a model gives all labels: `uncertainty` over NumPy's arrays.

    of_rows(shares, Measure.MARGIN)     one decision a row: a text's label, a token's tag
    of_labels(shares, Measure.MARGIN)   each label of a row is a decision of its own: true, or not

For providers whose models answer in arrays: they bring NumPy, which this package does not need otherwise. The figures
are those of `uncertainty.of_distribution`. Where a share is no number there is no figure: NaN (`told` makes it None).
"""

from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from .uncertainty import Measure

Shares = NDArray[Any]
Figures = NDArray[np.float64]


def of_rows(shares: Shares, measure: Measure) -> Figures:
    """0 to 1 for each row of shares that exclude each other. They need not sum to 1."""
    rows = np.asarray(shares, np.float64)
    labels = rows.shape[1]
    if labels < 2:  # nothing else could have been said
        return np.asarray(np.where(np.isfinite(rows).all(axis=1), 0.0, np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = rows / rows.sum(axis=1, keepdims=True)
        match measure:
            case Measure.LEAST_CONFIDENCE:
                figures = (1 - rows.max(axis=1)) * labels / (labels - 1)
            case Measure.MARGIN:
                two = np.partition(rows, labels - 2, axis=1)
                figures = 1 - (two[:, -1] - two[:, -2])
            case Measure.ENTROPY:
                figures = -(rows * np.log(np.where(rows == 0, 1.0, rows))).sum(axis=1) / np.log(labels)
            case _:
                assert_never(measure)
    bounded: Figures = np.clip(figures, 0.0, 1.0)  # NaN stays
    return bounded


def of_labels(shares: Shares, measure: Measure) -> Figures:
    """0 to 1 for each row of shares beside each other, 0 to 1 each: that of its most doubtful label."""
    rows = np.clip(np.asarray(shares, np.float64), 0.0, 1.0)
    # Of two labels no measure has another order than the distance from one half, so one per row is enough.
    likelier = np.maximum(rows, 1 - rows).min(axis=1)
    return of_rows(np.stack([likelier, 1 - likelier], axis=1), measure)


def told(figures: Figures) -> list[float | None]:
    """As answers carry them."""
    unknown = np.isnan(figures)
    found: list[float | None] = figures.tolist()
    for place in np.flatnonzero(unknown).tolist():
        found[place] = None
    return found
