"""`jobs` in the embedded store's file."""
# ruff: noqa: S608 - what is put into statements here are names of this file; values are always bound

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from .jobs import Jobs, JobState, StoredJob
from .sqlite_file import File, Row, Schema

__all__ = ["SCHEMA", "SqliteJobs"]

SCHEMA: Final = Schema(
    """
CREATE TABLE IF NOT EXISTS jobs (
    job TEXT PRIMARY KEY, kind TEXT NOT NULL, created_ms INTEGER NOT NULL, spec TEXT NOT NULL, state TEXT NOT NULL,
    done INTEGER NOT NULL, total INTEGER, progress TEXT NOT NULL, error TEXT NOT NULL, holder TEXT NOT NULL,
    until_ms INTEGER NOT NULL
);
""",
    {"jobs_running": "jobs (kind, created_ms, job) WHERE state = 'running'"},
)
_COLUMNS: Final = "job, kind, created_ms, spec, state, done, total, progress, error, holder, until_ms"


class SqliteJobs(Jobs):
    """Jobs. Every change is one statement of the writing thread."""

    def __init__(self, file: File) -> None:
        self._file = file

    async def create(self, job: StoredJob) -> bool:
        row = (
            job.job, job.kind, job.created_ms, job.spec, job.state, job.done, job.total, job.progress, job.error,
            job.holder, job.until_ms,
        )  # fmt: skip
        return (await self._file.writer.write(self._create, [row]))[0]

    def _create(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[bool]:
        marks = ", ".join("?" * 11)
        statement = f"INSERT INTO jobs ({_COLUMNS}) VALUES ({marks}) ON CONFLICT DO NOTHING"
        return [connection.execute(statement, row).rowcount > 0 for row in rows]

    async def get(self, kind: str, job: str) -> StoredJob | None:
        found = await self._file.rows(_COLUMNS, "SELECT * FROM jobs WHERE job = ? AND kind = ?", [job, kind])
        return _job(found[0]) if found else None

    async def take(self, kind: str, holder: str, *, now_ms: int, until_ms: int) -> StoredJob | None:
        (taken,) = await self._file.writer.write(self._take, [(holder, until_ms, kind, holder, now_ms)])
        return taken

    def _take(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[StoredJob | None]:
        oldest = "SELECT job FROM jobs WHERE kind = ? AND state = 'running' ORDER BY created_ms, job LIMIT 1"
        statement = (
            f"UPDATE jobs SET holder = ?, until_ms = ? WHERE job = ({oldest}) AND (holder IN ('', ?) OR until_ms < ?) "
            f"RETURNING {_COLUMNS}"
        )
        found = [connection.execute(statement, row).fetchone() for row in rows]
        return [None if row is None else _job(row) for row in found]

    async def save(self, job: StoredJob) -> bool:
        row = (
            job.state, job.done, job.total, job.progress, job.error, job.until_ms, job.job, job.holder,
        )  # fmt: skip
        return (await self._file.writer.write(self._save, [row]))[0]

    def _save(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[bool]:
        statement = (
            "UPDATE jobs SET state = ?, done = ?, total = ?, progress = ?, error = ?, until_ms = ? "
            "WHERE job = ? AND holder = ? AND state = 'running'"
        )
        return [connection.execute(statement, row).rowcount > 0 for row in rows]

    async def running(self, kind: str) -> Sequence[StoredJob]:
        found = await self._file.rows(
            _COLUMNS, "SELECT * FROM jobs WHERE kind = ? AND state = 'running' ORDER BY created_ms, job", [kind]
        )
        return [_job(row) for row in found]


def _job(row: Sequence[Any]) -> StoredJob:
    job, kind, created_ms, spec, state, done, total, progress, error, holder, until_ms = row
    return StoredJob(job, kind, created_ms, spec, JobState(state), done, total, progress, error, holder, until_ms)
