"""The bare model: `nlp.pipe` in a process of its own, with one thread, asked for one measurement at a time.

python -m tests.benchmarks.bare MODEL < texts and questions, one JSON value per line
"""

import json
import sys
import time
from pathlib import Path

from tests.benchmarks.bare_process import BareProcess

BATCHES = (64, 128, 256)


def bare(model: Path) -> BareProcess:
    """spaCy's `nlp.pipe`, by itself."""
    return BareProcess("tests.benchmarks.bare", model)


def main() -> None:
    """Answer each line of texts with the seconds that each batch size took."""
    import spacy

    nlp = spacy.load(Path(sys.argv[1]))
    for line in sys.stdin:
        texts = json.loads(line)
        taken = []
        for batch in BATCHES:
            began = time.perf_counter()
            for doc in nlp.pipe(texts, batch_size=batch):
                doc.ents  # noqa: B018 - reading them is part of the job
            taken.append(time.perf_counter() - began)
        sys.stdout.write(json.dumps(taken) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
