"""The bare model: `nlp.pipe` in a process of its own, with one thread, asked for one measurement at a time.

python -m tests.benchmarks.bare MODEL < texts and questions, one JSON value per line
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

BATCHES = (64, 128, 256)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


class BareModel:
    """The process that runs the bare model."""

    def __init__(self, model: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.bare", str(model)],
            env={**os.environ, **dict.fromkeys(_THREADS, "1")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def docs_per_second(self, texts: Sequence[str]) -> float:
        """The best of the batch sizes, each over all texts. Raises OSError if the process has ended."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(list(texts)) + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        if not answer:
            raise OSError("the bare model's process has ended")
        best: float = min(json.loads(answer))
        return len(texts) / best

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(30)


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
