"""How many digits must be annotated."""

from collections.abc import Iterator
from contextlib import contextmanager

from prelabel_provider.uncertainty import Measure
from prelabel_training.leases.sampling import USUAL, Mix, Strategy

from tests.benchmarks.case import Case, Figure, Turn, Values
from tests.benchmarks.learning import digits
from tests.benchmarks.learning.amounts import Amounts
from tests.benchmarks.learning.curves import Full, Subject, curve, needed, noted
from tests.benchmarks.stage import Stage

GOAL = 0.95
_STRATEGIES: dict[str, tuple[Strategy | Mix, Measure | None]] = {
    "random": (Strategy.RANDOM, None),
    "uncertainty": (Strategy.UNCERTAINTY, None),
    "margin": (Strategy.UNCERTAINTY, Measure.MARGIN),
    "usual": (USUAL, None),
}


def case(amounts: Amounts) -> Case:
    """For so many annotations."""

    @contextmanager
    def start(stage: Stage) -> Iterator[list[Turn]]:
        known = digits.subject()
        wanted = [name for name in _STRATEGIES if stage.wants(f"digits.{name}")]
        full = Full(known, "digits", digits.teach(None), stage.note)
        turns = [_turn(stage, known, full, amounts, name) for name in wanted]
        if stage.wants("digits.full"):
            turns.insert(0, Turn("digits.full", lambda seed: {"digits.full": full(seed)}))
        yield turns

    return Case("digits", FIGURES, start)


def _turn(stage: Stage, known: Subject, full: Full, amounts: Amounts, name: str) -> Turn:
    strategy, doubt = _STRATEGIES[name]

    def measure(seed: int) -> Values:
        parts = known.parted(f"digits-{seed}")
        # The last has all there are: where the curve ends below, it says so.
        steps = [*range(20, amounts.digits + 1, 10), len(parts[0])]
        points = list(curve(known, parts, digits.teach(doubt), strategy, steps, seed))
        stage.note(f"curve.digits.{name}", noted(points[:-1]))
        return {f"digits.{name}.labels": needed(points, GOAL * full(seed))}

    return Turn(f"digits.{name}", measure)


_LABELS = "annotations until 95 % of the full accuracy is reached, in steps of 10"
FIGURES = (
    Figure("digits.full", "accuracy", "a model of all tasks but the hold-out, of about 1,440 digits"),
    Figure("digits.random.labels", "labels", f"{_LABELS}: tasks asked at random"),
    Figure(
        "digits.uncertainty.labels",
        "labels",
        f"{_LABELS}: most uncertain first, by the score that a prediction carries",
        ratio_to="digits.random.labels",
        at_most=0.6,
    ),
    Figure(
        "digits.margin.labels",
        "labels",
        f"{_LABELS}: smallest margin between the two best classes first",
        ratio_to="digits.random.labels",
        at_most=0.6,
    ),
    Figure(
        "digits.usual.labels",
        "labels",
        f"{_LABELS}: the usual mix (60 % uncertain, 20 % unlike the others, 20 % at random)",
        ratio_to="digits.random.labels",
    ),
)
