"""Scores as spaCy's components leave them, as answers carry them: floats from 0 to 1."""

import math
from typing import Any

import numpy as np


class NotFinite(ValueError):
    """A pipeline said NaN: whatever label comes first of such numbers was not said."""


def score(share: float) -> float:
    """A probability in single precision may be a hair above 1. Raises `NotFinite`."""
    if not math.isfinite(share):
        raise NotFinite("the model said a number that is not finite")
    return min(1.0, max(0.0, float(share)))


def scores_of(group: Any) -> list[float] | None:
    """Of a group's spans, in their order; None: whoever wrote the group gave none, as a ruler does."""
    given = getattr(group, "attrs", {}).get("scores")
    # A component that gives each span one label writes a column, any other a row.
    return None if given is None else [score(one) for one in np.ravel(given)]
