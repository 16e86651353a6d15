"""Tasks as lines of NDJSON, from any iterable, in constant memory, and again from the start for a retry."""

import json
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import IO, Any

PIECE_BYTES = 64 * 1024
SPOOL_BYTES = 4 * 1024 * 1024
"""What is kept for a retry stays in memory up to here, and goes to a temporary file beyond."""

TaskLike = Mapping[str, Any] | bytes | str | Any
"""A task as JSON ({"data": …, "id"?, "meta"?}), a line of NDJSON as it is, or a pydantic model of a task."""
Tasks = Iterable[TaskLike] | AsyncIterable[TaskLike]


class Lines:
    """A body of tasks. What can be iterated only once is spooled while it is sent, so that it can be sent again."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._once = isinstance(tasks, (Iterator, AsyncIterator))
        self._spool: IO[bytes] | None = None

    def pieces(self) -> Iterator[bytes]:
        """The body from its start, for blocking clients. Raises TypeError for an asynchronous source."""
        if not isinstance(self._tasks, Iterable):
            raise TypeError("an asynchronous iterable of tasks needs an AsyncClient")
        yield from self._spooled()
        piece = bytearray()
        for task in self._tasks:
            piece += line_of(task)
            if len(piece) >= PIECE_BYTES:
                yield self._kept(piece)
        if piece:
            yield self._kept(piece)

    async def pieces_async(self) -> AsyncIterator[bytes]:
        """The body from its start, for asynchronous clients."""
        if isinstance(self._tasks, Iterable):
            for whole in self.pieces():
                yield whole
            return
        for before in self._spooled():
            yield before
        piece = bytearray()
        async for task in self._tasks:
            piece += line_of(task)
            if len(piece) >= PIECE_BYTES:
                yield self._kept(piece)
        if piece:
            yield self._kept(piece)

    def close(self) -> None:
        """Let go of what was kept for a retry."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _spooled(self) -> Iterator[bytes]:
        if self._spool is None:
            return
        self._spool.seek(0)
        while piece := self._spool.read(PIECE_BYTES):
            yield piece

    def _kept(self, piece: bytearray) -> bytes:
        made = bytes(piece)
        piece.clear()
        if self._once:
            if self._spool is None:
                self._spool = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115 - closed by close()
            self._spool.write(made)
        return made


def line_of(task: TaskLike) -> bytes:
    """One line. Raises ValueError for what JSON cannot say."""
    if isinstance(task, str):
        task = task.encode()
    if isinstance(task, bytes):
        return task.rstrip(b"\r\n") + b"\n"
    value = dict(task) if isinstance(task, Mapping) else task.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"
