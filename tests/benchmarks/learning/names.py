"""Names in the standard library's docstrings, whose truth a rule book knows, learned by spaCy's trainer from nothing.

spaCy's parser decides step by step and tells no shares. What is unsure is told as in the service, by the provider's
`beam`: it follows several ways through the text at once, and a name that some of the good ways find and others do not
is in doubt.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

from prelabel_all_in_one.sample.corpus import Corpus
from prelabel_all_in_one.sample.gold import LABELS, Gold
from prelabel_contract.projects import Question
from prelabel_contract.regions import Span
from prelabel_inference_spacy.provider import SpacyProvider
from prelabel_inference_spacy.settings import SpacySettings
from prelabel_inference_spacy.trainer import SpacyTrainer
from prelabel_provider.base import Input, Predicted, Prediction
from prelabel_provider.trainer import Example, Job

from tests.benchmarks.case import Lost
from tests.benchmarks.learning.curves import Answer, Subject, Taught, Teach

FIELD = "text"
QUESTION = Question(
    name="names",
    kind="span",
    field=FIELD,
    labels=tuple({"value": label} for label in LABELS),
)
_WIDTH = 32
_WAYS = 8
"""Followed at once by the beam."""


def subject(corpus: Corpus, count: int) -> Subject:
    """So many passages, most of them without any name, as they come."""
    gold = Gold(corpus.names)
    passages = sorted((*corpus.training, *corpus.tasks), key=lambda one: one.id)
    chosen = Random(1).sample(passages, min(count, len(passages)))
    return Subject(
        QUESTION,
        tuple(
            Example(one.id, {FIELD: one.text}, tuple(_span(start, end, label) for start, end, label in gold(one)))
            for one in chosen
        ),
    )


def _span(start: int, end: int, label: str) -> Span:
    return Span(start=start, end=end, labels=(label,), question=QUESTION.name, field=FIELD)


def teach(epochs: int) -> Teach:
    """A small pipeline from nothing, shown all examples in all epochs, and asked as the service asks it."""

    def taught(examples: Sequence[Example], seed: int) -> Taught:
        with tempfile.TemporaryDirectory(prefix="prelabel-bench-") as folder:
            settings = {"epochs": epochs, "patience": 0, "width": _WIDTH}
            SpacyTrainer().train(Job(tuple(examples), (QUESTION,), Path(folder), seed, settings), lambda _: None)
            provider = SpacyProvider.load(SpacySettings(path=folder, emit=("ner",), beam=_WAYS))
        return lambda asked: [_answer(said) for said in provider.predict([_input(one) for one in asked])]

    return taught


def _input(example: Example) -> Input:
    return Input(example.task, example.data, FIELD)


def _answer(said: Prediction) -> Answer:
    if not isinstance(said, Predicted):
        raise Lost(f"a passage was not predicted: {said}")
    spans = (one for one in said.regions if isinstance(one, Span))
    return Answer(tuple(_span(one.start, one.end, one.labels[0]) for one in spans), said.uncertainty)
