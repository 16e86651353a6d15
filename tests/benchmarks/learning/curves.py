"""Learning in memory, with annotators who know: what is asked, what is learned of it, how well that does.

The same parts decide as in the service: the hold-out by hash, the order of what is asked, the scores.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from prelabel_contract.base import Json
from prelabel_contract.projects import Question
from prelabel_contract.regions import Region
from prelabel_provider.trainer import Example
from prelabel_training.examples.holdout import SHARE, in_holdout
from prelabel_training.gate.scoring import Metric, Result, measure, score, usual_metric
from prelabel_training.leases.sampling import Candidate, Mix, Strategy, order

from tests.benchmarks.case import Lost


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of a task."""

    regions: tuple[Region, ...]
    uncertainty: float | None


Taught = Callable[[Sequence[Example]], Sequence[Answer]]
"""A model: what it says of each. It is given their data, and does not look at their regions."""
Teach = Callable[[Sequence[Example], int], Taught]
"""Makes a model of examples and a seed."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Tasks whose truth is known."""

    question: Question
    examples: tuple[Example, ...]

    def parted(self, project: str, share: float = SHARE) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        """What may be asked, and the hold-out, as a project of that name has it."""
        held = [in_holdout(project, one.task, share) for one in self.examples]
        paired = list(zip(self.examples, held, strict=True))
        return tuple(one for one, out in paired if not out), tuple(one for one, out in paired if out)

    @property
    def metric(self) -> Metric:
        """What the gate compares by."""
        return usual_metric([self.question])


@dataclass(frozen=True, slots=True)
class Point:
    """A model on the curve."""

    labels: int
    """Annotated tasks."""
    score: float
    """On the hold-out, 0 to 1."""


def results(subject: Subject, taught: Taught, holdout: Sequence[Example]) -> list[Result]:
    """What a model gets right on a hold-out."""
    answers = taught(holdout)
    return [
        score(one.task, answer.regions, one.regions, [subject.question])
        for one, answer in zip(holdout, answers, strict=True)
    ]


def scored(subject: Subject, taught: Taught, holdout: Sequence[Example]) -> float:
    """By the metric that the gate compares by; nothing said where there is something to say is 0."""
    return measure(subject.metric, results(subject, taught, holdout)) or 0.0


def curve(
    subject: Subject,
    parts: tuple[Sequence[Example], Sequence[Example]],
    teach: Teach,
    strategy: Strategy | Mix,
    steps: Sequence[int],
    seed: int,
) -> Iterator[Point]:
    """Scores at these numbers of annotated tasks. The first are drawn, the same ones for every strategy.

    Each point's model says how unsure it is of what is open, as far as the strategy asks for it.
    """
    pool, holdout = parts
    chance = Random(seed)
    known = {one.task: one for one in pool}
    asked = chance.sample(sorted(known), steps[0])
    for number, step in enumerate(steps):
        taught = teach([known[task] for task in asked], seed)
        yield Point(len(asked), scored(subject, taught, holdout))
        if number + 1 < len(steps):
            left = [known[task] for task in sorted(known.keys() - set(asked))]
            answers = taught(left) if strategy is not Strategy.RANDOM else [None] * len(left)
            candidates = [
                Candidate(one.task, answer.uncertainty if answer else None, text=text_of(one.data))
                for one, answer in zip(left, answers, strict=True)
            ]
            done = [text_of(known[task].data) for task in asked]
            chosen = order(candidates, strategy, steps[number + 1] - step, chance, done=done)
            asked += [one.task for one in chosen]


def text_of(data: Mapping[str, Json]) -> str:
    """What diversity compares: where there is no text, nothing."""
    return " ".join(value for value in data.values() if isinstance(value, str))


class Full:
    """The score of a model of all that may be asked, by seed: computed once."""

    def __init__(self, subject: Subject, name: str, teach: Teach, note: Callable[[str, float], None]) -> None:
        self._subject, self._name, self._teach, self._note = subject, name, teach, note
        self._known: dict[int, float] = {}

    def __call__(self, seed: int) -> float:
        """Of the project with that seed."""
        if seed not in self._known:
            pool, holdout = self._subject.parted(f"{self._name}-{seed}")
            self._known[seed] = scored(self._subject, self._teach(pool, seed), holdout)
            self._note(f"full.{self._name}", self._known[seed])
        return self._known[seed]


def needed(points: Sequence[Point], goal: float) -> int:
    """With how many annotated tasks a score was reached first. Raises Lost where it never was."""
    for point in points:
        if point.score >= goal:
            return point.labels
    best = max(point.score for point in points)
    raise Lost(f"{goal:.3f} was not reached with {points[-1].labels} annotations: the best was {best:.3f}")


def noted(points: Sequence[Point]) -> list[list[Any]]:
    """For the report."""
    return [[point.labels, round(point.score, 4)] for point in points]
