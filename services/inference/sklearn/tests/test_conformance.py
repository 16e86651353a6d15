"""The scikit-learn provider is a provider: of one class, of several, and of numbers."""

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


class TestSeveralClasses(_Saved):
    file = "several"
    rest: ClassVar[dict[str, Any]] = {"labels": ["good", "bad"], "least": 0.2}


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
