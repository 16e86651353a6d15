"""What more inference processes bring: for a model that keeps a core busy, and for one that only takes its time."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.case import FULL, Case, Figure, Turn, Values
from tests.benchmarks.cases import ner
from tests.benchmarks.pipeline import Asked, Pipeline
from tests.benchmarks.stage import Stage
from tests.rig.processes import PrelabelProcess

CPU, LATENCY = "workers.cpu", "workers"
_SECONDS_PER_TASK = 0.02
_SLEEPS = Asked(
    question={"name": "first", "kind": "span", "field": "text", "labels": ["FIRST"]},
    model={
        "name": "first",
        "provider": "ledger",
        "settings": {"label": "FIRST", "seconds_per_task": _SECONDS_PER_TASK},
    },
)
_ENVIRONMENT = {
    # A process without a name leaves its group when it stops: others take over its partitions at once.
    "PRELABEL_INSTANCE": "",
    # As many for each, and so many that chance gives each about as many tasks.
    "PRELABEL_PARTITIONS": "24",
    # A third of a second.
    "PRELABEL_INFERENCE_RECORDS": "16",
}


@contextmanager
def bound_by_cpu(stage: Stage) -> Iterator[list[Turn]]:
    """Each turn has as many processes as its name says: more are started, or some stopped, before it is measured."""
    measured = stage.texts_and_ner()
    texts, asked = measured.many(stage.sizes.texts), ner.asked(measured)
    environment = {**_ENVIRONMENT, "PRELABEL_INFERENCE_RECORDS": "256"}
    with stage.on_kafka("workers-cpu", ["spacy"], environment) as pipeline, Replicas.of(pipeline, "spacy") as replicas:

        def turn(count: int) -> Turn:
            name = f"{CPU}.{count}"

            def measure(number: int) -> Values:
                replicas.run(count)
                return {name: pipeline.measure(f"cpu-{count}-{number}", asked, texts).per_second}

            return Turn(name, measure)

        yield [turn(count) for count in (1, 2) if stage.wants(f"{CPU}.{count}")]


@contextmanager
def bound_by_latency(stage: Stage) -> Iterator[list[Turn]]:
    """The same."""
    with stage.on_kafka("workers", ["ledger"], _ENVIRONMENT) as pipeline, Replicas.of(pipeline, "ledger") as replicas:

        def turn(count: int) -> Turn:
            name = f"{LATENCY}.{count}"
            tasks = int(count * stage.sizes.seconds / _SECONDS_PER_TASK)
            texts = [f"word{number} and some more text" for number in range(tasks)]

            def measure(number: int) -> Values:
                replicas.run(count)
                return {name: pipeline.rate(f"latency-{count}-{number}", _SLEEPS, texts, warm_up=32 * count)}

            return Turn(name, measure)

        yield [turn(count) for count in stage.sizes.workers if stage.wants(f"{LATENCY}.{count}")]


class Replicas:
    """As many processes of one service as are asked for; the first is Prelabel's own."""

    def __init__(self, first: PrelabelProcess) -> None:
        self._first = first
        self._more: list[PrelabelProcess] = []
        self._started = 0

    @classmethod
    @contextmanager
    def of(cls, pipeline: Pipeline, name: str) -> Iterator["Replicas"]:
        """Those beyond the first end with this."""
        replicas = cls(pipeline.prelabel.process(name))
        try:
            yield replicas
        finally:
            replicas.run(1)

    def run(self, count: int) -> None:
        """Start some or stop some; returns when all that should run are ready."""
        while len(self._more) >= count:
            stopped = self._more.pop()
            stopped.signal(signal.SIGTERM)
            stopped.wait(60)
        while len(self._more) < count - 1:
            self._started += 1
            self._more.append(self._first.twin(f"{self._first.name}-{self._started}"))
            self._more[-1].start()
        for process in self._more:
            process.ready()


BY_CPU = Case(
    "workers",
    (
        Figure(f"{CPU}.1", ner.UNIT, "NER on Kafka and a MongoDB-wire server: one inference process"),
        Figure(f"{CPU}.2", ner.UNIT, "the same with two, on as many cores as there are", f"{CPU}.1"),
    ),
    bound_by_cpu,
    long=True,
)
BY_LATENCY = Case(
    "workers",
    (
        Figure(
            f"{LATENCY}.1",
            "tasks/s",
            f"a model that sleeps {_SECONDS_PER_TASK * 1000:g} ms per task, on Kafka and a MongoDB-wire server: one "
            "inference process, while all have work",
        ),
        *(
            Figure(
                f"{LATENCY}.{count}", "tasks/s", f"the same with {count}", f"{LATENCY}.1", 7.5 if count == 8 else None
            )
            for count in FULL.workers[1:]
        ),
    ),
    bound_by_latency,
    long=True,
)
