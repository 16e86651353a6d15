"""The scikit-learn trainer is a trainer: of texts with one label and with several, and of numbers."""

from typing import ClassVar

from prelabel_contract.projects import Question
from prelabel_contract.regions import Choice
from prelabel_inference_sklearn.provider import SklearnProvider
from prelabel_inference_sklearn.trainer import SklearnTrainer
from prelabel_provider.testing_trainers import TrainerTests
from prelabel_provider.trainer import Example
from pydantic import JsonValue

_WORDS = {"food": "fresh bread", "sport": "a late goal", "music": "one more song"}


def _question(field: str, *, multiple: bool) -> Question:
    return Question.model_validate(
        {"name": "topic", "kind": "choice", "field": field, "labels": [*_WORDS], "multiple": multiple}
    )


def _examples(field: str) -> tuple[Example, ...]:
    made = []
    for number in range(60):
        place, (label, text) = number % 3, list(_WORDS.items())[number % 3]
        values: dict[str, JsonValue] = {"text": f"{text} {number}", "pixels": [place, number % 2, 1.5]}
        made.append(Example(f"t{number}", values, (Choice(field=field, question="topic", labels=(label,)),)))
    return tuple(made)


class TestOneLabel(TrainerTests):
    trainer = SklearnTrainer
    provider = SklearnProvider
    label_set = (_question("text", multiple=False),)
    examples = _examples("text")


class TestAnyLabels(TestOneLabel):
    label_set = (_question("text", multiple=True),)


class TestNumbers(TestOneLabel):
    label_set = (_question("pixels", multiple=False),)
    examples = _examples("pixels")
    settings: ClassVar[dict[str, JsonValue]] = {"input": "vector"}
    model_settings: ClassVar[dict[str, JsonValue]] = {"path": "digits.skops", "labels": ["a", "b"], "input": "vector"}
