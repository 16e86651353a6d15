"""One thread that writes to an SQLite file, for all coroutines of a process: group commit.

What coroutines hand in while the disk syncs goes into the next transaction together, so that a hundred of
them pay for one fsync; what was handed in for the same function is given to it as one list, so that it
needs one statement for all.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from prelabel_runtime.errors import Unavailable

__all__ = ["SqliteWriter", "unanswered"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_DEFECTS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)


def unanswered(error: Exception) -> bool:
    """True where the file or the disk is at fault (full, locked, I/O): what was asked for may work later."""
    return isinstance(error, sqlite3.Error) and not isinstance(error, _DEFECTS)


@dataclass(slots=True, eq=False)
class _Entry:
    future: asyncio.Future[Any]
    apply: Callable[[sqlite3.Connection, Sequence[Any]], Sequence[Any] | None]
    items: Sequence[Any]


@dataclass(slots=True)
class _Answer:
    entry: _Entry
    result: Sequence[Any] | None = None
    error: Exception | None = None


class SqliteWriter:
    """The writing thread.

    connect       makes the writing connection (isolation_level None), in the thread, anew after failures
    name          the thread's name
    wait_seconds  how long `write` waits for the disk before it raises `Unavailable`
    max_items     a transaction takes no further entries once it holds so many items
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        name: str,
        wait_seconds: float = 30.0,
        max_items: int = 4096,
    ) -> None:
        self._connect = connect
        self._wait_seconds = wait_seconds
        self._max_items = max_items
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name=name, daemon=True)
        self._connection: sqlite3.Connection | None = None
        self._open = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin; called in the event loop whose coroutines will write."""
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._thread.start()

    async def write(
        self,
        apply: Callable[[sqlite3.Connection, Sequence[Item]], Sequence[Result] | None],
        items: Sequence[Item],
    ) -> Sequence[Result]:
        """Have `apply(connection, items)` run in a transaction; returns when that is durable.

        `apply` may be given items of several callers at once, in any order; it returns one result per item,
        or None.
        Raises `Unavailable` when it is not known whether the disk took it, else what `apply` raised.
        """
        if not self._open or self._loop is None:
            raise Unavailable("the store is stopped")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put(_Entry(future, apply, items))
        try:
            async with asyncio.timeout(self._wait_seconds):
                result = await future
        except TimeoutError as error:
            raise Unavailable(f"the disk did not answer in {self._wait_seconds:g} s") from error
        return result or ()

    async def stop(self, seconds: float) -> bool:
        """Write what was handed in, end the thread. False if the disk did not answer in time."""
        if not self._open:
            return True
        self._open = False
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, seconds)
        return not self._thread.is_alive()

    # ------------------------------------------------------------------------------------------ in the thread

    def _write_all(self) -> None:
        more = True
        with suppress(RuntimeError):  # the loop is closed: nobody waits for an answer any more
            while more:
                entries: list[_Entry] = []
                size = 0
                entry = self._queue.get()
                while entry is not None:
                    entries.append(entry)
                    size += len(entry.items)
                    if size >= self._max_items:
                        break
                    try:
                        entry = self._queue.get_nowait()
                    except queue.Empty:
                        break
                more = entry is not None
                if entries:
                    self._answer(self._commit(entries))
        self._drop()

    def _commit(self, entries: list[_Entry]) -> list[_Answer]:
        by_function: dict[Any, list[_Entry]] = {}
        for entry in entries:
            by_function.setdefault(entry.apply, []).append(entry)
        answers = []
        try:
            connection = self._connection or self._connect()
            self._connection = connection
            connection.execute("BEGIN IMMEDIATE")
            for apply, group in by_function.items():
                results = apply(connection, [item for entry in group for item in entry.items])
                at = 0
                for entry in group:
                    end = at + len(entry.items)
                    answers.append(_Answer(entry, None if results is None else results[at:end]))
                    at = end
            connection.execute("COMMIT")
        except Exception as error:
            self._drop()
            if unanswered(error):
                lost = Unavailable(f"the store's file does not take writes: {error}")
                return [_Answer(entry, error=lost) for entry in entries]
            if len(entries) == 1:
                return [_Answer(entries[0], error=error)]
            # One of them is wrong: only who handed it in hears of it.
            return [answer for entry in entries for answer in self._commit([entry])]
        return answers

    def _drop(self) -> None:
        """After a failure it is not known what the connection holds: it is closed, which rolls back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _answer(self, answers: list[_Answer]) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(_settle, answers)


def _settle(answers: list[_Answer]) -> None:
    for answer in answers:
        if answer.entry.future.done():
            continue
        if answer.error is not None:
            answer.entry.future.set_exception(answer.error)
        else:
            answer.entry.future.set_result(answer.result)
