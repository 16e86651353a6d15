"""Scores as spaCy's components leave them, as answers carry them: floats from 0 to 1."""

from typing import Any

import numpy as np


def score(share: float) -> float:
    """A probability in single precision may be a hair above 1."""
    return min(1.0, max(0.0, float(share)))


def scores_of(group: Any) -> list[float] | None:
    """Of a group's spans, in their order; None: whoever wrote the group gave none, as a ruler does."""
    given = getattr(group, "attrs", {}).get("scores")
    # A component that gives each span one label writes a column, any other a row.
    return None if given is None else [score(one) for one in np.ravel(given)]
