"""The report as Markdown, from its JSON: out/bench.md, and the blocks of docs/benchmarks.md."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.case import Case, Figure
from tests.benchmarks.report import number


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a document that a program writes, between two lines that stay."""

    name: str
    command: str
    """What writes it."""

    @property
    def begin(self) -> str:
        """The line before it."""
        return f"<!-- {self.name}: begin (written by `{self.command}`) -->"

    @property
    def end(self) -> str:
        """The line behind it."""
        return f"<!-- {self.name}: end -->"

    def written_into(self, document: str, content: str) -> str:
        """The document with other content between the lines. Raises NoMarkers."""
        before, begin, rest = document.partition(self.begin)
        _, end, after = rest.partition(self.end)
        if not begin or not end:
            raise NoMarkers(f"no line {self.begin} and, below it, {self.end}")
        return f"{before}{self.begin}\n\n{content.strip()}\n\n{self.end}{after}"


_WORDS = {True: "reached", False: "**missed**", None: ""}


class NoMarkers(Exception):
    """The document has no place for what should be written into it."""


def markdown(report: Mapping[str, Any], plots: Sequence[tuple[str, str]] = ()) -> str:
    """The whole report. `plots`: a title and an address each."""
    return "\n".join(_lines(report, plots)).strip() + "\n"


def figures(cases: Iterable[Case]) -> str:
    """What the cases measure, as a table."""
    rows = ((f"`{one.name}`", one.unit, one.what, _goal(one)) for case in cases for one in case.figures)
    return "\n".join(_table(("name", "unit", "what", "goal"), "llll", rows)).strip() + "\n"


def _goal(one: Figure) -> str:
    return one.goal.replace(one.ratio_to, f"`{one.ratio_to}`") if one.ratio_to else one.goal


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
