"""A learning curve on a terminal: points with their intervals over the number of examples, drawn in characters."""

from collections.abc import Sequence
from dataclasses import dataclass

AXIS = 6
"""Characters of what stands before the drawing."""


@dataclass(frozen=True, slots=True)
class Point:
    """One version."""

    x: float
    value: float
    low: float
    high: float
    filled: bool = False
    """Drawn as one that serves or has served."""
    few: bool = False
    """Drawn as one that says little, whatever became of it."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What it is drawn with."""

    filled: str = "●"
    hollow: str = "○"
    few: str = "◌"
    bar: str = "│"
    level: str = "╌"
    axis: str = "┤"
    corner: str = "└"
    floor: str = "─"


ASCII = Signs("@", "o", "?", "|", "-", "|", "+", "-")


def drawn(
    points: Sequence[Point], *, width: int, height: int = 12, level: float | None = None, signs: Signs | None = None
) -> list[str]:
    """The lines of a drawing, `width` characters wide; `level` is a line across it (what served before any of them).

    Nothing for no points.
    """
    if not points:
        return []
    signs = signs or Signs()
    values = [one for point in points for one in (point.low, point.high, point.value)]
    values += [] if level is None else [level]
    bottom, top = _range(min(values), max(values))
    columns = max(10, width - AXIS - 1)
    first, last = min(point.x for point in points), max(point.x for point in points)
    canvas = [[" "] * columns for _ in range(height)]

    def row(value: float) -> int:
        return round((top - value) / (top - bottom) * (height - 1))

    def column(x: float) -> int:
        return columns // 2 if last == first else 1 + round((x - first) / (last - first) * (columns - 3))

    if level is not None:
        canvas[row(level)] = [signs.level] * columns
    for point in points:
        for place in range(row(point.high), row(point.low) + 1):
            canvas[place][column(point.x)] = signs.bar
    for point in points:
        canvas[row(point.value)][column(point.x)] = _sign(point, signs)
    return [*_sided(canvas, bottom, top, signs), *_floor(first, last, columns, signs)]


def _sign(point: Point, signs: Signs) -> str:
    if point.few:
        return signs.few
    return signs.filled if point.filled else signs.hollow


def _range(low: float, high: float) -> tuple[float, float]:
    """The range that is shown: on tenths or twentieths, never flat."""
    step = 0.1 if high - low > 0.3 else 0.05
    bottom, top = int(low / step) * step, -int(-high / step) * step
    top = top + step if top < high else top
    if top - bottom < step / 2:
        bottom, top = bottom - step, top + step
    return max(0.0, bottom), min(1.0, top) if top > max(0.0, bottom) else 1.0


def _sided(canvas: Sequence[Sequence[str]], bottom: float, top: float, signs: Signs) -> list[str]:
    told = {0: top, len(canvas) // 2: top - (top - bottom) * (len(canvas) // 2) / (len(canvas) - 1)}
    told[len(canvas) - 1] = bottom
    return [
        f"{f'{told[place]:.2f}' if place in told else '':>{AXIS - 1}} {signs.axis}{''.join(line).rstrip()}"
        for place, line in enumerate(canvas)
    ]


def _floor(first: float, last: float, columns: int, signs: Signs) -> list[str]:
    left, right = f"{first:,.0f}", f"{last:,.0f}"
    names = f"{left:^{columns}}" if first == last else left + " " * max(1, columns - len(left) - len(right)) + right
    return [" " * AXIS + signs.corner + signs.floor * columns, " " * (AXIS + 1) + names + "  examples"]
