"""How long a run takes: guesses from rates of two quiet cores, for `--list`.

Renew the rates from the seconds of each turn that the last full run has put into out/bench.json.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.case import Case, Sizes

ALL_IN_ONE_S: Final = 5.0
"""Seconds until all in one is ready."""
SERVICES_S: Final = 14.0
"""Until every service is, and a MongoDB-wire server."""
KAFKA_S: Final = 6.0
"""Until the broker is, once."""

# Texts or tasks per second.
NER: Final = 340.0
NER_KAFKA: Final = 270.0
LINEAR: Final = 40_000.0
LINEAR_HOP: Final = 7300.0
LINEAR_PATH: Final = 1000.0
REQUESTS: Final = 8000.0
"""Put onto Kafka, for the inference hop."""
ENCODER: Final = 19.0
ECHO: Final = 1400.0
ECHO_OF_MANY: Final = 1100.0
"""While the store's file grows to a gigabyte."""
ECHO_KAFKA: Final = 930.0
ECHO_KAFKA_ON_DISK: Final = 400.0
"""With a database that holds less in memory."""
LINES: Final = 9000.0
"""Lines of an upload."""
LINES_KAFKA: Final = 5000.0
TAKEN: Final = 2600.0
TAKEN_KAFKA: Final = 440.0
"""Lines of an upload, until all are accepted while the model works, too."""
ANSWERS: Final = 7.0
"""Interactive requests under a backlog."""
PEER_SHARE: Final = {
    "label-studio-ml.1": 0.19,
    "label-studio-ml.100": 0.42,
    "label-studio-ml-piped.1": 0.19,
    "label-studio-ml-piped.100": 1.0,
    "bentoml.1": 0.35,
    "bentoml.100": 0.6,
}
"""Of what the model does alone."""


@dataclass(frozen=True, slots=True)
class Takes:
    """Seconds."""

    once: float
    each: float
    """Every round."""


Estimate = Callable[[Sizes], Takes]


def _peer(share: float) -> Estimate:
    return lambda sizes: Takes(10, sizes.peers / (share * NER))


def _ingest(lines_per_second: float, start: float) -> Estimate:
    return lambda sizes: Takes(0, start + 1.1 * sizes.lines / lines_per_second)


def _interactive(taken_per_second: float, start: float) -> Estimate:
    return lambda sizes: Takes(
        0, start + sizes.backlog / taken_per_second + 2 * sizes.requests / ANSWERS + sizes.requests * 0.015
    )


def _fairness(lines_per_second: float, start: float) -> Estimate:
    return lambda sizes: Takes(0, start + sizes.fair * 0.01 * 2.6 + 100 * sizes.fair / lines_per_second)


def _workers(count: int) -> Estimate:
    return lambda sizes: Takes(0, 1.2 * sizes.seconds + 2 + 1.5 * count if count in sizes.workers else 0)


ESTIMATES: Final[Mapping[str, Estimate]] = {
    "ner.bare": lambda sizes: Takes(4 + 10 * 256 / NER, sizes.texts / NER),
    "ner.beside": lambda sizes: Takes(0, 1.3 * sizes.texts / NER),
    "ner.sqlite": lambda sizes: Takes(ALL_IN_ONE_S, 1 + sizes.texts / NER),
    "ner.kafka": lambda sizes: Takes(KAFKA_S + SERVICES_S, 1.5 + sizes.texts / NER_KAFKA),
    "linear.bare": lambda sizes: Takes(4, sizes.many / LINEAR),
    "linear.kafka.inference": lambda sizes: Takes(0, 8 + sizes.many / REQUESTS + sizes.many / LINEAR_HOP),
    "linear.kafka.path": lambda sizes: Takes(SERVICES_S, 2 + sizes.many / 2 / LINEAR_PATH),
    "encoder.bare": lambda sizes: Takes(6 + 10 * 24 / ENCODER, sizes.slow / ENCODER),
    "encoder.kafka": lambda sizes: Takes(SERVICES_S, 3 + sizes.slow / ENCODER),
    "echo.sqlite": lambda sizes: Takes(ALL_IN_ONE_S, 1 + sizes.many / 4 / ECHO),
    "echo.kafka": lambda sizes: Takes(SERVICES_S, 1.5 + sizes.many / 4 / ECHO_KAFKA),
    "hops.sqlite": lambda sizes: Takes(0, 4 + max(2000, sizes.texts) / 1000),
    "hops.kafka": lambda sizes: Takes(0, 20 + max(2000, sizes.texts) / 500),
    "interactive.sqlite": _interactive(TAKEN, ALL_IN_ONE_S),
    "interactive.idle": _interactive(TAKEN_KAFKA, SERVICES_S),
    "fairness.sqlite": _fairness(LINES, ALL_IN_ONE_S),
    "fairness.kafka": _fairness(LINES_KAFKA, SERVICES_S),
    "remote.calls": lambda sizes: Takes(ALL_IN_ONE_S, 8 + sizes.seconds),
    "remote.untold.calls": lambda sizes: Takes(0, 10 + 1.2 * sizes.seconds),
    "remote.others": lambda sizes: Takes(0, 8 + 1.2 * sizes.seconds),
    **{f"workers.{count}": _workers(count) for count in (2, 4, 8)},
    "workers.1": lambda sizes: Takes(SERVICES_S, 1.2 * sizes.seconds + 2),
    "workers.cpu.1": lambda sizes: Takes(SERVICES_S, 2 + sizes.texts / NER_KAFKA),
    "workers.cpu.2": lambda sizes: Takes(0, 5 + sizes.texts / NER_KAFKA),
    "ingest.lines": _ingest(LINES_KAFKA, SERVICES_S),
    "ingest.sqlite": _ingest(LINES, ALL_IN_ONE_S),
    "memory.sqlite": lambda sizes: Takes(0, ALL_IN_ONE_S + 1.02 * sizes.memory / ECHO_OF_MANY),
    "memory.kafka": lambda sizes: Takes(0, SERVICES_S + 1.02 * sizes.memory_kafka / ECHO_KAFKA_ON_DISK),
    "peers.prelabel": lambda sizes: Takes(ALL_IN_ONE_S, 1 + sizes.texts / NER),
    **{f"peers.{name}": _peer(share) for name, share in PEER_SHARE.items()},
}
"""By the beginnings of the names of a turn's figures."""


def seconds(case: Case, sizes: Sizes) -> float:
    """What a case takes, with those of its figures that it has."""
    names = [f"{figure.name}." for figure in case.figures]
    taken = [
        estimate(sizes)
        for begins, estimate in ESTIMATES.items()
        if any(name.startswith(f"{begins}.") for name in names)
    ]
    return sum(one.once + case.rounds_of(sizes) * one.each for one in taken)


def said(length: float) -> str:
    """For people: `40 s`, `3 min`."""
    return f"{length:.0f} s" if length < 90 else f"{length / 60:.0f} min"
