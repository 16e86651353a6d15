"""The spaCy trainer is a trainer: of entities, of spans that overlap, and of categories."""

from typing import ClassVar

from prelabel_contract.projects import Question
from prelabel_contract.regions import Choice, Region, Span
from prelabel_inference_spacy.provider import SpacyProvider
from prelabel_inference_spacy.trainer import SpacyTrainer
from prelabel_provider.testing_trainers import TrainerTests
from prelabel_provider.trainer import Example
from pydantic import JsonValue

_CITIES = ("Paris", "London", "Rome", "Oslo", "Bern", "Lima")


def _sentence(number: int) -> tuple[str, tuple[Region, ...]]:
    city, good = _CITIES[number % 6], bool(number % 2)
    text = f"{'lovely' if good else 'awful'} days in {city} again"
    place = text.index(city)
    span = Span(start=place, end=place + len(city), labels=("CITY",), question="where", field="text")
    mood = Choice(labels=("good" if good else "bad",), question="mood", field="text")
    return text, (span, mood)


def _examples(*questions: str) -> tuple[Example, ...]:
    made = ((number, *_sentence(number)) for number in range(48))
    return tuple(
        Example(f"t{number}", {"text": text}, tuple(one for one in regions if one.question in questions))
        for number, text, regions in made
    )


_WHERE = Question.model_validate({"name": "where", "kind": "span", "field": "text", "labels": ["CITY"]})
_MOOD = Question.model_validate(
    {"name": "mood", "kind": "choice", "field": "text", "labels": ["good", "bad"], "multiple": False}
)


class TestEntities(TrainerTests):
    trainer = SpacyTrainer
    provider = SpacyProvider
    label_set = (_WHERE,)
    examples = _examples("where")
    settings: ClassVar[dict[str, JsonValue]] = {"epochs": 8}
    model_settings: ClassVar[dict[str, JsonValue]] = {
        "blank": "en",
        "patterns": [{"label": "CITY", "pattern": "Paris"}],
        "emit": ["entity_ruler"],
    }


class TestSpans(TestEntities):
    settings: ClassVar[dict[str, JsonValue]] = {"epochs": 12, "spans": "spancat"}
    model_settings: ClassVar[dict[str, JsonValue]] = {}


class TestCategories(TestEntities):
    label_set = (_MOOD,)
    examples = _examples("mood")
    model_settings: ClassVar[dict[str, JsonValue]] = {"pipeline": "some_pipeline", "batch_size": 8}


class TestBoth(TestEntities):
    label_set = (_WHERE, _MOOD)
    examples = _examples("where", "mood")
