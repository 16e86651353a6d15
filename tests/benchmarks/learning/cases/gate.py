"""What the gate lets through: models of digits, as its service asks it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random

from prelabel_provider.trainer import Example
from prelabel_training.gate.gate import Evaluation, Outcome, Rules, decide

from tests.benchmarks.case import Case, Figure, Lost, Turn, Values
from tests.benchmarks.learning import digits
from tests.benchmarks.learning.amounts import FULL, Amounts
from tests.benchmarks.learning.curves import Subject, results
from tests.benchmarks.stage import Stage

SHARE = 0.25
"""Of the tasks held out: about 450, of which the fewest in twenty projects are over 400."""
FLIPPED = 0.2

Compared = Callable[[Sequence[Example], int, Random], tuple[Sequence[Example], Sequence[Example]]]
"""Of a pool in an order of its own and a number: what the serving model learns from, and what the candidate."""


def case(amounts: Amounts) -> Case:
    """For so many seeds, each with a hold-out and a pool of its own."""

    @contextmanager
    def start(stage: Stage) -> Iterator[list[Turn]]:
        known = digits.subject()
        yield [
            _turn(stage, known, amounts, name, count)
            for count in amounts.gate_examples
            for name in _COMPARED
            if stage.wants(f"gate.{name}.{count}")
        ]

    return Case("gate", figures(amounts), start, rounds=1)


def flipped(examples: Sequence[Example], share: float, chance: Random) -> list[Example]:
    """The same, a share of which has another label than the right one."""
    wrong = set(chance.sample(range(len(examples)), round(share * len(examples))))
    labels = [label.value for label in digits.QUESTION.labels]
    return [
        replace(one, regions=(digits.choice(chance.choice([x for x in labels if x not in one.regions[0].labels])),))
        if place in wrong
        else one
        for place, one in enumerate(examples)
    ]


def _flips(pool: Sequence[Example], count: int, chance: Random) -> tuple[Sequence[Example], Sequence[Example]]:
    return pool[:count], flipped(pool[:count], FLIPPED, chance)


def _twice(pool: Sequence[Example], count: int, _: Random) -> tuple[Sequence[Example], Sequence[Example]]:
    return pool[:count], pool[: 2 * count]


def _others(pool: Sequence[Example], count: int, _: Random) -> tuple[Sequence[Example], Sequence[Example]]:
    return pool[:count], pool[count : 2 * count]


_COMPARED: dict[str, Compared] = {"flipped": _flips, "twice": _twice, "others": _others}


def _turn(stage: Stage, known: Subject, amounts: Amounts, name: str, count: int) -> Turn:
    def measure(_: int) -> Values:
        promoted = 0
        for seed in range(1, amounts.gate_seeds + 1):
            pool, holdout = known.parted(f"gate-{seed}", SHARE)
            chance = Random(seed)
            ordered = chance.sample(pool, len(pool))
            both = _COMPARED[name](ordered, count, chance)
            if len(ordered) < 2 * count:
                raise Lost(f"{len(ordered)} tasks are fewer than twice {count}")
            teach = digits.teach(None)
            before, after = (Evaluation(results(known, teach(learned, seed), holdout)) for learned in both)
            decision = decide(before, after, Rules(metric=known.metric), Random(seed))
            promoted += decision.outcome is not Outcome.REFUSE
            stage.note(f"gate.{name}.{count}", {"seed": seed, "tasks": len(holdout), "said": decision.text})
        refused = amounts.gate_seeds - promoted
        return {_figure(name, count): refused if name == "flipped" else promoted}

    return Turn(f"gate.{name}.{count}", measure)


def _figure(name: str, count: int) -> str:
    return f"gate.{name}.{count}.{'refused' if name == 'flipped' else 'promoted'}"


def figures(amounts: Amounts = FULL) -> tuple[Figure, ...]:
    """By the numbers of examples."""
    unit = f"of {amounts.gate_seeds}"
    return tuple(
        figure
        for count in amounts.gate_examples
        for figure in (
            Figure(
                _figure("flipped", count),
                unit,
                f"candidates of {count} digits with 20 % of the labels wrong, refused beside one of the same, right",
                at_least=amounts.gate_seeds,
            ),
            Figure(
                _figure("twice", count),
                unit,
                f"candidates of {2 * count} digits, promoted beside one of half of them",
                at_least=0.9 * amounts.gate_seeds,
            ),
            Figure(
                _figure("others", count),
                unit,
                f"candidates of {count} other digits, promoted beside one of as many: no better and no worse",
            ),
        )
    )
