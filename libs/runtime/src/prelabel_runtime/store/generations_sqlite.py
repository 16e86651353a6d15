"""Which generation is live, in the embedded store's file, and the contents of one.

A generation beside the first is a file of its own: what is written there meets no writer of the live one, and
dropping it gives the disk its room back.
"""
# ruff: noqa: S608 - what is put into statements here are names of this file; values are always bound

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from .generations import Contents, Generations, Replica
from .sqlite_file import GIVEN, File, Row, Schema, ids

__all__ = ["PROJECTED_TABLES", "SCHEMA", "SqliteContents", "SqliteGenerations", "drop_projected"]

SCHEMA: Final = Schema(
    """
CREATE TABLE IF NOT EXISTS generation (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);
INSERT OR IGNORE INTO generation VALUES (1, 0);
CREATE TABLE IF NOT EXISTS replicas (
    id TEXT PRIMARY KEY, generation INTEGER NOT NULL, seen_ms INTEGER NOT NULL
) WITHOUT ROWID;
""",
    {},
)
PROJECTED_TABLES: Final = (
    *("tasks", "task_runs", "outcomes", "outcome_runs", "superseded", "lines", "runs", "annotations"),
    "dead_letters",
)
_FORGOTTEN_OF: Final = ("tasks", "outcomes", "annotations", "dead_letters")


class SqliteGenerations(Generations):
    """The live generation, and who uses which."""

    def __init__(self, file: File) -> None:
        self._file = file

    async def current(self) -> int:
        return int((await self._file.rows("number", "SELECT number FROM generation"))[0][0])

    async def switch(self, before: int, to: int) -> bool:
        return (await self._file.writer.write(self._switch, [(to, before)]))[0]

    def _switch(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[bool]:
        statement = "UPDATE generation SET number = ? WHERE number = ?"
        return [connection.execute(statement, row).rowcount > 0 for row in rows]

    async def seen(self, replica: Replica) -> None:
        await self._file.writer.write(self._seen, [(replica.id, replica.generation, replica.seen_ms)])

    def _seen(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        connection.executemany("INSERT OR REPLACE INTO replicas VALUES (?, ?, ?)", rows)

    async def left(self, replicas: Sequence[str]) -> None:
        if replicas:
            await self._file.writer.write(self._left, list(replicas))

    def _left(self, connection: sqlite3.Connection, replicas: Sequence[str]) -> None:
        connection.execute(f"DELETE FROM replicas WHERE id IN {GIVEN}", (ids(replicas),))

    async def replicas(self) -> Sequence[Replica]:
        return [Replica(*row) for row in await self._file.rows("id, generation, seen_ms", "SELECT * FROM replicas")]


def drop_projected(connection: sqlite3.Connection, _: Sequence[Any]) -> None:
    """Remove the first generation from the store's own file; the rest stays. For the writing thread."""
    for table in PROJECTED_TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute(f"DELETE FROM forgotten WHERE kind IN {GIVEN}", (ids(_FORGOTTEN_OF),))


_RUNS_OF: Final = "(SELECT json_group_array(run) FROM (SELECT run FROM {} AS r WHERE r.{} = o.{} ORDER BY run))"
_WHERE_TOLD: Final = "CASE WHEN announced THEN {} END"
_END: Final = ("ended", "ended_ms", "reason")
_ROWS: Final[Mapping[str, tuple[str, str, str]]] = {
    "tasks": (
        "tasks",
        "uid",
        f"uid, project, id, revision, first_ms, config, body, {_RUNS_OF.format('task_runs', 'task', 'uid')}",
    ),
    "outcomes": (
        "outcomes",
        "request",
        "request, project, task, revision, model, provider, task_ms, rank, state, offset, at_ms, version, score, body, "
        "uncertainty, " + _RUNS_OF.format("outcome_runs", "request", "request"),
    ),
    "superseded": ("superseded", "request", "request, successor"),
    "lines": ("lines", "key", "key, project, run, line, task, at_ms, refused, body"),
    # An end is written before it is told: until then nothing in the log says so, and no rebuild can know of it.
    "runs": ("runs", "run", "run, project, opened_ms, total, " + ", ".join(map(_WHERE_TOLD.format, _END))),
    "annotations": (
        "annotations",
        "annotation",
        "annotation, project, task, annotator, offset, at_ms, deleted, skipped, ground_truth, body",
    ),
    "dead_letters": (
        "(SELECT * FROM dead_letters WHERE at_ms IS NOT NULL)",
        "letter",
        "letter, consumer, reason, at_ms, project, task, body, state, decided_ms, decision, replay, resolved_ms, again",
    ),
    **{
        f"forgotten_{kind}": (f"(SELECT task FROM forgotten WHERE kind = '{kind}')", "task", "task")
        for kind in _FORGOTTEN_OF
    },
}
"""Per repository: where its rows are, their key, and what is compared."""


class SqliteContents(Contents):
    """All rows of a generation."""

    kinds = tuple(_ROWS)

    def __init__(self, file: File) -> None:
        self._file = file

    async def page(self, kind: str, *, after: str | None, limit: int) -> Sequence[tuple[str, bytes]]:
        table, key, columns = _ROWS[kind]
        query = f"SELECT {key} AS k, json_array({columns}) AS row FROM {table} AS o"
        found = await self._file.rows(
            "k, row", f"{query} WHERE {key} > ? ORDER BY {key} LIMIT ?", ["" if after is None else after, limit]
        )
        return [(row[0], _digest(row[1])) for row in found]

    async def of(self, kind: str, ids_: Sequence[str]) -> Mapping[str, bytes]:
        table, key, columns = _ROWS[kind]
        query = f"SELECT {key} AS k, json_array({columns}) AS row FROM {table} AS o WHERE {key} IN {GIVEN}"
        return {row[0]: _digest(row[1]) for row in await self._file.rows("k, row", query, [ids(ids_)])}


def _digest(row: Any) -> bytes:
    return hashlib.sha256(orjson.dumps(row)).digest()
