"""What people chose, as a classifier learns it: one label of several, or any number of them."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prelabel_contract.projects import Question
from prelabel_provider.trainer import CannotTrain
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import LabelBinarizer

Numbers = NDArray[np.float64]
MASKED = -1e6
"""How a label is judged by a model that never saw it."""
LEAST_OF_EACH = 10
"""Examples with a label, and without, from which on its own score is calibrated."""
_ITERATIONS = 1000
_SHARPEST = 20.0
"""Scores are made surer, or less sure, by so much at most."""


class Truth(ABC):
    """The right answers to some examples, by their places; and classifiers of them."""

    labels: tuple[str, ...]
    said: NDArray[np.bool_]
    """One row for each example, one column for each label."""

    @abstractmethod
    def strata(self) -> Sequence[Hashable]:
        """What the parts of a cross-validation shall have equally much of."""

    @abstractmethod
    def fit(self, features: Any, places: Sequence[int], weights: Numbers, c: float) -> Any:
        """A classifier that learned the examples at these places, which the features and weights are of."""

    @abstractmethod
    def judge(self, classifier: Any, features: Any) -> Numbers:
        """How a classifier judges examples: for each label a number, higher for likelier."""

    @abstractmethod
    def sharpness(self, judged: Numbers, weights: Numbers) -> Numbers:
        """By what to multiply judgements, so that scores are as sure as they are right: one number for each label."""

    @abstractmethod
    def sharpen(self, classifier: Any, by: Numbers) -> None:
        """Multiply what a classifier will judge."""

    @abstractmethod
    def chosen(self, judged: Numbers) -> NDArray[np.bool_]:
        """The answers that the provider makes of judgements."""

    @abstractmethod
    def loss(self, judged: Numbers) -> float:
        """The mean logarithmic loss of the scores, 0 or more."""


class OneLabel(Truth):
    """Each example has one."""

    def __init__(self, answers: Sequence[frozenset[str]]) -> None:
        """Raises `CannotTrain`."""
        names = [next(iter(one)) for one in answers]
        self.labels = tuple(sorted(set(names)))
        if len(self.labels) < 2:
            raise CannotTrain("single_class", "all examples have the same label: annotate some with another")
        self._codes = np.array([self.labels.index(name) for name in names])
        self.said = self._codes[:, None] == np.arange(len(self.labels))
        if np.sort(self.said.sum(axis=0))[-2] < 2:
            raise CannotTrain("too_few", "one label alone has more than one example: annotate more of a second")

    def strata(self) -> Sequence[Hashable]:
        return list(self._codes.tolist())

    def fit(self, features: Any, places: Sequence[int], weights: Numbers, c: float) -> Any:
        return _logistic(features, np.array(self.labels)[self._codes[places]], weights, c)

    def judge(self, classifier: Any, features: Any) -> Numbers:
        found = np.asarray(classifier.decision_function(features), dtype=np.float64)
        if found.ndim == 1:
            found = np.column_stack([np.zeros(len(found)), found])
        judged = np.full((len(found), len(self.labels)), MASKED)
        judged[:, [self.labels.index(str(one)) for one in classifier.classes_]] = found
        return judged

    def sharpness(self, judged: Numbers, weights: Numbers) -> Numbers:
        return np.full(len(self.labels), _sharpness(judged, self._codes, weights))

    def sharpen(self, classifier: Any, by: Numbers) -> None:
        _multiply(classifier, by[0])

    def chosen(self, judged: Numbers) -> NDArray[np.bool_]:
        return np.asarray(judged.argmax(axis=1)[:, None] == np.arange(len(self.labels)))

    def loss(self, judged: Numbers) -> float:
        return _loss(_softmax(judged)[np.arange(len(judged)), self._codes])


class AnyLabels(Truth):
    """Each example has any number of labels: one question for each label, yes or no."""

    def __init__(self, answers: Sequence[frozenset[str]], labels: tuple[str, ...]) -> None:
        """All labels become columns, also those that nobody chose. Raises `CannotTrain`."""
        self.labels = labels
        self.said = np.array([[label in one for label in labels] for one in answers])
        seldom = np.minimum(self.said.sum(axis=0), (~self.said).sum(axis=0))
        if len(labels) < 2 or not seldom.any():
            raise CannotTrain("single_class", "all examples have the same labels: annotate some with others")
        if seldom.max() < 2:
            raise CannotTrain("too_few", "no label has two examples with it and two without: annotate more")

    def strata(self) -> Sequence[Hashable]:
        return [tuple(row) for row in self.said.tolist()]

    def fit(self, features: Any, places: Sequence[int], weights: Numbers, c: float) -> Any:
        said = self.said[places]
        several = OneVsRestClassifier(LogisticRegression(C=c, max_iter=_ITERATIONS))
        several.label_binarizer_ = LabelBinarizer(sparse_output=True).fit(np.eye(len(self.labels), dtype=np.int64))
        several.label_binarizer_.classes_ = np.array(self.labels)  # or the model would call them 0, 1, 2
        vars(several)["classes_"] = several.label_binarizer_.classes_  # a property before scikit-learn 1.9
        several.estimators_ = [_yes_or_no(features, said[:, column], weights, c) for column in range(said.shape[1])]
        several.n_features_in_ = features.shape[1]
        return several

    def judge(self, classifier: Any, features: Any) -> Numbers:
        found = [one.decision_function(features) for one in classifier.estimators_]
        return np.column_stack(found).astype(np.float64)

    def sharpness(self, judged: Numbers, weights: Numbers) -> Numbers:
        return np.array(
            [self._one_sharpness(judged[:, at], self.said[:, at], weights) for at in range(len(self.labels))]
        )

    def _one_sharpness(self, judged: Numbers, said: NDArray[np.bool_], weights: Numbers) -> float:
        if min(said.sum(), (~said).sum()) < LEAST_OF_EACH:
            return 1.0
        return _sharpness(np.column_stack([np.zeros(len(judged)), judged]), said.astype(int), weights)

    def sharpen(self, classifier: Any, by: Numbers) -> None:
        for one, much in zip(classifier.estimators_, by, strict=True):
            _multiply(one, much)

    def chosen(self, judged: Numbers) -> NDArray[np.bool_]:
        return judged >= 0

    def loss(self, judged: Numbers) -> float:
        return _loss(1 / (1 + np.exp(-np.clip(np.where(self.said, judged, -judged), -50, 50))))


def truth_of(answers: Sequence[frozenset[str]], question: Question) -> Truth:
    """What to learn. Raises `CannotTrain`."""
    if question.multiple:
        return AnyLabels(answers, tuple(label.value for label in question.labels))
    return OneLabel(answers)


def _logistic(features: Any, said: NDArray[Any], weights: Numbers, c: float) -> LogisticRegression:
    return LogisticRegression(C=c, max_iter=_ITERATIONS).fit(features, said, sample_weight=weights)


def _yes_or_no(features: Any, said: NDArray[np.bool_], weights: Numbers, c: float) -> LogisticRegression:
    if said.any() and not said.all():
        return _logistic(features, said.astype(np.int64), weights, c)
    always = LogisticRegression(C=c, max_iter=_ITERATIONS)  # nothing to tell apart: as sure as so many examples allow
    always.classes_ = np.array([0, 1])
    always.coef_ = np.zeros((1, features.shape[1]))
    always.intercept_ = np.array([np.log((said.sum() + 1) / ((~said).sum() + 1))])
    always.n_features_in_ = features.shape[1]
    always.n_iter_ = np.array([0], dtype=np.int32)
    return always


def _multiply(classifier: LogisticRegression, by: float) -> None:
    classifier.coef_ = classifier.coef_ * by
    classifier.intercept_ = classifier.intercept_ * by


def _sharpness(judged: Numbers, codes: NDArray[Any], weights: Numbers) -> float:
    """Where the loss is least: it is convex, so its slope is 0 once, or beyond what is allowed."""
    of_truth = judged[np.arange(len(judged)), codes]
    known = of_truth > MASKED
    judged, of_truth, weights = judged[known], of_truth[known], weights[known]
    low, high = 1 / _SHARPEST, _SHARPEST
    for _ in range(50):
        middle = (low * high) ** 0.5
        slope = weights @ ((_softmax(judged * middle) * judged).sum(axis=1) - of_truth)
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float((low * high) ** 0.5)


def _softmax(judged: Numbers) -> Numbers:
    powers = np.exp(judged - judged.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _loss(scores: Numbers) -> float:
    return float(-np.log(np.clip(scores, 1e-6, 1)).mean())
