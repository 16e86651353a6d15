"""A model alone: a process of its own with one thread, asked for one measurement at a time.

The process is a module's `main`, which calls `serve`: it reads a JSON object per line from standard input, texts and
how many of them to hand to the model at once, and answers each with the seconds that the texts took.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1"),
    "TOKENIZERS_PARALLELISM": "false",
}
_PASSES = 3


class BareProcess:
    """The process that runs a bare model."""

    def __init__(self, module: str, model: Path, batches: Sequence[int]) -> None:
        """`batches`: how many texts to hand over at once, in the order in which they are tried; at least one."""
        self._batches = batches
        self._best = batches[0]
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, str(model)],
            env={**os.environ, **_ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def choose_batch(self, texts: Sequence[str]) -> None:
        """Keep to the batches that are the fastest with these texts. Raises OSError if the process has ended.

        Chosen once: the best of several measurements of each round would be above what any of them gives, the more
        so the more the machine's speed changes.
        """
        self._seconds(texts, self._best)  # the first texts of all take longer
        taken = [[self._seconds(texts, size) for size in self._batches] for _ in range(_PASSES)]
        medians = map(statistics.median, zip(*taken, strict=True))
        self._best = min(zip(medians, self._batches, strict=True))[1]

    def docs_per_second(self, texts: Sequence[str]) -> float:
        """Over all texts. Raises OSError if the process has ended."""
        return len(texts) / self._seconds(texts, self._best)

    def _seconds(self, texts: Sequence[str], batch: int) -> float:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps({"texts": list(texts), "batch": batch}) + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        if not answer:
            raise OSError("the bare model's process has ended")
        return float(json.loads(answer))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(60)


def serve(run: Callable[[list[str], int], None]) -> None:
    """Answer each line with the seconds that `run` took for its texts, in batches of so many."""
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.perf_counter()
        run(asked["texts"], asked["batch"])
        sys.stdout.write(json.dumps(time.perf_counter() - began) + "\n")
        sys.stdout.flush()
