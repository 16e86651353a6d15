"""Is it worth going on annotating? A signal for people, with its reason. Nothing is stopped by it.

Said when nothing is left to ask, when the last versions learned nothing from what was added, or when the model is sure
of nearly all that is open. Each can be wrong by itself, so each has what speaks against it: with a small hold-out every
curve looks flat, which is no reason; a model that is still learning and already sure is too sure of itself, and one of
few versions may be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why, in one word for machines."""

    NOTHING_LEFT = "nothing_left"
    """Stop: no task is open."""
    FLAT = "flat"
    """Stop: the last versions score the same within the interval, of which the examples grew by enough to tell."""
    CERTAIN = "certain"
    """Stop: the model is sure of nearly all open tasks."""
    LEARNING = "learning"
    """Go on: the last versions differ by more than the interval allows."""
    UNSURE = "unsure"
    """Go on: the interval is too wide to tell a flat curve from one that rises."""
    TOO_EARLY = "too_early"
    """Go on: there are too few versions, or they learned from too much the same."""


@dataclass(frozen=True, slots=True)
class Point:
    """A version on the learning curve. Raises ValueError when the score lies outside of its interval."""

    examples: int
    """It learned from so many."""
    score: float
    """On the hold-out, 0 to 1, by the project's metric."""
    lower: float
    upper: float
    """The ends of its interval."""
    alike: bool = True
    """Scored on the newest one's hold-out; False: on that of its own day, whose tasks may be others."""

    def __post_init__(self) -> None:
        if not 0 <= self.lower <= self.score <= self.upper <= 1 or self.examples < 0:
            raise ValueError("a point has examples from 0, and a score from 0 to 1 within its interval")


@dataclass(frozen=True, slots=True)
class StopRules:
    """When it is enough. Raises ValueError for rules that nothing could meet, or everything."""

    versions: int = 3
    """So many points in a row score the same. At least 2."""
    growth: float = 1.25
    """From the first of them to the last the examples grew by this factor at least: more than 1."""
    widest: float = 0.1
    """The widest interval (upper less lower) that a curve is called flat by, above 0 to 1."""
    low: float = 0.1
    """Uncertainty up to which a model is sure of a task, 0 to less than 1."""
    share: float = 0.95
    """The model is sure of so many of all open tasks, above 0 to 1. One of unknown uncertainty it is not sure of."""
    minimum: int = 50
    """Open tasks below which their uncertainty says nothing: there are so few left that they can be asked."""

    def __post_init__(self) -> None:
        if self.versions < 2 or not 1 < self.growth < float("inf") or self.minimum < 1:
            raise ValueError("a curve has at least 2 versions and grows; at least one task is looked at")
        if not (0 < self.widest <= 1 and 0 <= self.low < 1 and 0 < self.share <= 1):
            raise ValueError("width, uncertainty and share lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class Signal:
    """Whether to stop, and why."""

    stop: bool
    reason: Reason
    text: str
    """One sentence for people."""


def signal(curve: Sequence[Point], open_tasks: Sequence[float | None], rules: StopRules) -> Signal:
    """Whether it is worth going on.

    `curve`: the versions in the order in which they were trained; the sentence says which of the last `rules.versions`
    were scored on other hold-outs than the newest. `open_tasks`: the uncertainty of each task that can still be asked,
    in any order (None: not known). Raises ValueError for an uncertainty out of range.
    """
    if not all(one is None or 0 <= one <= 1 for one in open_tasks):
        raise ValueError("uncertainty lies between 0 and 1")
    if not open_tasks:
        return Signal(True, Reason.NOTHING_LEFT, "Stop: no task is left to ask.")
    shown = _shown(curve, rules)
    sure = sum(one is not None and one <= rules.low for one in open_tasks)
    # A model that learns, or of which nobody knows yet whether it does, and is sure of everything may be sure of the
    # wrong things.
    certain = len(open_tasks) >= rules.minimum and sure >= rules.share * len(open_tasks)
    known = len(curve) >= rules.versions and shown.reason is not Reason.LEARNING
    if certain and known and not shown.stop:
        return Signal(
            True,
            Reason.CERTAIN,
            f"Stop: the model is sure of {sure} of {len(open_tasks)} open tasks (uncertainty up to {rules.low:g}).",
        )
    return shown


def _shown(curve: Sequence[Point], rules: StopRules) -> Signal:
    """What the curve alone says."""
    last = curve[-rules.versions :]
    if len(last) < rules.versions:
        text = f"Go on: {len(curve)} of the {rules.versions} versions that show a curve are there."
        return Signal(False, Reason.TOO_EARLY, text)
    newest, first = last[-1], last[0]
    over = f"from {first.examples} to {newest.examples} examples"
    scored = f"the last {rules.versions} versions score {first.score:.3f} to {newest.score:.3f} {over}"
    if apart := sum(not point.alike for point in last):
        scored = f"{scored} ({apart} of them on earlier hold-outs, whose tasks may differ)"
    interval = f"the interval is {newest.lower:.3f} to {newest.upper:.3f}"
    if not all(newest.lower <= point.score <= newest.upper for point in last):
        return Signal(False, Reason.LEARNING, f"Go on: {scored}, and {interval}.")
    if newest.examples < rules.growth * first.examples or newest.examples <= first.examples:
        return Signal(False, Reason.TOO_EARLY, f"Go on: {over} is too little growth to judge by.")
    if newest.upper - newest.lower > rules.widest:
        return Signal(False, Reason.UNSURE, f"Go on: {interval}, too wide to tell; more hold-out tasks would help.")
    return Signal(
        True, Reason.FLAT, f"Stop: {scored}, all within the interval {newest.lower:.3f} to {newest.upper:.3f}."
    )
