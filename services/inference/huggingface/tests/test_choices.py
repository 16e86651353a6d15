"""Text classification and zero-shot classification, with models whose answers are known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prelabel_inference_huggingface.provider import HuggingFaceProvider
from prelabel_provider.base import BadSettings, Input, Predicted


def _load(folder: Path, **settings: Any) -> HuggingFaceProvider:
    said = {"path": str(folder), "task": "text-classification", **settings}
    return HuggingFaceProvider.load(HuggingFaceProvider.Settings.model_validate(said))


def _choices(model: HuggingFaceProvider, text: str) -> dict[str, float]:
    (said,) = model.predict([Input("task", {"text": text}, "text")])
    assert isinstance(said, Predicted)
    return {region.labels[0]: round(region.score or 0, 2) for region in said.regions}


def test_labels_that_exclude_each_other_give_the_best(models: Mapping[str, Path]) -> None:
    assert _choices(_load(models["known_choices"]), "good news") == {"good": 0.96}


def test_labels_beside_each_other_give_each_that_reaches_the_least(models: Mapping[str, Path]) -> None:
    model = _load(models["known_many"])
    assert _choices(model, "good and bad") == {"good": 0.73, "bad": 0.73}
    assert _choices(model, "news") == {}
    assert set(_choices(_load(models["known_many"], least=0.01), "news")) == {"good", "bad", "neither"}


def test_the_settings_overrule_the_config(models: Mapping[str, Path]) -> None:
    assert len(_choices(_load(models["known_many"], choices="one"), "good and bad")) == 1
    assert _choices(_load(models["known_choices"], choices="many", least=0.6), "good bad") == {
        "good": 0.98,
        "bad": 0.98,
    }


def test_a_long_text_gets_the_mean_of_its_windows(models: Mapping[str, Path]) -> None:
    text = "good " * 14 + "bad " * 7
    model = _load(models["known_choices"], max_tokens=16, overlap=0)
    assert _choices(model, text) == {"good": 0.67}
    assert _choices(_load(models["known_choices"], max_tokens=16, long_texts="truncate"), text) == {"good": 1.0}


def test_zero_shot_chooses_what_the_text_entails(models: Mapping[str, Path]) -> None:
    said: dict[str, Any] = {"task": "zero-shot", "labels": ["bad", "good"], "hypothesis": "about {}"}
    assert _choices(_load(models["claims"], **said), "good news") == {"good": 0.73}
    many = _load(models["claims"], **said, choices="many", least=0.6)
    assert _choices(many, "good and bad news") == {"bad": 0.88, "good": 0.88}
    assert _choices(many, "news") == {}


def test_zero_shot_reads_long_texts_in_windows(models: Mapping[str, Path]) -> None:
    model = _load(models["claims"], task="zero-shot", labels=["bad", "good"], hypothesis="about {}", max_tokens=16)
    assert set(_choices(model, "met " * 40 + "good")) == {"good"}


def test_zero_shot_needs_a_model_of_inference(models: Mapping[str, Path]) -> None:
    with pytest.raises(BadSettings, match="is no model of natural language inference"):
        _load(models["known_choices"], task="zero-shot", labels=["a", "b"])


def test_a_regression_is_refused(models: Mapping[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "regression"
    folder.mkdir()
    for path in models["known_choices"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace("{", '{"problem_type": "regression", ', 1))
    with pytest.raises(BadSettings, match="gives a number"):
        _load(folder)
