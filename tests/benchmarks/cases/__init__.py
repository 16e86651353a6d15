"""The table of cases: what `python -m tests.benchmarks` measures, in this order. One file each."""

from tests.benchmarks.case import Case

from . import echo, encoder, fairness, hops, ingest, interactive, linear, memory, ner, peers, remote, workers

CASES: tuple[Case, ...] = (
    ner.CASE,
    linear.CASE,
    encoder.CASE,
    echo.CASE,
    hops.CASE,
    interactive.CASE,
    fairness.CASE,
    remote.CASE,
    workers.BY_LATENCY,
    workers.BY_CPU,
    ingest.CASE,
    memory.CASE,
    peers.CASE,
)
