"""The transformers trainer is a trainer: of tags and of choices. `make test-torch` runs it."""

from pathlib import Path
from typing import ClassVar

import pytest
from prelabel_contract.projects import Question
from prelabel_contract.regions import Choice, Span
from prelabel_inference_huggingface.provider import HuggingFaceProvider
from prelabel_inference_huggingface.trainer import HuggingFaceTrainer
from prelabel_provider.testing_trainers import TrainerTests
from prelabel_provider.trainer import Example
from pydantic import JsonValue

from tests.rig.onnx_models import pieces

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

_CITIES = ("Paris", "London", "Rome", "Oslo", "Bern", "Lima")
_FAST: dict[str, JsonValue] = {"learn_rate": 0.005, "batch": 8, "epochs": 12, "max_tokens": 32, "device": "cpu"}


def _examples(*, spans: bool) -> tuple[Example, ...]:
    made = []
    for number in range(48):
        city, good = _CITIES[number % 6], bool(number % 2)
        text = f"{'lovely' if good else 'awful'} days in {city} again"
        place = text.index(city)
        span = Span(start=place, end=place + len(city), labels=("CITY",), question="where", field="text")
        mood = Choice(labels=("good" if good else "bad",), question="mood", field="text")
        made.append(Example(f"t{number}", {"text": text}, (span if spans else mood,)))
    return tuple(made)


class TestSpans(TrainerTests):
    trainer = HuggingFaceTrainer
    provider = HuggingFaceProvider
    label_set = (Question.model_validate({"name": "where", "kind": "span", "field": "text", "labels": ["CITY"]}),)
    examples = _examples(spans=True)
    settings: ClassVar[dict[str, JsonValue]] = _FAST
    start = "settings"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _base(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        folder = tmp_path_factory.mktemp("base") / "encoder"
        tokenizer = pieces(str(one.data["text"]) for one in cls.examples)
        torch.manual_seed(1)
        config = transformers.BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
        )
        transformers.BertModel(config).save_pretrained(folder)
        tokenizer.save(str(folder / "tokenizer.json"))
        cls.model_settings = cls._model_settings(folder)

    @classmethod
    def _model_settings(cls, folder: Path) -> dict[str, JsonValue]:
        said = {"aggregation": "average", "max_tokens": 64, "overlap": 30, "device": "cpu"}
        return {"path": str(folder), "task": "token-classification", **said}


class TestChoices(TestSpans):
    label_set = (
        Question.model_validate(
            {"name": "mood", "kind": "choice", "field": "text", "labels": ["good", "bad"], "multiple": False}
        ),
    )
    examples = _examples(spans=False)

    @classmethod
    def _model_settings(cls, folder: Path) -> dict[str, JsonValue]:
        said = {"labels": ["good", "bad"], "least": 0.4, "hypothesis": "It is {}.", "device": "cpu"}
        return {"path": str(folder), "task": "zero-shot", **said}
