"""What every repository in an SQLite file stands on: the connections, and statements for many rows at once.

See sqlite.py for why it is done so.
"""
# ruff: noqa: S608 - what is put into statements here are names of this package; values are always bound

import asyncio
import contextlib
import os
import queue
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.sqlite_writer import SqliteWriter, unanswered

__all__ = ["GIVEN", "File", "Row", "Schema", "forget", "forgotten", "ids", "insert", "keep_greatest", "upsert"]

Row = tuple[Any, ...]

_FORMAT: Final = 1
_APPLICATION: Final = 0x50524C53
_WRITERS_CACHE_MIB: Final = 16
_READERS_CACHE_MIB: Final = 4
"""Pages that each connection keeps. What it lacks is still in the system's own cache: with 64 MiB a task costs 3 % less
CPU, while a process grows with its file, by as much."""
_CHUNKS: Final = (256, 32, 4, 1)
"""Rows per statement: few sizes, so that each is compiled once."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What some repositories need in a file: statements that make it, and indexes by name.

    Indexes whose name ends in `_once` are unique.
    """

    tables: str
    indexes: Mapping[str, str]
    later: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Columns that files of an earlier version lack: their type, by table and name. Such a file gets them empty."""

    def __add__(self, other: "Schema") -> "Schema":
        return Schema(self.tables + other.tables, {**self.indexes, **other.indexes}, {**self.later, **other.later})


class File:
    """The connections. What the repositories need is `write` and `rows`."""

    def __init__(self, path: Path, schema: Schema, *, readers: int, write_seconds: float, read_seconds: float) -> None:
        self._path = path
        self._schema = schema
        self._read_seconds = read_seconds
        self._readers = readers
        self.writer = SqliteWriter(self._writing, name="store-write", wait_seconds=write_seconds)
        self._reading: ThreadPoolExecutor | None = None
        self._idle: queue.SimpleQueue[sqlite3.Connection | None] = queue.SimpleQueue()

    async def start(self) -> None:
        if self._reading is not None:
            raise RuntimeError("a store is started once")
        reading = ThreadPoolExecutor(self._readers, thread_name_prefix="store-read")
        try:
            await asyncio.get_running_loop().run_in_executor(reading, self._prepare)
        except BaseException:
            reading.shutdown(wait=False)
            raise
        for _ in range(self._readers):
            self._idle.put(None)
        self._reading = reading
        self.writer.start()

    async def stop(self, seconds: float) -> None:
        reading, self._reading = self._reading, None
        if reading is None:
            return
        await self.writer.stop(seconds)
        reading.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._close_idle, seconds)

    def _close_idle(self, seconds: float) -> None:
        with contextlib.suppress(queue.Empty):
            for _ in range(self._readers):
                connection = self._idle.get(timeout=seconds)
                if connection is not None:
                    connection.close()

    async def rows(self, columns: str, source: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> list[Any]:
        """`SELECT columns source`, as lists, read in one step."""
        if self._reading is None:
            raise Unavailable("the store is stopped")
        query = f"SELECT json_group_array(json_array({columns})) FROM ({source})"
        reading = asyncio.get_running_loop().run_in_executor(self._reading, self._ask, query, values)
        try:
            async with asyncio.timeout(self._read_seconds):
                answer = await reading
        except TimeoutError as error:
            raise Unavailable(f"the store did not answer in {self._read_seconds:g} s") from error
        rows: list[Any] = orjson.loads(answer)
        return rows

    def _ask(self, query: str, values: Mapping[str, Any] | Sequence[Any]) -> str:
        connection = self._idle.get()
        try:
            if connection is None:
                connection = self._connect()
            with contextlib.closing(connection.execute(query, values)) as cursor:
                answer: str = cursor.fetchone()[0]
        except Exception as error:
            if connection is not None:
                connection.close()
            self._idle.put(None)
            if unanswered(error):
                raise Unavailable(f"the store's file cannot be read: {error}") from error
            raise
        self._idle.put(connection)
        return answer

    def _prepare(self) -> None:
        try:
            # What SQLite creates beside it gets the same rights: the data of tasks is nobody else's to read.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise Refused(f"{self._path} cannot be opened ({error.strerror}): name a file to be written") from error
        try:
            connection = self._writing()
            with contextlib.closing(connection):
                application = connection.execute("PRAGMA application_id").fetchone()[0]
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
                if tables and application != _APPLICATION:
                    raise Refused(f"{self._path} is not a store file of Prelabel: name another one")
                if version not in (0, _FORMAT):
                    raise Refused(f"{self._path} has format {version}, this version reads {_FORMAT}: update Prelabel")
                connection.executescript(self._schema.tables)
                _add_columns(connection, self._schema.later)
                for name, columns in self._schema.indexes.items():
                    unique = "UNIQUE" if name.endswith("_once") else ""
                    connection.execute(f"CREATE {unique} INDEX IF NOT EXISTS {name} ON {columns}")
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
        except sqlite3.OperationalError as error:
            if "unable to open" in str(error):
                raise Refused(f"{self._path} cannot be opened: name a file in a folder that can be written") from error
            raise Unavailable(f"the store's file does not answer: {error}") from error
        except sqlite3.DatabaseError as error:
            raise Refused(f"{self._path} is not a store file of Prelabel: {error}") from error

    def _writing(self) -> sqlite3.Connection:
        connection = self._connect()
        try:
            connection.execute(f"PRAGMA cache_size = -{_WRITERS_CACHE_MIB << 10}")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 2000")
            connection.execute("PRAGMA journal_size_limit = 67108864")
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=5.0, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA cache_size = -{_READERS_CACHE_MIB << 10}")
        except BaseException:
            connection.close()
            raise
        return connection


def _add_columns(connection: sqlite3.Connection, later: Mapping[tuple[str, str], str]) -> None:
    for (table, column), kind in later.items():
        there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        if column not in there:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")


# ------------------------------------------------------------------------------------------------- statements


def insert(connection: sqlite3.Connection, head: str, width: int, tail: str, rows: Sequence[Row]) -> None:
    """Run `head VALUES (…), (…) tail` for all rows, in few statements."""
    marks = f"({', '.join('?' * width)})"
    for chunk in _chunks(rows):
        connection.execute(
            f"{head} (VALUES {', '.join([marks] * len(chunk))}) {tail}",
            [value for row in chunk for value in row],
        )


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    at = 0
    for size in _CHUNKS:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size


def upsert(table: str, columns: str, key: str, tail: str) -> tuple[str, int, str]:
    """The three parts that `insert` wants, for an upsert."""
    width = columns.count(",") + 1
    # "WHERE true" tells SQLite's parser that ON CONFLICT belongs to the INSERT.
    return (
        f"INSERT INTO {table} ({columns}) SELECT * FROM",
        width,
        f"WHERE true ON CONFLICT ({key}) DO {tail}",
    )


def keep_greatest(columns: Iterable[str], order: Sequence[str], also: Mapping[str, str] | None = None) -> str:
    """DO UPDATE that takes `columns` from the new row if its `order` is greater; `also` merges by column.

    order: expressions in which {} stands before each column's name.
    """
    new, old = (", ".join(one.format(row) for one in order) for row in ("excluded.", ""))
    greater = f"({new}) > ({old})"
    parts = [f"{name} = CASE WHEN {greater} THEN excluded.{name} ELSE {name} END" for name in columns]
    merged = {name: f"{function}({name}, excluded.{name})" for name, function in (also or {}).items()}
    parts += [f"{name} = {value}" for name, value in merged.items()]
    changed = " OR ".join([greater, *(f"{name} <> {value}" for name, value in merged.items())])
    return f"UPDATE SET {', '.join(parts)} WHERE {changed}"


def ids(values: Iterable[str]) -> str:
    return orjson.dumps(list(values)).decode()


GIVEN: Final = "(SELECT value FROM json_each(?))"


def forgotten(connection: sqlite3.Connection, kind: str, tasks: Iterable[str]) -> frozenset[str]:
    found = connection.execute(
        f"SELECT json_group_array(task) FROM forgotten WHERE kind = ? AND task IN {GIVEN}",
        (kind, ids(set(tasks))),
    ).fetchone()[0]
    return frozenset(orjson.loads(found))


def forget(connection: sqlite3.Connection, kind: str, tasks: Sequence[str]) -> str:
    """Remember that nothing about these tasks may come back; the tasks as a parameter for `GIVEN`."""
    given = ids(tasks)
    connection.execute("INSERT OR IGNORE INTO forgotten SELECT ?, value FROM json_each(?)", (kind, given))
    return given
