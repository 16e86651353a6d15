"""The table of cases: what `python -m tests.benchmarks.learning` measures, in this order. One file each."""

from pathlib import Path

from tests.benchmarks.case import Case
from tests.benchmarks.learning.amounts import Amounts

from . import busy, digits, gate, kills, names, storm, stormed, streamed, texts


def cases(amounts: Amounts, file: Path | None = None) -> tuple[Case, ...]:
    """All of them, so large. `file`: labelled lines in the place of docstrings."""
    return (
        digits.case(amounts),
        texts.case(amounts, file),
        names.case(amounts),
        gate.case(amounts),
        storm.case(amounts),
        kills.case(amounts),
        streamed.case(amounts),
        stormed.case(amounts),
        busy.case(amounts),
    )
