"""The scikit-learn provider is a provider: for texts, for numbers, for one class, for several, for a number."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prelabel_inference_sklearn.provider import SklearnProvider
from prelabel_provider.testing import ProviderTests
from pydantic import JsonValue


class _Saved(ProviderTests):
    provider = SklearnProvider
    samples = ({"text": "good and fine"}, {"text": "an ugly thing"}, {"text": "nice, bad"})
    file: ClassVar[str]
    other: ClassVar[str] = "other"
    rest: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _settings(cls, models: Mapping[str, Path]) -> None:
        cls.settings = {"path": str(models[cls.file]), **cls.rest}
        cls.other_settings = {"path": str(models[cls.other]), **(cls.rest if cls.other == "other-rows" else {})}


class TestOneClass(_Saved):
    file = "sentiment"


class TestNoProbabilities(_Saved):
    file = "unsure"


class TestSeveralClasses(_Saved):
    file = "several"
    rest: ClassVar[dict[str, Any]] = {"labels": ["good", "bad"], "least": 0.2}


class TestRatings(_Saved):
    file = "stars"
    rest: ClassVar[dict[str, Any]] = {"emit": "rating"}


class TestNumbers(_Saved):
    file = "length"


class TestVectors(_Saved):
    file = "rows"
    other = "other-rows"
    rest: ClassVar[dict[str, Any]] = {"input": "vector"}
    field = "measured"
    samples: ClassVar[tuple[dict[str, JsonValue], ...]] = (
        {"measured": [0.0, 1, 2]},
        {"measured": [[5.5], [4], [3]]},
        {"measured": [6, 4, 3]},
    )
