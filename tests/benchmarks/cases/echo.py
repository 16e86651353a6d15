"""A model that answers at once: what the pipeline itself can carry."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.benchmarks.case import Case, Figure, Turn
from tests.benchmarks.cases.ner import END_TO_END
from tests.benchmarks.pipeline import Asked
from tests.benchmarks.stage import Stage

UNIT = "tasks/s"
ASKED = Asked(
    question={"name": "names", "kind": "span", "field": "text", "labels": ["TYPE"]},
    model={
        "name": "names",
        "provider": "echo",
        "settings": {"regions": [{"kind": "span", "start": 0, "end": 1, "labels": ["TYPE"]}]},
    },
)


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """Everything that is wanted, side by side."""
    texts = stage.texts_and_ner().texts
    texts = (texts * (stage.sizes.many // 4 // len(texts) + 1))[: stage.sizes.many // 4]
    with ExitStack() as stack:
        yield [
            stage.end_to_end(f"echo.{side}", pipeline, ASKED, texts)
            for side, pipeline in stage.pipelines("echo", ["echo"], stack)
        ]


CASE = Case(
    "echo",
    (
        Figure("echo.sqlite", UNIT, f"one span per task at once, on SQLite: {END_TO_END}"),
        Figure("echo.kafka", UNIT, "the same on Kafka and a MongoDB-wire server"),
    ),
    start,
)
