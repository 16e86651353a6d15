"""`audit` in the embedded store's file."""
# ruff: noqa: S608 - what is put into statements here are names of this file; values are always bound

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any, Final

from .audit import Audit, StoredAudit
from .paging import PageKey
from .sqlite_file import GIVEN, File, Schema, ids, insert, upsert

__all__ = ["SCHEMA", "SqliteAudit"]

SCHEMA: Final = Schema(
    """
CREATE TABLE IF NOT EXISTS audit (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at_ms INTEGER NOT NULL, actor TEXT NOT NULL,
    action TEXT NOT NULL, subject TEXT NOT NULL, project TEXT, body TEXT NOT NULL
);
""",
    {
        "audit_listing": "audit (at_ms, id)",
        "audit_of_project": "audit (project, at_ms, id)",
        "audit_of_actor": "audit (actor, at_ms, id)",
        "audit_of_action": "audit (action, at_ms, id)",
    },
)


class SqliteAudit(Audit):
    """The rows."""

    _COLUMNS = "id, at_ms, actor, action, subject, project, body"
    _PUT = upsert("audit", _COLUMNS, "id", "NOTHING")

    def __init__(self, file: File) -> None:
        self._file = file

    async def put(self, rows: Sequence[StoredAudit]) -> None:
        if rows:
            await self._file.writer.write(self._put, rows)

    def _put(self, connection: sqlite3.Connection, rows: Sequence[StoredAudit]) -> None:
        insert(connection, *self._PUT, [astuple(row) for row in rows])

    async def page(
        self,
        *,
        limit: int,
        after: PageKey | None = None,
        projects: Sequence[str] | None = None,
        actor: str | None = None,
        action: str | None = None,
        since_ms: int | None = None,
    ) -> Sequence[StoredAudit]:
        conditions: dict[str, tuple[Any, ...]] = {}
        if projects is not None:
            conditions[f"project IN {GIVEN}"] = (ids(projects),)
        if actor is not None:
            conditions["actor = ?"] = (actor,)
        if action is not None:
            conditions["action = ?"] = (action,)
        if since_ms is not None:
            conditions["at_ms >= ?"] = (since_ms,)
        if after is not None:
            conditions["(at_ms, id) < (?, ?)"] = tuple(after)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        values = [value for some in conditions.values() for value in some]
        source = f"SELECT {self._COLUMNS} FROM audit {where} ORDER BY at_ms DESC, id DESC LIMIT ?"
        rows = await self._file.rows(self._COLUMNS, source, [*values, limit])
        return [StoredAudit(*row) for row in rows]
