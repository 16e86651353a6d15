"""What a run of the benchmarks says: medians, spreads, ratios within each round. As JSON, and as a table for people."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from tests.benchmarks.case import Figure

Round = Mapping[str, float]
"""What each name measured in one round; a case that failed, or is measured fewer times, is missing."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report."""

    name: str
    median: float
    low: float
    high: float
    unit: str
    ratio_to: str | None = None
    ratio: float | None = None
    """The median over the rounds of what each round gives."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    rounds: int = 0
    """In which it was measured."""
    goal: str = ""
    reached: bool | None = None
    """None where there is no goal, or nothing to compare with."""
    what: str = ""


def results(figures: Sequence[Figure], rounds: Sequence[Round]) -> list[Result]:
    """One result per figure that was measured at all, in the order of the figures."""
    return [_result(figure, rounds) for figure in figures if any(figure.name in one for one in rounds)]


def _result(figure: Figure, rounds: Sequence[Round]) -> Result:
    values = [one[figure.name] for one in rounds if figure.name in one]
    median, low, high = (round(f(values), 3) for f in (statistics.median, min, max))
    ratios = _ratios(figure, rounds)
    ratio, ratio_low, ratio_high = (
        (round(f(ratios), 3) for f in (statistics.median, min, max)) if ratios else (None, None, None)
    )
    return Result(
        figure.name,
        median,
        low,
        high,
        figure.unit,
        figure.ratio_to,
        ratio,
        ratio_low,
        ratio_high,
        len(values),
        figure.goal,
        figure.reached(median, ratio),
        figure.what,
    )


def _ratios(figure: Figure, rounds: Sequence[Round]) -> list[float]:
    other = figure.ratio_to
    if other is None:
        return []
    return [one[figure.name] / one[other] for one in rounds if figure.name in one and one.get(other)]


def as_json(found: Sequence[Result], **facts: Any) -> dict[str, Any]:
    """The report as it stands in out/bench.json."""
    return {"results": [asdict(one) for one in found], **facts}


def number(value: float) -> str:
    """As people read it."""
    decimals = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 0
    return f"{value:,.{decimals}f}"


def table(found: Sequence[Result]) -> Table:
    """For people at a terminal."""
    shown = Table(title="Prelabel's benchmarks", title_justify="left")
    shown.add_column("name", no_wrap=True)
    for column in ("median", "low", "high"):
        shown.add_column(column, justify="right")
    shown.add_column("unit")
    shown.add_column("ratio", justify="right")
    shown.add_column("goal")
    for one in found:
        ratio = f"{one.ratio:.2f} of {one.ratio_to}" if one.ratio is not None else ""
        mark = {True: "[green]reached[/green] ", False: "[red]missed[/red] ", None: ""}[one.reached]
        shown.add_row(
            one.name,
            number(one.median),
            number(one.low),
            number(one.high),
            one.unit,
            ratio,
            mark + one.goal.partition(" of ")[0],
        )
    return shown
