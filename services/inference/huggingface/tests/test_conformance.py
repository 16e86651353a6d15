"""The Hugging Face provider is a provider: on ONNX Runtime, with each task, in fp32 and int8."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prelabel_inference_huggingface.provider import HuggingFaceProvider
from prelabel_provider.testing import ProviderTests

_SAMPLES = ({"text": "Ada met Bob in Paris"}, {"text": "London is good"}, {"text": "bad news for Bob"})


class _Saved(ProviderTests):
    provider = HuggingFaceProvider
    samples = _SAMPLES
    long_text_characters = 20_000
    folder: ClassVar[str]
    other: ClassVar[str]
    said: ClassVar[Mapping[str, Any]]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _settings(cls, models: Mapping[str, Path]) -> None:
        cls.settings = {"path": str(models[cls.folder]), **cls.said}
        cls.other_settings = {"path": str(models[cls.other]), **cls.said}


class TestSpans(_Saved):
    folder, other = "tags", "other_tags"
    said = {"task": "token-classification", "aggregation": "first"}


class TestOneChoice(_Saved):
    folder, other = "choices", "many"
    said = {"task": "text-classification"}


class TestChoices(_Saved):
    folder, other = "many", "choices"
    said = {"task": "text-classification", "least": 0.1}


class TestZeroShot(_Saved):
    folder, other = "claims", "known_choices"
    said = {"task": "zero-shot", "labels": ["good", "Bob"], "hypothesis": "about {} .", "max_tokens": 32}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _other(cls, models: Mapping[str, Path], _settings: None) -> None:
        cls.other_settings = {**cls.settings, "labels": ["good", "bad"]}


class TestSpansInt8(_Saved):
    folder, other = "tags_int8", "other_tags"
    said = {"task": "token-classification", "batch_tokens": 1}  # else texts that are computed together share one scale


class TestOneChoiceInt8(_Saved):
    folder, other = "choices_int8", "choices"
    said = {"task": "text-classification", "batch_tokens": 1}
