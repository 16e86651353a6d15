"""Progress at a terminal: a line that moves, and above it a line per turn. Elsewhere: the lines alone."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests.benchmarks import report
from tests.benchmarks.case import Case, Values


class Shown:
    """A `run.Watcher` for people."""

    def __init__(self, console: Console, cases: Sequence[Case]) -> None:
        self._console = console
        self._units = {figure.name: figure.unit for case in cases for figure in case.figures}
        columns = (SpinnerColumn(), TextColumn("{task.description:44}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=len(cases))

    def say(self, what: str) -> None:
        """What takes a while."""
        self._progress.update(self._task, description=what)
        if not self._console.is_terminal:
            self._line(what)

    def begins(self, case: Case, turn: str, number: int, rounds: int) -> None:
        """A turn of a round."""
        self.say(f"round {number} of {rounds}: {turn}")

    def measured(self, case: Case, turn: str, number: int, values: Values, seconds: float) -> None:
        """What came out."""
        for name, value in values.items():
            self._line(f"{name} {report.number(value)} {self._units[name]}   (round {number}, {seconds:.0f} s)")

    def warns(self, warning: str) -> None:
        """About a turn that is done."""
        self._line(f"[yellow]{warning}: its figures suffer[/yellow]")

    def failed(self, what: str, reason: str, trace: str) -> None:
        """Of a case or a turn: with its trace, since nobody can ask for it later."""
        self._line(f"[red]{what} failed[/red]")
        self._console.print(trace, markup=False, highlight=False, style="dim")

    def done(self, case: Case) -> None:
        """With a case."""
        self._progress.advance(self._task)

    def _line(self, line: str) -> None:
        self._console.print(line, highlight=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
