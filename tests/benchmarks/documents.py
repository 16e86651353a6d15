"""docs/benchmarks.md holds results: `python -m tests.benchmarks.documents` puts those of the last run there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks import plots
from tests.benchmarks.markdown import markdown, written_into

DOCUMENT = Path("docs/benchmarks.md")
PICTURES = Path("docs/benchmarks")


def write(report: Mapping[str, Any]) -> None:
    """The results between the document's markers, the pictures beside it. Raises NoMarkers."""
    drawn = plots.draw(report, PICTURES)
    results = markdown(report, [(title, f"{PICTURES.name}/{file}") for title, file in drawn])
    DOCUMENT.write_text(written_into(DOCUMENT.read_text(), results))


if __name__ == "__main__":
    write(json.loads(Path("out/bench.json").read_text()))
