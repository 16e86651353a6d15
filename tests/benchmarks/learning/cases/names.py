"""What a spaCy pipeline finds, by how many tasks were annotated."""

from collections.abc import Iterator
from contextlib import contextmanager

from prelabel_all_in_one.sample.corpus import load_corpus
from prelabel_training.leases.sampling import Strategy

from tests.benchmarks.case import Case, Figure, Turn, Values
from tests.benchmarks.learning import names
from tests.benchmarks.learning.amounts import Amounts
from tests.benchmarks.learning.curves import Subject, curve, needed, noted
from tests.benchmarks.stage import Stage

_STRATEGIES = {"random": Strategy.RANDOM, "uncertainty": Strategy.UNCERTAINTY}


def case(amounts: Amounts) -> Case:
    """For so many annotated tasks."""

    @contextmanager
    def start(stage: Stage) -> Iterator[list[Turn]]:
        stage.say("names: reading texts")
        known = names.subject(load_corpus(seed=1), amounts.names)
        yield [_turn(stage, known, amounts, name) for name in _STRATEGIES if stage.wants(f"names.{name}")]

    return Case("names", FIGURES, start)


def _turn(stage: Stage, known: Subject, amounts: Amounts, name: str) -> Turn:
    """By chance first: what uncertainty needs for the same is read from both curves of a round."""

    def measure(seed: int) -> Values:
        parts, strategy = known.parted(f"names-{seed}"), _STRATEGIES[name]
        points = list(curve(known, parts, names.teach(amounts.epochs), strategy, amounts.name_labels, seed))
        stage.note(f"curve.names.{name}", noted(points))
        values = {f"names.{name}.f1": points[-1].score}
        if name == "uncertainty" and (by_chance := stage.details.get("curve.names.random")):
            _, goal = by_chance[-1][-1]
            values["names.uncertainty.labels"] = needed(points, min(goal, points[-1].score))
        return values

    return Turn(f"names.{name}", measure)


FIGURES = (
    Figure("names.random.f1", "F1", "a small spaCy pipeline from nothing, after 300 tasks (200 if small) at random"),
    Figure(
        "names.uncertainty.f1",
        "F1",
        "the same, most uncertain first (by a beam of the parser)",
        ratio_to="names.random.f1",
        at_least=1.0,
    ),
    Figure(
        "names.uncertainty.labels",
        "tasks",
        "with how many of the most uncertain it is as good as with all of those at random; or as good as it gets",
    ),
)
