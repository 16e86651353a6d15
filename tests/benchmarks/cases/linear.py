"""TF-IDF and logistic regression, a model that takes microseconds: bare, through the inference hop, end to end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.benchmarks import inference_hop, linear_model
from tests.benchmarks.case import Case, Figure, Turn, Values
from tests.benchmarks.cases.ner import END_TO_END
from tests.benchmarks.linear_model import Linear, prepare
from tests.benchmarks.pipeline import Asked
from tests.benchmarks.stage import Stage

UNIT = "tasks/s"


def asked(linear: Linear) -> Asked:
    """The project's question and model."""
    project = linear.project()
    return Asked(project["label_set"]["questions"][0], project["models"][0], sample=linear.texts[0])


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """Everything that is wanted; the inference hop starts its process for each round."""
    stage.say("the linear model and its texts")
    linear = prepare(stage.kept)
    texts = (linear.texts * (stage.sizes.many // len(linear.texts) + 1))[: stage.sizes.many]

    def hop(_: int) -> Values:
        measured = inference_hop.measure(stage.folder, stage.kafka().address, asked(linear), texts)
        stage.note_cpu("linear.kafka.inference", measured.cpu)
        return {"linear.kafka.inference": measured.per_second}

    with ExitStack() as stack:
        turns = []
        if stage.wants("linear.bare"):
            bare = stack.enter_context(linear_model.bare(linear))
            bare.choose_batch(texts[:2000])
            turns.append(Turn("linear.bare", lambda _: {"linear.bare": bare.docs_per_second(texts)}))
        if stage.wants("linear.kafka.inference"):
            turns.append(Turn("linear.kafka.inference", hop))
        if stage.wants("linear.kafka.path"):
            pipeline = stack.enter_context(stage.on_kafka("linear", ["sklearn"]))
            turns.append(stage.end_to_end("linear.kafka.path", pipeline, asked(linear), texts[: len(texts) // 2]))
        yield turns


CASE = Case(
    "linear",
    (
        Figure("linear.bare", UNIT, "labels and probabilities in batches of 1,000, one thread, a process of its own"),
        Figure(
            "linear.kafka.inference",
            UNIT,
            "requests that wait on Kafka, until the last prediction is durable: one inference process, its worker, "
            "the broker",
            at_least=20_000,
        ),
        Figure(
            "linear.kafka.path",
            UNIT,
            f"on Kafka and a MongoDB-wire server, a process per service: {END_TO_END}",
            at_least=5000,
        ),
    ),
    start,
)
