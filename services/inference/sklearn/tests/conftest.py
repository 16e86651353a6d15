"""Models made on the spot, of a few examples each, the same in every run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

TEXTS = ["good and fine", "bad and foul", "good, nice", "bad, ugly", "fine", "ugly"] * 3
ONE = ["good", "bad", "good", "bad", "good", "bad"] * 3
SEVERAL = np.array([[1, 0], [0, 1], [1, 1], [0, 1], [1, 0], [0, 1]] * 3)
ROWS = np.array([[0.0, 1.0, 2.0], [5.0, 4.0, 3.0], [0.0, 1.0, 1.0], [6.0, 4.0, 3.0]] * 4)

Save = Callable[..., Path]


def text_pipeline(classifier: Any, said: Any = ONE) -> Any:
    """A classifier of texts."""
    return make_pipeline(TfidfVectorizer(), classifier).fit(TEXTS, said)


def _models() -> dict[str, BaseEstimator]:
    return {
        "sentiment": text_pipeline(LogisticRegression()),
        "other": text_pipeline(LogisticRegression(C=5.0)),
        "unsure": text_pipeline(LinearSVC()),
        "careful": text_pipeline(FixedThresholdClassifier(LogisticRegression(), threshold=0.99, pos_label="good")),
        "several": text_pipeline(OneVsRestClassifier(LogisticRegression()), SEVERAL),
        "outputs": text_pipeline(MultiOutputClassifier(LogisticRegression()), SEVERAL),
        "several-unsure": text_pipeline(OneVsRestClassifier(LinearSVC()), SEVERAL),
        "stars": text_pipeline(LogisticRegression(), [5, 1, 4, 2, 5, 1] * 3),
        "length": text_pipeline(Ridge(), [float(len(text)) for text in TEXTS]),
        "rows": LogisticRegression().fit(ROWS, ["low", "high"] * 8),
        "other-rows": LogisticRegression(C=5.0).fit(ROWS, ["low", "high"] * 8),
        "price": Ridge().fit(ROWS, ROWS.sum(axis=1)),
    }


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Files by what is in them."""
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for name, model in _models().items():
        found[name] = folder / f"{name}.skops"
        skops.io.dump(model, found[name])
    return found


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save a model, and tell where."""

    def to(model: Any, name: str = "model.skops") -> Path:
        path = tmp_path / name
        skops.io.dump(model, path)
        return path

    return to
