"""How unsure a model is of one prediction: a figure of its own beside the score, 0 (sure) to 1 (it may as well guess).

A model decides: which label a text has, a token, a region. Each decision has an uncertainty, and a prediction's is
made of its decisions'. Where the model gives the shares of all labels of a decision (of a text, or token by token),
these say most: they cover what was not said too. Otherwise there is the score of what was said, the share of one label
alone; of the others only the sum is known, and the worst that it allows is assumed. So a higher score never means more
uncertainty, and a score of a half or less is as unsure as can be by margin and entropy.

A model that gives neither has no uncertainty, which is not the same as being sure: None, never 0.
"""

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import assert_never

from prelabel_contract.regions import RegionBase


class Measure(StrEnum):
    """What makes a single decision unsure. Of two labels all three give the same order."""

    LEAST_CONFIDENCE = "least_confidence"
    """The best label's share is low. Of a score: what it lacks of 1."""
    MARGIN = "margin"
    """The second label's share is close to the best one's."""
    ENTROPY = "entropy"
    """The shares are spread over all labels."""


class Gathering(StrEnum):
    """How the uncertainty of many decisions becomes one."""

    HIGHEST = "highest"
    """The most unsure of them. The default: one doubtful name is worth a look, in a long text as in a short one."""
    MEAN = "mean"
    """The average. Over the tokens of a text it is low: most tokens are nothing, and surely so."""
    ANY = "any"
    """As though each were the chance of a mistake: that there is one anywhere. Long texts come first."""


def uncertainty(
    regions: Iterable[RegionBase],
    measure: Measure = Measure.LEAST_CONFIDENCE,
    gathering: Gathering = Gathering.HIGHEST,
    *,
    distributions: Iterable[Sequence[float]] = (),
) -> float | None:
    """How unsure the model is of a prediction, 0 to 1. None: it gives no scores (or found nothing to give them to).

    `distributions`: for each decision, a text's or each token's, the shares of all of its labels, the absence of one
    included. Where there are any, they count and the scores do not. Regions without a score are passed over, those
    below the threshold of their project are not: the threshold is the project's word, the doubt the model's.
    Raises ValueError for shares that are none.
    """
    found = [of_distribution(shares, measure) for shares in distributions]
    if not found:
        found = [of_score(region.score, measure) for region in regions if region.score is not None]
    return gathered(found, gathering) if found else None


def of_distribution(shares: Sequence[float], measure: Measure) -> float:
    """Of one decision, by the shares of all its labels: 0 when one has everything, 1 when all have the same.

    In any order; they are scaled to a sum of 1, which floats seldom have. By margin 1 means that the two best have
    the same. Raises ValueError when one is negative or no number, or none is positive.
    """
    if not all(math.isfinite(share) and share >= 0 for share in shares):
        raise ValueError("the shares of labels are numbers from 0")
    highest = max(shares, default=0.0)
    if highest <= 0:
        raise ValueError("a decision has at least one label with a share")
    # By the highest first: shares near the ends of what a float holds would have no sum.
    scaled = sorted((share / highest for share in shares), reverse=True)
    whole = math.fsum(scaled)
    ordered = [share / whole for share in scaled]
    labels = len(ordered)
    if labels == 1:
        return 0.0
    match measure:
        case Measure.LEAST_CONFIDENCE:
            return _bounded((1 - ordered[0]) * labels / (labels - 1))
        case Measure.MARGIN:
            return _bounded(1 - (ordered[0] - ordered[1]))
        case Measure.ENTROPY:
            return _bounded(-math.fsum(share * math.log(share) for share in ordered if share) / math.log(labels))
    assert_never(measure)


def of_score(score: float, measure: Measure) -> float:
    """Of one decision of which the best label's share alone is known, 0 to 1. Never higher for a higher score.

    Raises ValueError for a score out of range.
    """
    if not 0 <= score <= 1:  # also where it is no number
        raise ValueError("a score lies between 0 and 1")
    match measure:
        case Measure.LEAST_CONFIDENCE:
            return 1 - score
        case Measure.MARGIN | Measure.ENTROPY:
            # One other label may have all the rest, and as much as this one.
            return 1.0 if score <= 0.5 else of_distribution((score, 1 - score), measure)
    assert_never(measure)


def gathered(found: Sequence[float], gathering: Gathering) -> float:
    """One figure of many, each 0 to 1. The order changes nothing. Raises ValueError without any."""
    if not found:
        raise ValueError("nothing to gather")
    match gathering:
        case Gathering.HIGHEST:
            return max(found)
        case Gathering.MEAN:
            return _bounded(math.fsum(found) / len(found))
        case Gathering.ANY:
            return _bounded(1 - math.prod(1 - one for one in sorted(found)))
    assert_never(gathering)


def _bounded(value: float) -> float:
    """Within 0 and 1, whatever floating point makes of it."""
    return min(1.0, max(0.0, value))
