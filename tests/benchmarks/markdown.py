"""The report as Markdown, from its JSON: out/bench.md, and the block of docs/benchmarks.md that a run has written."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.benchmarks.report import number

BEGIN = "<!-- results: begin (written by `python -m tests.benchmarks --write-docs`) -->"
END = "<!-- results: end -->"
_WORDS = {True: "reached", False: "**missed**", None: ""}


class NoMarkers(Exception):
    """The document has no place for results."""


def markdown(report: Mapping[str, Any], plots: Sequence[tuple[str, str]] = ()) -> str:
    """The whole report. `plots`: a title and an address each."""
    return "\n".join(_lines(report, plots)).strip() + "\n"


def written_into(document: str, results: str) -> str:
    """The document with other results between its markers. Raises NoMarkers."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoMarkers(f"no line {BEGIN} and, below it, {END}")
    return f"{before}{BEGIN}\n\n{results.strip()}\n\n{END}{after}"


def _lines(report: Mapping[str, Any], plots: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield f"{report['machine']}; `{report['command']}`, {report['date']}, commit {report['commit']}."
    yield ""
    yield from _table(
        ("name", "median", "low", "high", "unit", "rounds", "ratio", "goal", ""),
        "lrrrlrlll",
        (_row(one) for one in report["results"]),
    )
    if report["failed"]:
        yield "Not measured:"
        yield ""
        yield from (f"- `{name}`: {reason}" for name, reason in report["failed"].items())
        yield ""
    if report["warnings"]:
        yield f"{len(report['warnings'])} turns were disturbed: others used the processors meanwhile."
        yield ""
        yield from (f"- {warning}" for warning in report["warnings"])
        yield ""
    yield from (line for title, address in plots for line in (f"![{title}]({address})", ""))
    yield from _costs(report["cpu_us_per_task"])


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    spread = ""
    if one["ratio"] is not None:
        spread = f"{one['ratio']:.2f} ({one['ratio_low']:.2f} to {one['ratio_high']:.2f}) of `{one['ratio_to']}`"
    figures = (number(one[key]) for key in ("median", "low", "high"))
    return (f"`{one['name']}`", *figures, one["unit"], str(one["rounds"]), spread, one["goal"], _WORDS[one["reached"]])


def _costs(costs: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    if not costs:
        return
    yield "CPU time per task, by process, in the same run (µs):"
    yield ""
    processes = dict.fromkeys(process for one in costs.values() for process in one)
    rows = (
        (process, *(number(one[process]) if process in one else "" for one in costs.values())) for process in processes
    )
    yield from _table(("process", *costs), "l" + "r" * len(costs), rows)


def _table(head: Sequence[str], sides: str, rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join("---:" if side == "r" else "---" for side in sides) + "|"
    yield from ("| " + " | ".join(row) + " |" for row in rows)
    yield ""
