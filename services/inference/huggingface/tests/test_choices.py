"""Text classification and zero-shot classification, with models whose answers are known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prelabel_inference_huggingface.provider import HuggingFaceProvider
from prelabel_provider.base import BadSettings, Failed, Input, Predicted


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


@pytest.mark.parametrize(("choices", "unreadable"), [("one", ["good news", "bad news"]), ("many", ["good news"])])
def test_numbers_that_are_not_finite_are_no_choice_and_harm_no_other_text(
    models: Mapping[str, Path], choices: str, unreadable: list[str]
) -> None:
    model = _load(models["broken_choices"], choices=choices)
    texts = ["news", "good news", "bad news"]
    said = model.predict([Input(text, {"text": text}, "text") for text in texts])
    assert [text for text, one in zip(texts, said, strict=True) if isinstance(one, Failed)] == unreadable
    assert {one.reason for one in said if isinstance(one, Failed)} == {"output"}


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


def _doubt(model: HuggingFaceProvider, text: str) -> float | None:
    (said,) = model.predict([Input("task", {"text": text}, "text")])
    assert isinstance(said, Predicted)
    return said.uncertainty


@pytest.mark.parametrize(
    ("measure", "doubt"),
    [
        ("margin", 1 - (np.e**4 - 1) / (np.e**4 + 2)),
        ("least_confidence", 2 / (np.e**4 + 2) * 3 / 2),
        ("entropy", (np.log(np.e**4 + 2) - 4 * np.e**4 / (np.e**4 + 2)) / np.log(3)),
    ],
)
def test_one_label_of_many_is_as_unsure_as_the_measure_says(
    models: Mapping[str, Path], measure: str, doubt: float
) -> None:
    assert _doubt(_load(models["known_choices"], uncertainty=measure), "good") == pytest.approx(doubt, abs=1e-5)


def test_as_much_for_one_as_for_another_is_as_unsure_as_can_be(models: Mapping[str, Path]) -> None:
    assert _doubt(_load(models["known_choices"]), "good bad") == pytest.approx(1.0, abs=1e-5)


def test_labels_beside_each_other_are_as_unsure_as_the_most_doubtful_of_them(models: Mapping[str, Path]) -> None:
    # [CLS], [SEP] and the two words: good says 4 - 3, the others -4: 0.731 is the closest to a half.
    assert _doubt(_load(models["known_many"]), "good news") == pytest.approx(1 - (2 / (1 + np.e**-1) - 1), abs=1e-5)


def test_another_measure_is_another_version(models: Mapping[str, Path]) -> None:
    usual = _load(models["known_choices"]).describe().version
    assert _load(models["known_choices"], uncertainty="margin").describe().version == usual
    assert _load(models["known_choices"], uncertainty="entropy").describe().version != usual


def test_a_zero_shot_choice_is_as_unsure_as_its_claims_are_close(models: Mapping[str, Path]) -> None:
    said: dict[str, Any] = {"task": "zero-shot", "labels": ["bad", "good"], "hypothesis": "about {}"}
    (one,) = _load(models["claims"], **said).predict([Input("task", {"text": "good news"}, "text")])
    assert isinstance(one, Predicted)
    assert one.uncertainty == pytest.approx(2 * (1 - (one.regions[0].score or 0)), abs=1e-5)
    assert _doubt(_load(models["claims"], **said), "news") == pytest.approx(1.0, abs=1e-5)
