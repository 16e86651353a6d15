"""`documents` in the embedded store's file."""
# ruff: noqa: S608 - what is put into statements here are names of this file; values are always bound

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .documents import Document, Documents, behind, place
from .sqlite_file import GIVEN, File, Row, Schema, ids

__all__ = ["SCHEMA", "SqliteDocuments"]

SCHEMA: Final = Schema(
    """
CREATE TABLE IF NOT EXISTS documents (
    place TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
""",
    {},
)
_COLUMNS: Final = "place, body, revision"


class SqliteDocuments(Documents):
    """Documents. A change is one statement of the writing thread."""

    def __init__(self, file: File) -> None:
        self._file = file

    async def get(self, kind: str, key: str) -> Document | None:
        return (await self.get_many(kind, [key])).get(key)

    async def get_many(self, kind: str, keys: Sequence[str]) -> Mapping[str, Document]:
        places = [place(kind, key) for key in keys]
        if not places:
            return {}
        query = f"SELECT * FROM documents WHERE place IN {GIVEN}"
        found = [_document(row) for row in await self._file.rows(_COLUMNS, query, [ids(places)])]
        return {one.key: one for one in found}

    async def put(self, kind: str, key: str, body: str, *, expected: int) -> Document | None:
        if expected < 0:
            raise ValueError("expected: 0 or more")
        row = (place(kind, key), expected + 1, body)
        (done,) = await self._file.writer.write(self._put, [row])
        return Document(kind, key, body, expected + 1) if done else None

    def _put(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[bool]:
        first = "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        next_ = "UPDATE documents SET revision = ?2, body = ?3 WHERE place = ?1 AND revision = ?2 - 1"
        there = "SELECT 1 FROM documents WHERE place = ? AND revision = ? AND body = ?"
        return [
            connection.execute(first if row[1] == 1 else next_, row).rowcount > 0
            or connection.execute(there, row).fetchone() is not None
            for row in rows
        ]

    async def page(
        self, kind: str, *, prefix: str = "", limit: int, after: str | None = None, newest: bool = False
    ) -> Sequence[Document]:
        least, bound = place(kind, prefix), behind(place(kind, prefix))
        seen = "true" if after is None else f"place {'<' if newest else '>'} :after"
        found = await self._file.rows(
            _COLUMNS,
            f"SELECT * FROM documents WHERE place >= :least AND place < :bound AND {seen} "
            f"ORDER BY place {'DESC' if newest else 'ASC'} LIMIT :limit",
            {"least": least, "bound": bound, "after": place(kind, after or ""), "limit": limit},
        )
        return [_document(row) for row in found]

    async def delete(self, kind: str, key: str, *, expected: int) -> bool:
        return (await self._file.writer.write(self._delete, [(place(kind, key), expected)]))[0]

    def _delete(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[bool]:
        answers = []
        for row in rows:
            connection.execute("DELETE FROM documents WHERE place = ? AND revision = ?", row)
            left = connection.execute("SELECT 1 FROM documents WHERE place = ?", row[:1]).fetchone()
            answers.append(left is None)
        return answers


def _document(row: Sequence[Any]) -> Document:
    kind, _, key = row[0].partition(":")
    return Document(kind, key, row[1], row[2])
