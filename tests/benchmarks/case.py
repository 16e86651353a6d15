"""What a case of the benchmarks is: figures that it promises, and a setup in which they are measured, turn by turn.

    @contextmanager
    def start(stage: Stage) -> Iterator[list[Turn]]:
        with stage.all_in_one("ner", ["spacy"]) as prelabel:
            yield [Turn("ner.bare", ...), Turn("ner.sqlite", ...)]

    CASE = Case("ner", (Figure("ner.bare", "docs/s", "the model alone"), ...), start)

The turns of a case are what is compared: they are taken one after the other, round by round, so that a slow minute of
the machine slows them all. Cases follow each other, each with what it needs alone.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.benchmarks.stage import Stage

Values = Mapping[str, float]
"""Figures by name."""


class Lost(Exception):
    """What was asked for did not come out as it should: there is nothing to measure."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    long_rounds: int
    """Of cases that take minutes."""
    texts: int
    """For models that take milliseconds."""
    slow: int
    """Texts for models that take tens of milliseconds."""
    many: int
    """Tasks, for models that take microseconds."""
    lines: int
    """Of one upload that is only ingested."""
    backlog: int
    """Tasks that wait while somebody asks for one prediction."""
    requests: int
    """Of somebody who waits for each."""
    fair: int
    """Tasks of a project, beside one with a hundred times as many."""
    memory: int
    """Tasks over which memory is watched, on SQLite."""
    memory_kafka: int
    """The same with a process per service, where each is watched."""
    peers: int
    """Texts that another program is given."""
    seconds: float
    """How long a rate is watched."""
    workers: tuple[int, ...]
    """How many work side by side, turn by turn."""
    skipped: tuple[str, ...] = ()
    """Figures, by the beginnings of their names, that are measured only when asked for."""


FULL = Sizes(
    rounds=5,
    long_rounds=5,
    texts=4000,
    slow=300,
    many=60_000,
    lines=1_000_000,
    backlog=100_000,
    requests=120,
    fair=200,
    memory=1_000_000,
    memory_kafka=50_000,
    peers=1200,
    seconds=8.0,
    workers=(1, 2, 4, 8),
)
"""About an hour and a half on two quiet cores, other programs included; `--list` tells of which."""
QUICK = Sizes(
    rounds=1,
    long_rounds=1,
    texts=500,
    slow=24,
    many=9_000,
    lines=15_000,
    backlog=3000,
    requests=25,
    fair=100,
    memory=8000,
    memory_kafka=4000,
    peers=200,
    seconds=3.0,
    workers=(1, 8),
    skipped=(
        *("echo", "fairness", "hops", "ingest.sqlite", "interactive.sqlite"),
        *("memory", "ner.beside", "remote.others", "remote.untold", "workers"),
    ),
)
"""Under 5 minutes: what the main figures need, once."""
TINY = Sizes(
    rounds=1,
    long_rounds=1,
    texts=300,
    slow=24,
    many=4000,
    lines=4000,
    backlog=1000,
    requests=10,
    fair=20,
    memory=2000,
    memory_kafka=2000,
    peers=50,
    seconds=2.0,
    workers=(1, 2),
)
"""To see that the cases work at all: their figures say nothing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the report, and what it should be.

    With `ratio_to`, the bounds are about the ratio to that other figure, taken within each round; without, about the
    median itself.
    """

    name: str
    unit: str
    what: str
    """How it is measured, in a line."""
    ratio_to: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def reached(self, median: float, ratio: float | None) -> bool | None:
        """Whether the goal is; None where there is none, or no other figure to compare with."""
        value = ratio if self.ratio_to else median
        if value is None or (self.at_least is None and self.at_most is None):
            return None
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    @property
    def goal(self) -> str:
        """The bounds, for people."""
        bounds = [f"≥ {self.at_least:,g}"] if self.at_least is not None else []
        bounds += [f"≤ {self.at_most:,g}"] if self.at_most is not None else []
        of = f" of {self.ratio_to}" if bounds and self.ratio_to else ""
        return " and ".join(bounds) + of


@dataclass(frozen=True, slots=True)
class Turn:
    """What is measured in one go."""

    name: str
    """That of its figure, or what the names of its figures begin with."""
    measure: Callable[[int], Values]
    """Given the round, from 1: what is left behind by one round must not meet the next."""


Start = Callable[["Stage"], AbstractContextManager[Sequence[Turn]]]


@dataclass(frozen=True, slots=True)
class Case:
    """A setup, and what is measured in it."""

    name: str
    figures: tuple[Figure, ...]
    start: Start
    """Gives the turns; called with a stage whose `wants` says which are."""
    rounds: int | None = None
    """At most, for what takes very long."""
    long: bool = False
    """Measured in `long_rounds`."""
    only_if_named: str = ""
    """What has to be asked for on the command line; empty: always measured."""

    def rounds_of(self, sizes: Sizes) -> int:
        """How often each turn is taken."""
        rounds = sizes.long_rounds if self.long else sizes.rounds
        return min(self.rounds or rounds, rounds)

    def restricted(self, wanted: Callable[[str], bool]) -> "Case":
        """With those of its figures that are wanted."""
        return replace(self, figures=tuple(figure for figure in self.figures if wanted(figure.name)))
