"""The bare model: `nlp.pipe` in a process of its own, with one thread, asked for one measurement at a time.

python -m tests.benchmarks.bare MODEL < what `bare_process` says
"""

import sys
from pathlib import Path

from tests.benchmarks.bare_process import BareProcess, serve

BATCHES = (64, 128, 256)


def bare(model: Path) -> BareProcess:
    """spaCy's `nlp.pipe`, by itself."""
    return BareProcess("tests.benchmarks.bare", model, BATCHES)


def main() -> None:
    """Answer until standard input ends."""
    import spacy

    nlp = spacy.load(Path(sys.argv[1]))

    def run(texts: list[str], batch: int) -> None:
        for doc in nlp.pipe(texts, batch_size=batch):
            doc.ents  # noqa: B018 - reading them is part of the job

    serve(run)


if __name__ == "__main__":
    main()
