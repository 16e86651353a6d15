"""A training's workspace: what it learns from and is judged by, and what its models said, as files.

They lie beside the artifacts, at trainings/<project>/<model>/<number>/ of the model store's place, since whoever trains
may be another machine than whoever asked. They are the tasks' data, so they go as soon as the version is judged:
`remove` is part of every end.

One value per line, in JSON, compressed; the same values give the same bytes. Every call but `Workspaces(...)` and `of`
raises `Unavailable` where the place does not answer, and runs in threads of its own. Who writes what: the training
service examples and the hold-out, before it asks for the training; the trainer role the answers, before it says that
the training has ended. Writing again replaces.
"""

import asyncio
import gzip
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from prelabel_contract.base import READING, Model, Score
from prelabel_contract.regions import Regions
from prelabel_runtime import log
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.files import Files
from pydantic import JsonValue

from ..scratch import clear_left, scratch
from ..trainer import Example

T = TypeVar("T")
M = TypeVar("M", bound=Model)
_log = log.get("prelabel.workspace")

FOLDER = "trainings"
"""Beside the artifacts, which are folders too: no artifact has this name."""
ANSWER_SECONDS = 1800.0
"""To move one file; a place that takes longer counts as down."""
_LINES = 256
"""Read and written at once by a thread."""
_ANY_SIZE = 1 << 62


class ExampleLine(Model):
    """A task and what people said about it, or shall find again."""

    task: str
    data: dict[str, JsonValue]
    regions: Regions = ()
    weight: float = 1.0

    @classmethod
    def of(cls, example: Example) -> "ExampleLine":
        """An example's line."""
        return cls(task=example.task, data=dict(example.data), regions=example.regions, weight=example.weight)

    @property
    def example(self) -> Example:
        """The example."""
        return Example(self.task, self.data, self.regions, self.weight)


class AnswerLine(Model):
    """What a model says about a task of the hold-out, as inference would tell it."""

    task: str
    regions: Regions | None = ()
    """Null: it could not be predicted."""
    uncertainty: Score | None = None


@dataclass(frozen=True, slots=True)
class Lines(Generic[M]):
    """A file of a workspace: its name, and what its lines are."""

    name: str
    line: type[M]


EXAMPLES = Lines("examples.jsonl.gz", ExampleLine)
"""What the candidate learns from."""
HOLDOUT = Lines("holdout.jsonl.gz", ExampleLine)
"""What no version has learned from, with the truth as it was known when the training was asked for."""
CANDIDATE = Lines("candidate.jsonl.gz", AnswerLine)
"""What the candidate says about the hold-out's tasks."""
SERVING = Lines("serving.jsonl.gz", AnswerLine)
"""What served says about them."""


@dataclass(frozen=True, slots=True)
class Written:
    """A workspace that has files."""

    project: str
    model: str
    number: int
    at_ms: int
    """When the last of them was written, ms since 1970."""


class Workspaces:
    """The workspaces of a model store's place."""

    def __init__(self, url: str, *, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        """Opens nothing yet. Raises `Refused` for a place that we cannot use."""
        self._files = Files(url, setting="PRELABEL_MODELS", random_bytes=random_bytes)

    def of(self, project: str, model: str, number: int) -> "Workspace":
        """One training's."""
        return Workspace(self._files, f"{FOLDER}/{project}/{model}/{number}")

    async def written(self) -> list[Written]:
        """Those that have files, whole or in part."""
        return await _at_place(self._files, self._written)

    def stop(self) -> None:
        """Let go of the threads."""
        self._files.stop()

    def _written(self) -> list[Written]:
        last: dict[tuple[str, str, int], int] = {}
        for entry in self._files.walk(FOLDER):
            parts = entry.name.split("/")
            if len(parts) == 4 and parts[2].isascii() and parts[2].isdecimal():
                key = parts[0], parts[1], int(parts[2])
                last[key] = max(entry.modified_ms, last.get(key, 0))
        return [Written(*key, at_ms) for key, at_ms in sorted(last.items())]


class Workspace:
    """One training's files."""

    def __init__(self, files: Files, folder: str) -> None:
        self._files = files
        self._folder = folder

    async def write(self, file: Lines[M], lines: Iterable[M] | AsyncIterable[M]) -> int:
        """Keep these lines, all at once or not at all, and answer how many they are."""
        await asyncio.to_thread(clear_left)
        async with scratch() as folder:
            path = folder / "lines"
            count = 0
            with _packing(path) as packed:
                async for some in _portions(lines):
                    await self._files.off_loop(_dump, packed, some)
                    count += len(some)
            await self._at_place(self._files.upload, f"{self._folder}/{file.name}", path)
        return count

    async def read(self, file: Lines[M]) -> AsyncGenerator[M, None]:
        """The lines of a file, in their order. Raises FileNotFoundError where there is none."""
        await asyncio.to_thread(clear_left)
        async with scratch() as folder:
            path = folder / "lines"
            await self.download(file, path)
            with gzip.open(path, "rb") as unpacked:
                while some := await self._files.off_loop(_load, unpacked, file.line):
                    for one in some:
                        yield one

    async def download(self, file: Lines[M], target: Path) -> None:
        """Bring a file to this machine, compressed as it is. Raises FileNotFoundError where there is none."""
        await self._at_place(self._download, f"{self._folder}/{file.name}", target)

    async def remove(self) -> None:
        """Forget all of it; there may be nothing."""
        await self._at_place(self._files.delete, self._folder)

    def _download(self, path: str, target: Path) -> None:
        with open(target, "wb") as written:
            for chunk in self._files.chunks(path, _ANY_SIZE):
                written.write(chunk)

    async def _at_place(self, call: Callable[..., T], *arguments: object) -> T:
        return await _at_place(self._files, call, *arguments)


async def _at_place(files: Files, call: Callable[..., T], *arguments: object) -> T:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await files.off_loop(call, *arguments)
    except FileNotFoundError:
        raise
    except Exception as error:  # each driver has exceptions of its own
        _log.warning("a training's workspace failed", error=type(error).__name__)
        raise Unavailable("the trainings' workspaces") from error


def read_lines(path: Path, line: type[M]) -> Iterator[M]:
    """The lines of a file that was brought to this machine. Blocks."""
    with gzip.open(path, "rb") as unpacked:
        while some := _load(unpacked, line):
            yield from some


@contextmanager
def _packing(path: Path) -> Iterator[gzip.GzipFile]:
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:  # no name, no time: same bytes
        yield packed


async def _portions(lines: Iterable[M] | AsyncIterable[M]) -> AsyncIterator[list[M]]:
    if isinstance(lines, AsyncIterable):
        some: list[M] = []
        async for one in lines:
            some.append(one)
            if len(some) >= _LINES:
                yield some
                some = []
        if some:
            yield some
        return
    rest = iter(lines)
    while portion := list(islice(rest, _LINES)):
        yield portion


def _dump(packed: gzip.GzipFile, lines: Iterable[Model]) -> None:
    packed.write(b"".join(one.model_dump_json().encode() + b"\n" for one in lines))


def _load(unpacked: gzip.GzipFile, line: type[M]) -> list[M]:
    context = dict(READING)
    return [line.model_validate_json(one, context=context) for one in islice(unpacked, _LINES)]
