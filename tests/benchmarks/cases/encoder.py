"""An encoder of DistilBERT's size as int8 on ONNX Runtime, a model that takes long: bare, and end to end."""

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.benchmarks import encoder_model
from tests.benchmarks.case import Case, Figure, Turn
from tests.benchmarks.cases.ner import END_TO_END
from tests.benchmarks.pipeline import Asked
from tests.benchmarks.stage import Stage

UNIT = "docs/s"


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """Both, side by side."""
    stage.say("the encoder and its texts")
    passages = stage.texts_and_ner().texts
    folder = encoder_model.prepare(stage.kept, passages)
    texts = of_many_lengths(passages, stage.sizes.slow)
    asked = Asked(encoder_model.QUESTION, encoder_model.model(folder))
    with ExitStack() as stack:
        turns = []
        if stage.wants("encoder.bare"):
            bare = stack.enter_context(encoder_model.bare(folder))
            bare.choose_batch(texts[:24])
            turns.append(Turn("encoder.bare", lambda _: {"encoder.bare": bare.docs_per_second(texts)}))
        if stage.wants("encoder.kafka"):
            pipeline = stack.enter_context(stage.on_kafka("encoder", ["huggingface"]))
            turns.append(stage.end_to_end("encoder.kafka", pipeline, asked, texts, warm_up=32))
        yield turns


def of_many_lengths(passages: Sequence[str], count: int) -> list[str]:
    """One to four passages each, about 30 tokens apiece, in no order: where batches are not sorted, they are padded."""
    chance = random.Random(7)
    return [" ".join(chance.sample(passages, chance.randint(1, 4))) for _ in range(count)]


CASE = Case(
    "encoder",
    (
        Figure(
            "encoder.bare",
            UNIT,
            "ONNX Runtime alone, texts of 30 to 120 tokens sorted by length, one thread, a process of its own; in the "
            "best of batches of 4, 8 and 16, chosen beforehand",
        ),
        Figure(
            "encoder.kafka",
            UNIT,
            f"on Kafka and a MongoDB-wire server, a process per service: {END_TO_END}",
            "encoder.bare",
            0.95,
        ),
    ),
    start,
)
