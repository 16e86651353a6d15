"""Named entities by spaCy, the model that takes milliseconds: bare, and end to end on both sides."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.benchmarks import bare as spacy_alone
from tests.benchmarks.bare_process import BareProcess
from tests.benchmarks.case import Case, Figure, Turn
from tests.benchmarks.model import Measured
from tests.benchmarks.neighbour import neighbour
from tests.benchmarks.pipeline import Asked
from tests.benchmarks.stage import Stage

UNIT = "docs/s"
END_TO_END = "from the first byte of an NDJSON upload until the API shows the last outcome"


def asked(measured: Measured) -> Asked:
    """The project's question and model."""
    return Asked(
        question={"name": "names", "kind": "span", "field": "text", "labels": list(measured.labels)},
        model={
            "name": "names",
            "provider": "spacy",
            "settings": {"path": str(measured.model.absolute()), "emit": ["ner"]},
        },
    )


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """Everything that is wanted, side by side."""
    measured = stage.texts_and_ner()
    texts = measured.many(stage.sizes.texts)
    with ExitStack() as stack:
        turns = []
        if stage.wants("ner.bare") or stage.wants("ner.beside"):
            bare = stack.enter_context(spacy_alone.bare(measured.model))
            bare.choose_batch(texts[:256])
        if stage.wants("ner.bare"):
            turns.append(Turn("ner.bare", lambda _: {"ner.bare": bare.docs_per_second(texts)}))
        if stage.wants("ner.beside"):
            turns.append(Turn("ner.beside", lambda _: {"ner.beside": _beside(bare, texts)}))
        for side, pipeline in stage.pipelines("ner", ["spacy"], stack):
            turns.append(stage.end_to_end(f"ner.{side}", pipeline, asked(measured), texts))
        yield turns


def _beside(bare: BareProcess, texts: Sequence[str]) -> float:
    with neighbour():
        return bare.docs_per_second(texts)


CASE = Case(
    "ner",
    (
        Figure(
            "ner.bare",
            UNIT,
            "`nlp.pipe` of spaCy's own NER, one thread, a process of its own; in the best of batches of 64, 128 and "
            "256, chosen beforehand",
        ),
        Figure(
            "ner.beside",
            UNIT,
            "the same while a process that shares nothing with it keeps another core busy: what any program beside the "
            "model costs it on this machine",
            "ner.bare",
        ),
        Figure("ner.sqlite", UNIT, f"all in one on SQLite, one worker: {END_TO_END}", "ner.bare", 0.95),
        Figure(
            "ner.kafka", UNIT, "the same on Kafka and a MongoDB-wire server, a process per service", "ner.bare", 0.9
        ),
    ),
    start,
)
