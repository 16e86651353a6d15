"""The spaCy provider is a provider: with patterns, and with each kind of trained pipeline."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from prelabel_inference_spacy.provider import SpacyProvider
from prelabel_provider.testing import ProviderTests
from pydantic import JsonValue

_SAMPLES = ({"text": "Ada met Bob in Paris"}, {"text": "London is good"}, {"text": "bad news for Bob"})


class TestPatterns(ProviderTests):
    provider = SpacyProvider
    settings = {
        "blank": "en",
        "patterns": [
            {"label": "PERSON", "pattern": "Ada"},
            {"label": "CITY", "pattern": [{"LOWER": "paris"}]},
        ],
    }
    other_settings = {"blank": "en", "patterns": [{"label": "PERSON", "pattern": "Bob"}]}
    samples = _SAMPLES


class _Trained(ProviderTests):
    provider = SpacyProvider
    samples = _SAMPLES
    long_text_characters = 20_000
    folder: ClassVar[str]
    emit: ClassVar[tuple[str, ...]] = ()
    rest: ClassVar[dict[str, JsonValue]] = {}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _settings(cls, pipelines: Mapping[str, Path]) -> None:
        emit: list[JsonValue] = list(cls.emit)
        other = "other_ner" if cls.folder != "other_ner" else "ner"
        cls.settings = {"path": str(pipelines[cls.folder]), "emit": emit, **cls.rest}
        cls.other_settings = {"path": str(pipelines[other])}


class TestEntities(_Trained):
    folder = "ner"


class TestEntitiesByABeam(_Trained):
    folder = "ner"
    rest: ClassVar[dict[str, JsonValue]] = {"beam": 8}


class TestSpans(_Trained):
    folder = "spancat"


class TestOneCategory(_Trained):
    folder = "textcat"


class TestCategories(_Trained):
    folder = "textcat_multilabel"


class TestTokens(_Trained):
    folder = "parsed"
    emit = ("pos", "dep")
