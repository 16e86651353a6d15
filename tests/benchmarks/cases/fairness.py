"""How much longer a project's work takes beside one that submitted 100 times as much before it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.benchmarks import fairness
from tests.benchmarks.case import Case, Figure, Turn, Values
from tests.benchmarks.pipeline import Pipeline
from tests.benchmarks.stage import Stage


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """A turn per side, each round with a Prelabel of its own: a backlog would outlast it."""
    texts = [f"word{number} and some more text" for number in range(stage.sizes.fair)]

    def turn(side: str, running: Callable[[int], AbstractContextManager[Pipeline]]) -> Turn:
        def measure(number: int) -> Values:
            with running(number) as pipeline:
                found = fairness.measure(pipeline, fairness.ASKED, texts, rounds=1)
            stage.note(f"fairness.{side}.seconds", {"alone": found.alone[0], "beside": found.beside[0]})
            return {f"fairness.{side}": found.slowed}

        return Turn(f"fairness.{side}", measure)

    turns = {
        "sqlite": lambda number: stage.on_sqlite(f"fairness-{number}", ["ledger"]),
        "kafka": lambda number: stage.on_kafka(f"fairness-{number}", ["ledger"]),
    }
    yield [turn(side, running) for side, running in turns.items() if stage.wants(f"fairness.{side}")]


CASE = Case(
    "fairness",
    (
        Figure(
            "fairness.sqlite",
            "times",
            f"on SQLite, a model that sleeps {fairness.SECONDS_PER_TASK * 1000:g} ms per task: how many times longer "
            "a project's work takes beside one that submitted 100 times as much before it than alone",
            at_most=1.5,
        ),
        Figure("fairness.kafka", "times", "the same on Kafka and a MongoDB-wire server", at_most=1.5),
    ),
    start,
    long=True,
)
