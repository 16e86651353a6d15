"""The table of cases: what `python -m tests.benchmarks` measures, in this order. One file each."""

from tests.benchmarks.case import Case

from . import echo, encoder, hops, ingest, linear, memory, ner

CASES: tuple[Case, ...] = (
    ner.CASE,
    linear.CASE,
    encoder.CASE,
    echo.CASE,
    hops.CASE,
    ingest.CASE,
    memory.CASE,
)
