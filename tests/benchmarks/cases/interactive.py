"""One prediction that somebody waits for: while nothing else goes on, while an upload is taken in, and while all of it
waits for the same model.

It may come later beside the backlog by the one call of the model that was running: how long such a call took meanwhile
follows from what the model's process tells of itself. While an upload is taken in, what a request needs on its way to
the model (the HTTP server, the bus, the dispatcher) has its hands full besides: that is measured apart.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle

import httpx

from tests.benchmarks.case import Case, Figure, Lost, Turn, Values
from tests.benchmarks.cases import ner
from tests.benchmarks.model import Measured
from tests.benchmarks.pipeline import Pipeline, lines
from tests.benchmarks.stage import Stage
from tests.benchmarks.told import Worked

_WARM_UP = 5
_FEWEST = 5
_LASTS = 0.9
"""A request counts while less than this share of the backlog is done."""
CALL = 32
"""Texts in one call of the model: the provider's own `BatchShape`."""
_QUANTILES = {"p50": 0.5, "p99": 0.99}


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """A turn per side, each round with a Prelabel of its own: a backlog would outlast it."""
    measured = stage.texts_and_ner()

    def turn(name: str, running: Callable[[int], AbstractContextManager[Pipeline]]) -> Turn:
        def measure(number: int) -> Values:
            with running(number) as pipeline:
                return _measure(stage, name, pipeline, measured)

        return Turn(name, measure)

    turns = {
        "interactive.sqlite": lambda number: stage.on_sqlite(f"interactive-{number}", ["spacy"]),
        "interactive": lambda number: stage.on_kafka(f"interactive-{number}", ["spacy"]),
    }
    wanted = {"interactive.sqlite": "interactive.sqlite", "interactive": "interactive.idle"}
    yield [turn(name, running) for name, running in turns.items() if stage.wants(wanted[name])]


def _measure(stage: Stage, name: str, pipeline: Pipeline, measured: Measured) -> Values:
    texts, requests, backlog = measured.texts, stage.sizes.requests, stage.sizes.backlog
    with pipeline.client() as http:
        pipeline.set_up(http, "bench", ner.asked(measured))
        list(ask(pipeline, http, texts[:_WARM_UP]))
        idle = list(ask(pipeline, http, texts[:requests]))
        waiting = (f"{text} {number}" for number, text in zip(range(backlog), cycle(texts), strict=False))
        run = pipeline.upload(http, "bench", lines(waiting))
        arriving = _beside(pipeline, http, run, stage, [f"{text} early" for text in texts[:requests]])
        pipeline.accepted(http, "bench", run, backlog)
        before = Worked.until_now(pipeline.prelabel)
        beside = _beside(pipeline, http, run, stage, [f"{text} now" for text in texts[:requests]])
        each = Worked.until_now(pipeline.prelabel).each_since(before)
    stage.note(f"{name}.ms", {"idle": idle, "arriving": arriving, "backlog": beside, "call": each * CALL})
    found = {
        f"{name}.{when}.{word}_ms": quantile(seconds, share) * 1000
        for when, seconds in (("idle", idle), ("arriving", arriving), ("backlog", beside))
        for word, share in _QUANTILES.items()
    }
    return found | {f"{name}.backlog.later": later(idle, beside, each * CALL)}


def _beside(pipeline: Pipeline, http: httpx.Client, run: str, stage: Stage, texts: Sequence[str]) -> Sequence[float]:
    """Seconds of each request while most of the backlog is still to be done. Raises Lost where those are too few."""
    taken = []
    for seconds in ask(pipeline, http, texts):
        if pipeline.created(http, "bench", run) > _LASTS * stage.sizes.backlog:
            break
        taken.append(seconds)
    if len(taken) < _FEWEST:
        raise Lost(f"a backlog of {stage.sizes.backlog} lasted for {len(taken)} requests")
    return taken


def later(idle: Sequence[float], beside: Sequence[float], call: float) -> float:
    """By how many calls of the model, of so many seconds each, the p99 comes later beside a backlog."""
    share = _QUANTILES["p99"]
    return max(0.0, quantile(beside, share) - quantile(idle, share)) / call


def ask(pipeline: Pipeline, http: httpx.Client, texts: Sequence[str]) -> Iterator[float]:
    """Seconds of each request, one after the other. Raises Lost where an answer is not there in time."""
    for text in texts:
        began = time.perf_counter()
        answer = http.post(
            f"{pipeline.prelabel.address}/v1/projects/bench/predictions",
            json={"data": {"text": text}},
            headers={"Prefer": "wait=30"},
        )
        seconds = round(time.perf_counter() - began, 5)
        if answer.status_code != httpx.codes.OK:
            raise Lost(f"an interactive request was answered {answer.status_code}: {answer.text[:200]}")
        yield seconds


def quantile(seconds: Sequence[float], share: float) -> float:
    """The least value that so many are not above."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _figures(name: str, where: str) -> Iterator[Figure]:
    idle = f"{where}: POST of one text with `Prefer: wait`, one after the other, nothing else going on"
    yield Figure(f"{name}.idle.p50_ms", "ms", idle)
    yield Figure(f"{name}.idle.p99_ms", "ms", idle)
    arriving = f"{where}: the same, right after a bulk upload for the same model was handed in, while it is taken in"
    yield Figure(f"{name}.arriving.p50_ms", "ms", arriving)
    yield Figure(f"{name}.arriving.p99_ms", "ms", arriving)
    beside = f"{where}: the same, when all of the upload has been accepted and waits for the model"
    yield Figure(f"{name}.backlog.p50_ms", "ms", beside)
    yield Figure(f"{name}.backlog.p99_ms", "ms", beside, at_most=300)
    of_calls = f"{where}: how much later p99 comes beside the backlog than idle, in calls of the model of {CALL} texts"
    yield Figure(f"{name}.backlog.later", "calls", of_calls, at_most=1)


CASE = Case(
    "interactive",
    (
        *_figures("interactive.sqlite", "NER on SQLite"),
        *_figures("interactive", "NER on Kafka and a MongoDB-wire server"),
    ),
    start,
    long=True,
)
