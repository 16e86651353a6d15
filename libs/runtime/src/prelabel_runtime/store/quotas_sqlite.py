"""`quotas` in the embedded store's file."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from .quotas import Quotas, StoredQuota
from .sqlite_file import File, Row, Schema

__all__ = ["SCHEMA", "SqliteQuotas"]

SCHEMA: Final = Schema(
    """
CREATE TABLE IF NOT EXISTS quotas (quota TEXT PRIMARY KEY, version INTEGER NOT NULL, shares TEXT NOT NULL)
WITHOUT ROWID;
""",
    {},
)


class SqliteQuotas(Quotas):
    """Quotas. A change is one statement of the writing thread."""

    def __init__(self, file: File) -> None:
        self._file = file

    async def get(self, quota: str) -> StoredQuota | None:
        found = await self._file.rows("quota, version, shares", "SELECT * FROM quotas WHERE quota = ?", [quota])
        return StoredQuota(*found[0]) if found else None

    async def put(self, quota: StoredQuota) -> bool:
        return (await self._file.writer.write(self._put, [(quota.quota, quota.version, quota.shares)]))[0]

    def _put(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[bool]:
        first = "INSERT INTO quotas VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        next_ = "UPDATE quotas SET version = ?2, shares = ?3 WHERE quota = ?1 AND version = ?2 - 1"
        return [connection.execute(first if row[1] == 1 else next_, row).rowcount > 0 for row in rows]
