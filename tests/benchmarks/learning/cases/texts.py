"""How many short texts must be annotated."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prelabel_all_in_one.sample.corpus import load_corpus
from prelabel_provider.uncertainty import Measure
from prelabel_training.leases.sampling import Strategy

from tests.benchmarks.case import Case, Figure, Turn, Values
from tests.benchmarks.learning import texts
from tests.benchmarks.learning.amounts import Amounts
from tests.benchmarks.learning.curves import Full, Subject, curve, needed, noted
from tests.benchmarks.stage import Stage

GOAL = 0.95
_STRATEGIES = {
    "random": (Strategy.RANDOM, Measure.LEAST_CONFIDENCE),
    "uncertainty": (Strategy.UNCERTAINTY, Measure.LEAST_CONFIDENCE),
    "margin": (Strategy.UNCERTAINTY, Measure.MARGIN),
}
_APART = 50
_POINTS = 32
"""Of a curve, at most."""


def case(amounts: Amounts, file: Path | None) -> Case:
    """Of so many docstrings, or of a file's lines."""

    @contextmanager
    def start(stage: Stage) -> Iterator[list[Turn]]:
        stage.say("texts: reading them")
        if file is None:
            known = texts.docstrings(load_corpus(seed=1), amounts.texts)
        else:
            known = texts.from_file(file, amounts.texts)
        wanted = [name for name in _STRATEGIES if stage.wants(f"texts.{name}")]
        full = Full(known, "texts", texts.teach(Measure.MARGIN), stage.note)
        turns = [_turn(stage, known, full, name) for name in wanted]
        if stage.wants("texts.full"):
            turns.insert(0, Turn("texts.full", lambda seed: {"texts.full": full(seed)}))
        yield turns

    return Case("texts", FIGURES, start)


def _turn(stage: Stage, known: Subject, full: Full, name: str) -> Turn:
    strategy, doubt = _STRATEGIES[name]

    def measure(seed: int) -> Values:
        parts = known.parted(f"texts-{seed}")
        points = list(curve(known, parts, texts.teach(doubt), strategy, steps(len(parts[0])), seed))
        stage.note(f"curve.texts.{name}", noted(points))
        return {f"texts.{name}.labels": needed(points, GOAL * full(seed))}

    return Turn(f"texts.{name}", measure)


def steps(most: int) -> Sequence[int]:
    """Numbers of annotations, 50 or a multiple of it apart, and last all that there are."""
    apart = -(-most // (_POINTS * _APART)) * _APART
    return [*range(min(_APART, most), most, apart), most]


_LABELS = "annotations until 95 % of the full accuracy is reached"
FIGURES = (
    Figure(
        "texts.full",
        "accuracy",
        "a model of all texts but the hold-out: docstrings of the standard library, nine areas; or a file's lines",
    ),
    Figure("texts.random.labels", "labels", f"{_LABELS}: texts asked at random"),
    Figure(
        "texts.uncertainty.labels",
        "labels",
        f"{_LABELS}: least confident first",
        ratio_to="texts.random.labels",
        at_most=1.0,
    ),
    Figure(
        "texts.margin.labels",
        "labels",
        f"{_LABELS}: smallest margin between the two best labels first",
        ratio_to="texts.random.labels",
        at_most=1.0,
    ),
)
