"""Names in the standard library's docstrings, whose truth a rule book knows, learned by spaCy's trainer from nothing.

spaCy's parser decides step by step and tells no shares, so a pipeline as it serves has no uncertainty. What is unsure
here is read from a beam: the parser follows several ways through the text at once, and a name that some of the good
ways find and others do not is in doubt.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from prelabel_all_in_one.sample.corpus import Corpus
from prelabel_all_in_one.sample.gold import LABELS, Gold
from prelabel_contract.projects import Question
from prelabel_contract.regions import Span
from prelabel_inference_spacy.trainer import SpacyTrainer
from prelabel_provider.trainer import Example, Job
from prelabel_provider.uncertainty import Measure, uncertainty

from tests.benchmarks.learning.curves import Answer, Subject, Taught, Teach

FIELD = "text"
QUESTION = Question(
    name="names",
    kind="span",
    field=FIELD,
    labels=tuple({"value": label} for label in LABELS),
)
_WIDTH = 32
_WAYS, _DENSITY = 8, 1e-4
"""Of a beam: followed at once; how much less likely than the best one a way may be."""
_AT_ONCE = 64


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
    """A small pipeline from nothing, shown all examples in all epochs."""

    def taught(examples: Sequence[Example], seed: int) -> Taught:
        import spacy

        with tempfile.TemporaryDirectory(prefix="prelabel-bench-") as folder:
            settings = {"epochs": epochs, "patience": 0, "width": _WIDTH}
            SpacyTrainer().train(Job(tuple(examples), (QUESTION,), Path(folder), seed, settings), lambda _: None)
            nlp = spacy.load(Path(folder))

        def say(asked: Sequence[Example]) -> Sequence[Answer]:
            texts = [str(one.data[FIELD]) for one in asked]
            found = [_spans(doc) for doc in nlp.pipe(texts, batch_size=_AT_ONCE)]
            return [Answer(spans, doubt) for spans, doubt in zip(found, _doubts(nlp, texts), strict=True)]

        return say

    return taught


def _spans(doc: Any) -> tuple[Span, ...]:
    return tuple(_span(one.start_char, one.end_char, one.label_) for one in doc.ents)


def _doubts(nlp: Any, texts: Sequence[str]) -> list[float | None]:
    """Of each text: whether each name that some way finds is one, the most doubtful counts. None: no way finds any."""
    parser = nlp.get_pipe("ner")
    doubts = []
    for start in range(0, len(texts), _AT_ONCE):
        docs = [nlp.make_doc(text) for text in texts[start : start + _AT_ONCE]]
        beams = parser.beam_parse(docs, drop=0.0, beam_width=_WAYS, beam_density=_DENSITY)
        for found in parser.scored_ents(beams):
            shares = [min(1.0, share) for share in found.values()]
            decisions = [(share, 1 - share) for share in shares]
            doubts.append(uncertainty((), Measure.LEAST_CONFIDENCE, distributions=decisions))
    return doubts
