"""What docs/learning.md holds of ours: `python -m tests.benchmarks.learning.documents [--results]`.

Writes what is measured, as the cases say; with --results those of the last run too, with their pictures.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks import plots
from tests.benchmarks.learning import pictures
from tests.benchmarks.learning.amounts import FULL
from tests.benchmarks.learning.cases import cases
from tests.benchmarks.markdown import Block, figures, markdown

DOCUMENT = Path("docs/learning.md")
PICTURES = Path("docs/learning")
FIGURES = Block("figures", "python -m tests.benchmarks.learning.documents")
RESULTS = Block("results", "python -m tests.benchmarks.learning --write-docs")


def with_figures(document: str) -> str:
    """The document with what is measured. Raises NoMarkers."""
    return FIGURES.written_into(document, figures(cases(FULL)))


def write_results(report: Mapping[str, Any]) -> None:
    """Put a report into the document, its pictures beside it. Raises NoMarkers."""
    drawn = plots.draw(report, PICTURES, pictures.PLOTS)
    results = markdown(report, [(title, f"{PICTURES.name}/{file}") for title, file in drawn])
    DOCUMENT.write_text(RESULTS.written_into(with_figures(DOCUMENT.read_text()), results))


def main() -> None:
    """Write."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.learning.documents", description=__doc__)
    parser.add_argument("--results", action="store_true", help="those of out/learning.json too")
    if parser.parse_args().results:
        write_results(json.loads(Path("out/learning.json").read_text()))
    DOCUMENT.write_text(with_figures(DOCUMENT.read_text()))


if __name__ == "__main__":
    main()
