"""From what a model says to regions, written as JSON once per class rather than once per task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from prelabel_provider.base import BadSettings, Failed, PredictedJson
from prelabel_provider.shares import of_labels, of_rows, told
from prelabel_provider.uncertainty import Measure
from sklearn import config_context
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.pipeline import Pipeline

from .features import Given
from .settings import SklearnSettings

Said = list[PredictedJson | Failed]

_NO_NUMBER = Failed("output", "the model said a number that is not finite")
_SAYS_THE_LIKELIEST = frozenset(
    {
        *("LogisticRegression", "LogisticRegressionCV", "MLPClassifier", "CalibratedClassifierCV"),
        *("MultinomialNB", "ComplementNB", "BernoulliNB", "GaussianNB", "CategoricalNB"),
        *("DecisionTreeClassifier", "RandomForestClassifier", "ExtraTreesClassifier", "ExtraTreeClassifier"),
        *("HistGradientBoostingClassifier", "GradientBoostingClassifier", "LinearDiscriminantAnalysis"),
    }
)
"""Classifiers whose `predict` is the class of the highest probability: they need not be asked twice."""


@dataclass(frozen=True, slots=True)
class Answers:
    """How a model's answers become regions."""

    kind: str
    labels: tuple[str, ...]
    """That it may give; empty where its regions have none."""
    say: Callable[[Given], Said]
    """One answer for each input."""


def answers_of(model: Any, sample: Given, settings: SklearnSettings) -> Answers:
    """Find out what a model says, by asking it once. Raises `BadSettings`."""
    if not isinstance(model, BaseEstimator) or not (is_classifier(model) or is_regressor(model)):
        raise BadSettings(f"path: a {type(model).__name__} is neither a classifier nor a regressor")
    try:
        shape = np.shape(model.predict(sample))
    except MemoryError:
        raise
    except Exception as error:
        raise BadSettings(f"input: the model cannot predict a {settings.input}: {_line(error)}") from error
    if is_regressor(model):
        found = _regressor(model, shape, settings)
    elif settings.emit == "number":
        raise BadSettings("emit: the model is a classifier, which says choices, or ratings if its classes are numbers")
    elif len(shape) == 1:
        found = _classifier(model, settings)
    else:
        found = _several(model, shape, settings)
    return replace(found, say=_without_checks(found.say))


def _without_checks(say: Callable[[Given], Said]) -> Callable[[Given], Said]:
    """scikit-learn looks for infinities, and into parameters, in every call: half a millisecond for what is known."""

    def unchecked(given: Given) -> Said:
        with config_context(assume_finite=True, skip_parameter_validation=True):
            return say(given)

    return unchecked


# ------------------------------------------------------------------------------------------------- one class of many


def _classifier(model: Any, settings: SklearnSettings) -> Answers:
    classes = [_plain(one) for one in model.classes_]
    if settings.emit == "rating":
        if not all(isinstance(one, int) and one >= 0 for one in classes):
            raise BadSettings("emit: ratings are whole numbers, and the model's classes are not")
        heads = [b'[{"kind":"rating","rating":%d,"score":' % one for one in classes]
        return Answers("rating", (), _one_of(model, heads, settings.uncertainty))
    labels = _labels(classes, settings.labels)
    heads = [b'[{"kind":"choice","labels":[%s],"score":' % msgspec.json.encode(label) for label in labels]
    return Answers("choice", labels, _one_of(model, heads, settings.uncertainty))


def _one_of(model: Any, heads: Sequence[bytes], measure: Measure) -> Callable[[Given], Said]:
    """The class that `predict` says, with its probability, or null where the model knows none.

    How unsure that is follows from the probabilities of all classes.
    """
    index = {one: place for place, one in enumerate(model.classes_.tolist())}
    before, last = _parted(model)

    def likeliest(given: Given) -> Said:
        probabilities = last.predict_proba(before(given))
        best = probabilities.argmax(axis=1)
        return _finite(_written(heads, best.tolist(), probabilities, measure), probabilities)

    def chosen(given: Given) -> Said:
        features = before(given)
        best = [index[one] for one in np.asarray(last.predict(features)).tolist()]
        probabilities = last.predict_proba(features)
        return _finite(_written(heads, best, probabilities, measure), probabilities)

    def unsure(given: Given) -> Said:
        best = [index[one] for one in np.asarray(model.predict(given)).tolist()]
        whole = [head + b"null}]" for head in heads]
        return [PredictedJson(whole[one]) for one in best]

    if not hasattr(model, "predict_proba"):
        return unsure
    return likeliest if type(last).__name__ in _SAYS_THE_LIKELIEST else chosen


def _finite(said: Said, probabilities: NDArray[Any]) -> Said:
    """What was said, but for those of NaN, of which the first label is the likeliest for no reason."""
    finite = np.isfinite(probabilities).all(axis=1)
    if finite.all():
        return said
    return [one if known else _NO_NUMBER for one, known in zip(said, finite.tolist(), strict=True)]


def _written(heads: Sequence[bytes], best: Sequence[int], probabilities: NDArray[Any], measure: Measure) -> Said:
    scores = np.clip(probabilities[np.arange(len(best)), best], 0, 1)
    texts = msgspec.json.encode(scores.tolist())[1:-1].split(b",")  # NaN becomes null
    doubts = told(of_rows(probabilities, measure))
    return [
        PredictedJson(b"%b%b}]" % (heads[one], text), doubt)
        for one, text, doubt in zip(best, texts, doubts, strict=True)
    ]


# ------------------------------------------------------------------------------------------------ any number of classes


def _several(model: Any, shape: tuple[int, ...], settings: SklearnSettings) -> Answers:
    if settings.emit == "rating":
        raise BadSettings("emit: the model says several things at once, a rating is one")
    columns = [_plain(one) for one in _classes_of_columns(model, shape[1])]
    labels = _labels(columns, settings.labels)
    heads = [b'{"kind":"choice","labels":[%s],"score":' % msgspec.json.encode(label) for label in labels]
    least = settings.least

    def probable(given: Given) -> Said:
        probabilities = np.clip(_columns(model.predict_proba(given)), 0, 1)
        doubts = told(of_labels(probabilities, settings.uncertainty))
        said: Said = [
            PredictedJson(
                b"[%b]"
                % b",".join([b"%b%b}" % (heads[i], repr(row[i]).encode()) for i in range(len(row)) if row[i] >= least]),
                doubt,
            )
            for row, doubt in zip(probabilities.tolist(), doubts, strict=True)
        ]
        return _finite(said, probabilities)

    def unsure(given: Given) -> Said:
        chosen = _dense(model.predict(given)).tolist()
        return [
            PredictedJson(b"[%b]" % b",".join([heads[i] + b"null}" for i, one in enumerate(row) if one]))
            for row in chosen
        ]

    return Answers("choice", labels, probable if hasattr(model, "predict_proba") else unsure)


def _classes_of_columns(model: Any, count: int) -> Sequence[Any]:
    """What the columns of an indicator are called: numbers, as a rule. Raises `BadSettings` for other outputs."""
    classes = model.classes_
    if isinstance(classes, list):  # an array of classes per output
        if any([_plain(one) for one in output] != [0, 1] for output in classes):
            raise BadSettings("path: the model answers several questions at once: save one classifier for each")
        return range(count)
    return list(classes)


def _columns(probabilities: Any) -> NDArray[Any]:
    """Of each label the probability that it is true."""
    if isinstance(probabilities, list):
        return np.column_stack([output[:, 1] for output in probabilities])
    return np.asarray(probabilities)


def _dense(chosen: Any) -> NDArray[Any]:
    return np.asarray(chosen.toarray() if hasattr(chosen, "toarray") else chosen)


# ----------------------------------------------------------------------------------------------------------- numbers


def _regressor(model: Any, shape: tuple[int, ...], settings: SklearnSettings) -> Answers:
    if len(shape) > 1 and shape[1] != 1:
        raise BadSettings(f"path: the model says {shape[1]} numbers at once: save one regressor for each")
    if settings.emit == "choice":
        raise BadSettings("emit: the model is a regressor, which says numbers, or ratings")
    if settings.labels:
        raise BadSettings("labels: the model is a regressor, which has no classes")
    rating = settings.emit == "rating"

    def say(given: Given) -> Said:
        numbers = np.asarray(model.predict(given), dtype=np.float64).reshape(-1)
        return [_rating(one) if rating else _number(one) for one in numbers.tolist()]

    return Answers("rating" if rating else "number", (), say)


def _number(number: float) -> PredictedJson | Failed:
    if not np.isfinite(number):
        return _NO_NUMBER
    return PredictedJson(b'[{"kind":"number","number":%b}]' % repr(number).encode())


def _rating(number: float) -> PredictedJson | Failed:
    if not np.isfinite(number):
        return _NO_NUMBER
    return PredictedJson(b'[{"kind":"rating","rating":%d}]' % max(0, round(number)))


# ------------------------------------------------------------------------------------------------------------ common


def _parted(model: Any) -> tuple[Callable[[Given], Any], Any]:
    """What comes before the classifier, and the classifier: to ask it two things of one preparation."""
    if not isinstance(model, Pipeline):
        return (lambda given: given), model
    return (model[:-1].transform if len(model) > 1 else lambda given: given), model[-1]


def _labels(classes: Sequence[Any], names: Sequence[str]) -> tuple[str, ...]:
    if names and len(names) != len(classes):
        raise BadSettings(f"labels: the model has {len(classes)} classes, these are {len(names)} names")
    labels = tuple(names) or tuple(str(one) for one in classes)
    if any(not 1 <= len(label) <= 200 for label in labels):
        raise BadSettings(
            "labels: a class of the model has a name that is no label: name all classes, 1-200 characters"
        )
    return labels


def _plain(value: Any) -> Any:
    """A number or text of numpy as Python's own."""
    plain = value.item() if isinstance(value, np.generic) else value
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"
