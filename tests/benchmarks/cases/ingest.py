"""A long upload: NDJSON, streamed by one HTTP client, until it is accepted as a whole; and the memory that it takes."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import repeat

from tests.benchmarks.case import Case, Figure, Turn, Values
from tests.benchmarks.cases.echo import ASKED
from tests.benchmarks.pipeline import Pipeline
from tests.benchmarks.processes import cpu_seconds, rss_mib
from tests.benchmarks.stage import Stage

_LINE = json.dumps({"data": {"text": "Some thirty tokens of text that somebody wants to have labelled. " * 2}}).encode()
_PIECE = 400
"""Lines that the client sends at once, 58 KiB."""
_LOOK_S = 0.05
_SAMPLES = 20
"""Of how far it has grown, by lines."""


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """A turn per side, each with a Prelabel of its own: what one has to carry away would slow the next."""

    def on_sqlite(number: int) -> Values:
        with stage.on_sqlite(f"ingest-{number}", ["echo"]) as pipeline:
            return _measure(stage, "ingest.sqlite", pipeline, stage.sizes.lines, door="all_in_one")

    def on_kafka(number: int) -> Values:
        with stage.on_kafka(f"ingest-{number}", ["echo"]) as pipeline:
            return _measure(stage, "ingest", pipeline, stage.sizes.lines, door="ingestion")

    turns = {"ingest.sqlite": on_sqlite, "ingest": on_kafka}
    wanted = {"ingest.sqlite": "ingest.sqlite", "ingest": "ingest.lines"}
    yield [Turn(name, measure) for name, measure in turns.items() if stage.wants(wanted[name])]


def _measure(stage: Stage, name: str, pipeline: Pipeline, lines: int, *, door: str) -> Values:
    process = pipeline.prelabel.process(door)
    with pipeline.client() as http:
        pipeline.set_up(http, "bench", ASKED)
        for other in pipeline.prelabel.names:
            if other != door:  # a deployment has cores of its own for them
                pipeline.prelabel.terminate(other)
        pipeline.upload(http, "bench", content(max(2 * _PIECE, lines // 50)), at=process.address)
        grown: list[tuple[int, float]] = []
        before = cpu_seconds(process.pid)
        with Peak(process.pid) as memory:
            began = time.perf_counter()
            sent = looked_at(content(lines), lines // _SAMPLES, lambda lines: grown.append((lines, memory.growth)))
            pipeline.upload(http, "bench", sent, at=process.address)
            seconds = time.perf_counter() - began
        cpu = cpu_seconds(process.pid) - before
    stage.note(f"{name}.growth_mib_by_lines", [(lines, round(mib, 1)) for lines, mib in grown])
    stage.note_cpu(name, {door: cpu / lines * 1e6})
    return {f"{name}.lines": lines / seconds, f"{name}.rss_growth_mib": memory.growth}


def looked_at(content: Iterator[bytes], every: int, look: Callable[[int], None]) -> Iterator[bytes]:
    """The same, and a look each time when so many lines more have gone out."""
    sent = looked = 0
    for piece in content:
        yield piece
        sent += piece.count(b"\n")
        if sent - looked >= every:
            look(sent)
            looked = sent


def content(lines: int) -> Iterator[bytes]:
    """NDJSON of so many tasks."""
    piece = (_LINE + b"\n") * _PIECE
    yield from repeat(piece, lines // _PIECE)
    yield (_LINE + b"\n") * (lines % _PIECE)


class Peak(AbstractContextManager["Peak"]):
    """Watches how much a process grows, in MiB."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = self._peak = rss_mib(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def growth(self) -> float:
        """The most it has held, less what it held at first."""
        return self._peak - self._before

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            self._peak = max(self._peak, rss_mib(self._pid))


CASE = Case(
    "ingest",
    (
        Figure(
            "ingest.lines",
            "lines/s",
            "NDJSON over HTTP into one ingestion process on Kafka, its dispatcher at work, the other services stopped",
            at_least=10_000,
        ),
        Figure("ingest.rss_growth_mib", "MiB", "how much that process grew meanwhile", at_most=64),
        Figure("ingest.sqlite.lines", "lines/s", "the same into all in one, everything at work", at_least=10_000),
        Figure("ingest.sqlite.rss_growth_mib", "MiB", "how much it grew meanwhile", at_most=64),
    ),
    start,
    rounds=1,
)
