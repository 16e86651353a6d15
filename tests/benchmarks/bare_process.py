"""A model alone: a process of its own with one thread, asked for one measurement at a time.

The process is a module's `main`: it reads texts from standard input, a JSON list per line, and answers each line with a
JSON list of the seconds that each way of asking took.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1"),
    "TOKENIZERS_PARALLELISM": "false",
}


class BareProcess:
    """The process that runs a bare model."""

    def __init__(self, module: str, model: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, str(model)],
            env={**os.environ, **_ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def docs_per_second(self, texts: Sequence[str]) -> float:
        """The best way of asking, over all texts. Raises OSError if the process has ended."""
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
        self._child.wait(60)
