"""What a second inference process brings, for a model that keeps a core busy."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.benchmarks.case import Case, Figure, Turn, Values
from tests.benchmarks.cases import ner
from tests.benchmarks.stage import Stage
from tests.rig.processes import PrelabelProcess

CPU = "workers.cpu"
_NAMELESS = {"PRELABEL_INSTANCE": ""}
"""A process without a name leaves its group when it stops: others take over its partitions at once."""


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """One process, then two of the same group, round by round: the second is started and stopped each time."""
    measured = stage.texts_and_ner()
    texts, asked = measured.texts[: stage.sizes.texts], ner.asked(measured)
    with ExitStack() as stack:
        turns = []
        if stage.wants(CPU):
            pipeline = stack.enter_context(stage.on_kafka("workers", ["spacy"], _NAMELESS))

            def one(number: int) -> Values:
                return {f"{CPU}.1": pipeline.measure(f"one-{number}", asked, texts).per_second}

            def two(number: int) -> Values:
                with _second(pipeline.prelabel.process("spacy"), f"spacy-{number}"):
                    return {f"{CPU}.2": pipeline.measure(f"two-{number}", asked, texts).per_second}

            turns = [Turn(f"{CPU}.1", one), Turn(f"{CPU}.2", two)]
        yield [turn for turn in turns if stage.wants(turn.name)]


@contextmanager
def _second(first: PrelabelProcess, name: str) -> Iterator[None]:
    second = first.twin(name)
    second.start()
    try:
        second.ready()
        yield
    finally:
        second.signal(signal.SIGTERM)
        second.wait(30)


CASE = Case(
    "workers",
    (
        Figure(f"{CPU}.1", ner.UNIT, "NER on Kafka and a MongoDB-wire server: one inference process"),
        Figure(f"{CPU}.2", ner.UNIT, "the same with two, on as many cores as there are", f"{CPU}.1"),
    ),
    start,
)
