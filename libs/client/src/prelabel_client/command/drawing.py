"""A model's learning curve, drawn on a terminal."""

from typing import TYPE_CHECKING

from .output import Out, speaks_unicode
from .plot import ASCII, Point, Signs, drawn

if TYPE_CHECKING:
    from ..models_learning import Curve, CurvePoint

WIDEST = 100
"""Characters."""


def draw(out: Out, curve: "Curve", before: float | None = None) -> None:
    """The versions that were scored by the curve's metric; `before`: what served before any of them. Else nothing."""
    shown = [one for one in curve.points if one.score is not None and one.metric == curve.metric]
    points = [_point(one, one.score) for one in shown if one.score is not None]
    if not points:
        return
    signs = Signs() if speaks_unicode() else ASCII
    metric = (curve.metric or "score").replace("_", " ")
    out.line(f"{curve.model}: {metric} on the hold-out; {curve.serving} serves")
    for line in drawn(points, width=min(out.console.width - 12, WIDEST), level=before, signs=signs):
        out.line(line)
    if few := [str(one.tasks) for one in shown if not one.enough]:
        out.line(f"{signs.few} few: scored on so few held-out tasks that it says little ({', '.join(few)})")


def _point(one: "CurvePoint", score: float) -> Point:
    low, high = (score if end is None else end for end in (one.low, one.high))
    return Point(one.examples, score, min(low, score), max(high, score), filled=one.served, few=not one.enough)
