"""Documents that hold commands and programs, carried out as they stand.

    ```sh run            run by bash, in a folder of the document's own; must end with 0
    ```sh start          run by bash in the background until the document has been carried out
    ```python emit.py    written to a file of that name, first of all
    ```sh                only to be read

GitHub shows the first word's colours and ignores the second.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)(?: +(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN, START = "run", "start"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, the word behind it, its text."""

    language: str
    word: str
    text: str


def blocks_of(document: Path) -> list[Block]:
    """The blocks of a document that are carried out, in order."""
    found = _BLOCK.findall(document.read_text(encoding="utf-8"))
    return [Block(*parts) for parts in found if parts[1]]


@dataclass(frozen=True, slots=True)
class Said:
    """What a document's commands printed, each for itself."""

    outputs: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.outputs)


@contextlib.contextmanager
def carried_out(
    documents: Sequence[Path], folder: Path, environment: Mapping[str, str], *, limit: float = 300.0
) -> Iterator[Said]:
    """Do what documents say, one after the other, in a folder; each command within `limit` seconds.

    What they start runs until the block ends. Raises AssertionError with what was printed, when a command ends with
    anything but 0.
    """
    blocks = [block for document in documents for block in blocks_of(document)]
    assert any(block.word == RUN for block in blocks), f"{documents} say nothing to do"
    for block in blocks:
        if block.word not in (RUN, START):
            path = folder / block.word
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    outputs = []
    with contextlib.ExitStack() as started:
        for number, block in enumerate(blocks):
            if block.word == RUN:
                outputs.append(_run(block.text, folder, environment, limit))
            elif block.word == START:
                started.enter_context(_running(block.text, folder, environment, folder / f"started-{number}.log"))
        yield Said(tuple(outputs))


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    ours = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{ours}:{os.environ['PATH']}", "NO_COLOR": "1", **environment}


def _run(text: str, folder: Path, environment: Mapping[str, str], limit: float) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=_variables(environment),
        timeout=limit,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"exit code {done.returncode} of\n{text}\nwhich printed\n{done.stdout}"
    return done.stdout


@contextlib.contextmanager
def _running(text: str, folder: Path, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=folder,
            env=_variables(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
