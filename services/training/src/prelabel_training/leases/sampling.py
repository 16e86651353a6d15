"""The order in which open tasks are asked: those first from whose answers a model learns most.

By one strategy, or by several that take turns. Every order is a decision over what is handed in: the same candidates
and the same seed give the same order, in whatever order they come, and no task is in it twice.

A task that nothing is known of (the model gives no scores, or found nothing to give one to; a single provider) comes in
the middle of those that something is known of. First, a model without scores would fill every queue; last, what a model
overlooks would never be asked. Among equals it is drawn.

Orders by uncertainty and disagreement and at random take under 0.1 s of CPU for 10,000 tasks; diversity looks at a pool
of at most 2,000 and takes seconds, see diversity.py: not on an event loop.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, pairwise
from random import Random
from statistics import fmean, median
from typing import Final

from prelabel_contract.projects import Question
from prelabel_contract.regions import RegionBase

from ..gate.scoring import score
from .diversity import spread

POOL: Final = 2_000
"""Tasks that diversity chooses from: more are drawn down to so many."""
SPREAD: Final = 250
"""Tasks that diversity chooses, and texts that it keeps away from. What comes after them is drawn."""


class Strategy(StrEnum):
    """What makes a task worth asking."""

    UNCERTAINTY = "uncertainty"
    """The model is unsure of it."""
    DISAGREEMENT = "disagreement"
    """Providers say different things of it."""
    DIVERSITY = "diversity"
    """It is unlike what was asked before."""
    RANDOM = "random"
    """Nothing: what every other strategy is measured against, and the only one that shows the data as they are."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task that is open, and what is known of it. Raises ValueError for figures out of range."""

    task: str
    """Its uid."""
    uncertainty: float | None = None
    """Of its current prediction, 0 to 1. None: not known."""
    disagreement: float | None = None
    """Between the providers that predicted it, 0 to 1. None: fewer than two did."""
    text: str = ""
    """What diversity compares: the fields that the project's questions are about."""

    def __post_init__(self) -> None:
        for figure in (self.uncertainty, self.disagreement):
            if figure is not None and not 0 <= figure <= 1:
                raise ValueError(f"uncertainty and disagreement lie between 0 and 1, not {figure}")


@dataclass(frozen=True, slots=True)
class Turn:
    """A strategy of a mix, and its part of what is asked."""

    strategy: Strategy
    share: float
    """More than 0. Shares are held against their sum, which may be any."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Strategies that take turns, each by its share. Raises ValueError for one named twice, or a share of nothing."""

    turns: tuple[Turn, ...]

    def __post_init__(self) -> None:
        if not self.turns or len({turn.strategy for turn in self.turns}) < len(self.turns):
            raise ValueError("a mix names at least one strategy, and none twice")
        if not all(0 < turn.share < float("inf") for turn in self.turns):
            raise ValueError("the shares of a mix are numbers above 0")


USUAL: Final = Mix((Turn(Strategy.UNCERTAINTY, 0.6), Turn(Strategy.DIVERSITY, 0.2), Turn(Strategy.RANDOM, 0.2)))
"""Where a project says nothing: mostly what is doubtful, and something of what no model has a notion of."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A task in its turn."""

    task: str
    by: Strategy
    """The strategy whose turn it was: what came of its tasks tells what it is worth."""


def order(
    candidates: Iterable[Candidate], strategy: Strategy | Mix, count: int, rng: Random, *, done: Sequence[str] = ()
) -> list[Asked]:
    """The first `count` tasks to ask (all of them if there are fewer), each once.

    `done`: texts that were asked already, the last ones last; diversity keeps away from the last `SPREAD` of them.
    Raises ValueError for a task handed in twice, and for a negative count.
    """
    known = _by_task(candidates)
    if count < 0:
        raise ValueError("no fewer than no task can be asked")
    mix = Mix((Turn(strategy, 1.0),)) if isinstance(strategy, Strategy) else strategy
    # Shuffled from a fixed order: whatever sorts them later leaves equals as they were drawn.
    drawn = rng.sample(known, len(known))
    queues = {turn.strategy: _ORDERS[turn.strategy](drawn, done) for turn in mix.turns}
    return _in_turns(queues, mix, min(count, len(known)))


def disagreement(predictions: Sequence[Iterable[RegionBase]], questions: Sequence[Question]) -> float | None:
    """How much the current predictions of one task, one per provider, differ: 0 (not at all) to 1 (in everything).

    One minus the F1 of one against another, averaged over all pairs: things match as they do in scoring.py, regions
    below their threshold were not said. None: fewer than two predictions, or no question that is scored.
    """
    said = [tuple(each) for each in predictions]
    pairs = [(one, other) for place, one in enumerate(said) for other in said[:place]]
    results = [score("", one, other, questions) for one, other in pairs]
    if not results or not results[0].asked:
        return None
    found = [result.counts.f1 for result in results]
    # Not defined: both say nothing, of which they agree.
    return 1 - fmean(1.0 if f1 is None else f1 for f1 in found)


def _by_task(candidates: Iterable[Candidate]) -> list[Candidate]:
    known = sorted(candidates, key=lambda one: one.task)
    for one, other in pairwise(known):
        if one.task == other.task:
            raise ValueError(f"task {one.task} is a candidate twice")
    return known


def _in_turns(queues: Mapping[Strategy, Iterator[str]], mix: Mix, count: int) -> list[Asked]:
    """The next task is asked by whoever is owed most; a task that another has asked is passed over."""
    whole = sum(turn.share for turn in mix.turns)
    shares = {turn.strategy: turn.share / whole for turn in mix.turns}
    had = dict.fromkeys(shares, 0)
    seen: set[str] = set()
    asked: list[Asked] = []
    while len(asked) < count:
        by = max(shares, key=lambda one: shares[one] * (len(asked) + 1) - had[one])
        task = next(task for task in queues[by] if task not in seen)
        seen.add(task)
        had[by] += 1
        asked.append(Asked(task, by))
    return asked


# Each gives all of the candidates: a queue never runs dry before everything is asked.


def _by_figure(drawn: Sequence[Candidate], figure: Callable[[Candidate], float | None]) -> Iterator[str]:
    told = [value for one in drawn if (value := figure(one)) is not None]
    middle = median(told) if told else 0.0

    def highest_first(one: Candidate) -> float:
        value = figure(one)
        return -(middle if value is None else value)

    return (one.task for one in sorted(drawn, key=highest_first))


def _by_uncertainty(drawn: Sequence[Candidate], _done: Sequence[str]) -> Iterator[str]:
    return _by_figure(drawn, lambda one: one.uncertainty)


def _by_disagreement(drawn: Sequence[Candidate], _done: Sequence[str]) -> Iterator[str]:
    return _by_figure(drawn, lambda one: one.disagreement)


def _by_diversity(drawn: Sequence[Candidate], done: Sequence[str]) -> Iterator[str]:
    pool = drawn[:POOL]
    chosen: set[str] = set()
    for place in islice(spread([one.text for one in pool], done[-SPREAD:]), SPREAD):
        chosen.add(pool[place].task)
        yield pool[place].task
    yield from (one.task for one in drawn if one.task not in chosen)


def _at_random(drawn: Sequence[Candidate], _done: Sequence[str]) -> Iterator[str]:
    # The others see this order in their ties: it is not drawn again, which would cost as much and say no more.
    return (one.task for one in drawn)


_ORDERS: Final[Mapping[Strategy, Callable[[Sequence[Candidate], Sequence[str]], Iterator[str]]]] = {
    Strategy.UNCERTAINTY: _by_uncertainty,
    Strategy.DISAGREEMENT: _by_disagreement,
    Strategy.DIVERSITY: _by_diversity,
    Strategy.RANDOM: _at_random,
}
