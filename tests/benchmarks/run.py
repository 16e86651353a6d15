"""Measures cases, round by round. What fails is left out and named; the rest goes on."""

import time
import traceback
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from deploy.local.errors import ServerError
from tests.benchmarks.case import Case, Figure, Lost, Turn, Values
from tests.benchmarks.processes import OthersUse
from tests.benchmarks.stage import Stage

QUIET = 0.25
"""Cores that others may use, on average over a turn, before it is said that its figures suffer."""


class Watcher(Protocol):
    """Told what goes on."""

    def begins(self, case: Case, turn: str, number: int, rounds: int) -> None:
        """A turn of a round, from 1."""

    def measured(self, case: Case, turn: str, number: int, values: Values, seconds: float) -> None:
        """What came out."""

    def warns(self, warning: str) -> None:
        """About a turn that is done."""

    def failed(self, what: str, reason: str, trace: str) -> None:
        """A case or a turn, for good."""

    def done(self, case: Case) -> None:
        """With a case, whatever came of it."""


@dataclass(slots=True)
class Found:
    """Everything that a run has found, as far as it came."""

    figures: list[Figure] = field(default_factory=list)
    """Of the cases that were begun."""
    rounds: list[dict[str, float]] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """How long each turn took, by its name."""
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons, by case or turn."""
    warnings: list[str] = field(default_factory=list)
    without_server: bool = False
    """A server could not be started: that is the machine's fault."""

    def add(self, number: int, values: Values) -> None:
        """Of a round, from 1."""
        while len(self.rounds) < number:
            self.rounds.append({})
        self.rounds[number - 1] |= values


def measure(cases: Iterable[Case], stage: Stage, found: Found, watcher: Watcher, *, quiet: float = QUIET) -> None:
    """Fills `found`, which holds what is known whenever this ends. `quiet`: cores that others may use meanwhile."""
    for case in cases:
        found.figures += case.figures
        try:
            with ExitStack() as stack:
                turns = stack.enter_context(case.start(stage))
                _rounds(case, turns, stage, found, watcher, quiet)
        except Exception as error:
            _note(case.name, error, found, watcher)
        watcher.done(case)


def _rounds(case: Case, turns: Iterable[Turn], stage: Stage, found: Found, watcher: Watcher, quiet: float) -> None:
    left = list(turns)
    rounds = case.rounds_of(stage.sizes)
    for number in range(1, rounds + 1):
        for turn in tuple(left):
            watcher.begins(case, turn.name, number, rounds)
            others = OthersUse()
            began = time.monotonic()
            try:
                values = turn.measure(number)
                _check(case, values)
            except Exception as error:
                left.remove(turn)  # what it stands on may be broken: asked again, it would keep all others waiting
                _note(turn.name, error, found, watcher)
                continue
            seconds = time.monotonic() - began
            found.add(number, values)
            found.seconds.setdefault(turn.name, []).append(round(seconds, 1))
            watcher.measured(case, turn.name, number, values, seconds)
            if (cores := others.cores()) > quiet:
                found.warnings.append(f"{turn.name}, round {number}: others used {cores:.1f} cores meanwhile")
                watcher.warns(found.warnings[-1])


def _check(case: Case, values: Values) -> None:
    if unknown := set(values) - {figure.name for figure in case.figures}:
        raise Lost(f"{case.name} promises no {', '.join(sorted(unknown))}")


def _note(what: str, error: Exception, found: Found, watcher: Watcher) -> None:
    reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0][:300]
    found.failed[what] = reason
    found.without_server |= isinstance(error, ServerError)
    watcher.failed(what, reason, "".join(traceback.format_exception(error)))
