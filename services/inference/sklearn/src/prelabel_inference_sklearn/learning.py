"""One training: measured on parts, calibrated by what was measured, done on the whole."""

import random
import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler

from .features import Given
from .truths import Numbers, Truth

_C = {"text": 10.0, "vector": 1.0}
"""A text's weights are small, a row's numbers are scaled to 1."""
_WORDS = r"(?u)\b\w+\b|[^\w\s]"
"""Words of one letter and signs too: so no text that is not blank is without any."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learned: the same number of each."""

    given: Given
    truth: Truth
    weights: Sequence[float]


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is learned."""

    input: Literal["text", "vector"]
    c: float | None
    features: int
    folds: int
    calibrate_from: int
    seed: int

    @property
    def strength(self) -> float:
        """C of the logistic regression."""
        return _C[self.input] if self.c is None else self.c


def learn(
    lesson: Lesson, plan: Plan, report: Callable[[int, int, float | None], None]
) -> tuple[Pipeline, dict[str, float]]:
    """A classifier, and how models of parts of the examples did on the rest of them."""
    truth, weights = lesson.truth, np.array(lesson.weights, dtype=np.float64)
    judged = _judged(lesson, plan, weights, report)
    by = np.ones(len(truth.labels))
    if len(weights) >= plan.calibrate_from:
        by = truth.sharpness(judged, weights)
    everything = list(range(len(weights)))
    model = _fitted(lesson, plan, everything, weights)
    truth.sharpen(model[-1], by)
    metrics = _metrics(truth, judged, by)
    report(plan.folds + 1, plan.folds + 1, metrics["micro_f1"])
    return model, metrics


def folds(strata: Sequence[Hashable], count: int, rng: random.Random) -> list[list[int]]:
    """Places in parts that hold as equally much of every stratum as they can, each in ascending order."""
    of_stratum: dict[Hashable, list[int]] = defaultdict(list)
    for place, stratum in enumerate(strata):
        of_stratum[stratum].append(place)
    dealt: list[int] = []
    for places in of_stratum.values():
        rng.shuffle(places)
        dealt += places
    return [sorted(dealt[first::count]) for first in range(count)]


def _judged(lesson: Lesson, plan: Plan, weights: Numbers, report: Callable[[int, int, float | None], None]) -> Numbers:
    """How every example is judged by the model that has not seen it."""
    truth, seen = lesson.truth, np.zeros(len(weights), dtype=np.bool_)
    judged = np.zeros((len(weights), len(truth.labels)))
    report(0, plan.folds + 1, None)
    rng = random.Random(plan.seed)  # not for secrets
    for step, held in enumerate(folds(truth.strata(), plan.folds, rng), start=1):
        rest = sorted(set(range(len(weights))) - set(held))
        model = _fitted(lesson, plan, rest, weights)
        if held:
            judged[held] = truth.judge(model[-1], model[:-1].transform(part(lesson.given, held)))
        seen[held] = True
        report(step, plan.folds + 1, _micro(truth.chosen(judged)[seen], truth.said[seen]))
    return judged


def _fitted(lesson: Lesson, plan: Plan, places: Sequence[int], weights: Numbers) -> Pipeline:
    before = _prepared(plan)
    features = before.fit_transform(part(lesson.given, places))
    for _, weigher in getattr(before, "transformer_list", ()):  # numpy's numbers would become a file each
        weigher.vocabulary_ = {term: int(column) for term, column in weigher.vocabulary_.items()}
        vars(weigher).pop("_stop_words_id", None)  # where None lies in memory: another number in every process
    with warnings.catch_warnings():  # one that took a thousand steps is as good as one that took more
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier = lesson.truth.fit(features, places, weights[places], plan.strength)
    return Pipeline([("features", before), ("classifier", classifier)])


def _prepared(plan: Plan) -> Any:
    if plan.input == "vector":
        return StandardScaler()
    most: dict[str, Any] = {"max_features": plan.features, "sublinear_tf": True, "dtype": np.float32}
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=_WORDS, **most)
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), **most)
    return FeatureUnion([("words", words), ("pieces", pieces)])


def part(given: Given, places: Sequence[int]) -> Given:
    """What is given at some places."""
    return given[places] if isinstance(given, np.ndarray) else [given[place] for place in places]


def _metrics(truth: Truth, judged: Numbers, by: Numbers) -> dict[str, float]:
    chosen = truth.chosen(judged)
    each = {
        label: _micro(chosen[:, at], truth.said[:, at])
        for at, label in enumerate(truth.labels)
        if truth.said[:, at].any()
    }
    return {
        "accuracy": float((chosen == truth.said).all(axis=1).mean()),
        "micro_f1": _micro(chosen, truth.said),
        "macro_f1": sum(each.values()) / len(each),
        "log_loss": truth.loss(judged * by),
        "log_loss_uncalibrated": truth.loss(judged),
        **{f"f1/{label}": score for label, score in each.items()},
    }


def _micro(chosen: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    """F1, 0 to 1; 1 where there was nothing to say and nothing was said."""
    right, wrong = int((chosen & said).sum()), int((chosen != said).sum())
    return 2 * right / (2 * right + wrong) if right or wrong else 1.0
