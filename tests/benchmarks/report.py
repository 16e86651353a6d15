"""What a run of the benchmarks says: medians, spreads, ratios within each round."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

Round = Mapping[str, float]
"""What each name measured in one round."""


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


def results(rounds: Sequence[Round], *, ratio_to: Mapping[str, str], unit: str = "docs/s") -> list[Result]:
    """One result per name, in the order of the first round."""
    return [_result(name, rounds, ratio_to.get(name), unit) for name in rounds[0]]


def _result(name: str, rounds: Sequence[Round], other: str | None, unit: str) -> Result:
    values = [one[name] for one in rounds]
    ratio = round(statistics.median(one[name] / one[other] for one in rounds), 3) if other else None
    median, low, high = (round(f(values), 1) for f in (statistics.median, min, max))
    return Result(name, median, low, high, unit, other, ratio)


def as_json(found: Sequence[Result], **facts: Any) -> dict[str, Any]:
    """The report as it stands in out/bench.json."""
    return {"results": [asdict(one) for one in found], **facts}


def table(found: Sequence[Result]) -> Table:
    """For people."""
    shown = Table(title="Prelabel's benchmarks", title_justify="left")
    shown.add_column("name")
    for column in ("median", "low", "high"):
        shown.add_column(column, justify="right")
    shown.add_column("unit")
    shown.add_column("ratio", justify="right")
    for one in found:
        ratio = f"{one.ratio:.2f} of {one.ratio_to}" if one.ratio is not None else ""
        shown.add_row(one.name, f"{one.median:,.0f}", f"{one.low:,.0f}", f"{one.high:,.0f}", one.unit, ratio)
    return shown


def hops(title: str, microseconds: Mapping[str, float]) -> Table:
    """CPU time per task by process."""
    shown = Table(title=title, title_justify="left")
    shown.add_column("process")
    shown.add_column("CPU µs per task", justify="right")
    for name, cost in microseconds.items():
        shown.add_row(name, f"{cost:,.0f}")
    return shown
