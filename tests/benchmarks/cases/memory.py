"""What every process holds while a long run goes through to its end, with a model that answers at once."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass

from tests.benchmarks.case import Case, Figure, Turn, Values
from tests.benchmarks.cases.echo import ASKED
from tests.benchmarks.cases.ingest import content
from tests.benchmarks.pipeline import Pipeline
from tests.benchmarks.plots import SERVERS
from tests.benchmarks.processes import rss_of
from tests.benchmarks.stage import Stage

_LOOK_S = 0.5
_SAMPLES = 60
"""Kept for the picture."""


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """A turn per side, each with a Prelabel of its own."""

    def on_sqlite(_: int) -> Values:
        with stage.on_sqlite("memory", ["echo"]) as pipeline:
            return _measure(stage, "memory.sqlite", pipeline, stage.sizes.memory)

    def on_kafka(_: int) -> Values:
        with stage.on_kafka("memory", ["echo"], backend="h2") as pipeline:
            return _measure(stage, "memory.kafka", pipeline, stage.sizes.memory_kafka)

    turns = {"memory.sqlite": on_sqlite, "memory.kafka": on_kafka}
    yield [Turn(name, measure) for name, measure in turns.items() if stage.wants(name)]


def _measure(stage: Stage, name: str, pipeline: Pipeline, tasks: int) -> Values:
    first = max(1000, tasks // 20)
    with pipeline.client() as http:
        pipeline.set_up(http, "bench", ASKED)
        pipeline.ended(http, "bench", pipeline.upload(http, "bench", content(first)), first)
        with Watch(pipeline.pids()) as watch:
            run = pipeline.upload(http, "bench", content(tasks))
            pipeline.ended(http, "bench", run, tasks, look=2.0)
    samples = watch.samples
    stage.note(name, [asdict(sample) for sample in samples[:: max(1, len(samples) // _SAMPLES)]])
    before = samples[0].mib
    growth = {
        process: max(sample.mib.get(process, 0.0) for sample in samples) - before[process]
        for process in before
        if process not in SERVERS
    }
    stage.note(f"{name}.growth", {process: round(mib, 1) for process, mib in growth.items()})
    return {f"{name}.rss_growth_mib": max(growth.values())}


@dataclass(frozen=True, slots=True)
class Sample:
    """What was in RAM at a moment."""

    seconds: float
    mib: Mapping[str, float]
    """By process."""


class Watch(AbstractContextManager["Watch"]):
    """Looks at the memory of processes, again and again."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self.samples: list[Sample] = []
        self._pids = pids
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watch":
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            self._look()

    def _look(self) -> None:
        self.samples.append(Sample(round(time.monotonic() - self._began, 2), rss_of(self._pids)))


CASE = Case(
    "memory",
    (
        Figure("memory.sqlite.rss_growth_mib", "MiB", "how much all in one grew while a long run went to its end"),
        Figure(
            "memory.kafka.rss_growth_mib",
            "MiB",
            "the same on Kafka and a MongoDB-wire server: the process of ours that grew most",
        ),
    ),
    start,
    rounds=1,
)
