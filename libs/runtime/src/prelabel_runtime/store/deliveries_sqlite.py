"""`deliveries` in the embedded store's file."""
# ruff: noqa: S608 - what is put into statements here are names of this file; values are always bound

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .deliveries import (
    DELIVERY_RANK,
    Deliveries,
    DeliveryState,
    Endpoints,
    Owed,
    Recoveries,
    RecoveryState,
    StoredDelivery,
    StoredEndpoint,
    StoredRecovery,
)
from .paging import PageKey
from .sqlite_file import GIVEN, File, Row, Schema, ids, insert, keep_greatest, upsert

__all__ = ["SCHEMA", "SqliteDeliveries", "SqliteEndpoints", "SqliteRecoveries"]

SCHEMA: Final = Schema(
    """
CREATE TABLE IF NOT EXISTS webhook_endpoints (
    subscription TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL, until_ms INTEGER NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deliveries (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, subscription TEXT NOT NULL, event TEXT NOT NULL,
    type TEXT NOT NULL, project TEXT NOT NULL, task TEXT, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    offset INTEGER NOT NULL, event_ms INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, next_ms INTEGER NOT NULL, body TEXT NOT NULL, rank INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS recoveries (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, subscription TEXT NOT NULL, since_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL, state TEXT NOT NULL, done INTEGER NOT NULL,
    body TEXT NOT NULL, error TEXT NOT NULL
);
""",
    {
        "deliveries_due": "deliveries (subscription, next_ms) WHERE state = 'pending'",
        "deliveries_listing": "deliveries (subscription, event_ms, id)",
        "deliveries_over": "deliveries (subscription, state, at_ms)",
        "recoveries_running": "recoveries (created_ms) WHERE state = 'running'",
    },
)


class SqliteEndpoints(Endpoints):
    """Endpoints. Every change is one statement, or one transaction of the writing thread."""

    _COLUMNS = "subscription, owner, epoch, until_ms, body"

    def __init__(self, file: File) -> None:
        self._file = file

    async def create(self, subscription: str, body: str) -> None:
        await self._file.writer.write(self._create, [(subscription, body)])

    def _create(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        connection.executemany("INSERT OR IGNORE INTO webhook_endpoints VALUES (?, '', 0, 0, ?)", rows)

    async def claim(self, subscription: str, owner: str, now_ms: int, until_ms: int) -> StoredEndpoint | None:
        (claimed,) = await self._file.writer.write(self._claim, [(owner, until_ms, subscription, owner, now_ms)])
        return claimed

    def _claim(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[StoredEndpoint | None]:
        return [self._one(connection, row) for row in rows]

    def _one(self, connection: sqlite3.Connection, row: Row) -> StoredEndpoint | None:
        statement = (
            "UPDATE webhook_endpoints SET owner = ?, until_ms = ?, epoch = epoch + 1 "
            f"WHERE subscription = ? AND (owner IN ('', ?) OR until_ms < ?) RETURNING {self._COLUMNS}"
        )
        found = connection.execute(statement, row).fetchone()
        return None if found is None else StoredEndpoint(*found)

    async def renew(self, owner: str, epochs: Mapping[str, int], until_ms: int) -> frozenset[str]:
        wanted = [(until_ms, subscription, epoch, owner) for subscription, epoch in epochs.items()]
        kept = await self._file.writer.write(self._renew, wanted) if wanted else ()
        return frozenset(name for name, ours in zip(epochs, kept, strict=False) if ours)

    def _renew(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[bool]:
        statement = "UPDATE webhook_endpoints SET until_ms = ? WHERE subscription = ? AND epoch = ? AND owner = ?"
        return [connection.execute(statement, row).rowcount == 1 for row in rows]

    async def save(self, subscription: str, epoch: int, body: str) -> bool:
        (saved,) = await self._file.writer.write(self._save, [(body, subscription, epoch)])
        return saved

    def _save(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[bool]:
        statement = "UPDATE webhook_endpoints SET body = ? WHERE subscription = ? AND epoch = ?"
        return [connection.execute(statement, row).rowcount == 1 for row in rows]

    async def release(self, subscription: str, epoch: int) -> None:
        await self._file.writer.write(self._release, [(subscription, epoch)])

    def _release(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        statement = "UPDATE webhook_endpoints SET owner = '', until_ms = 0 WHERE subscription = ? AND epoch = ?"
        connection.executemany(statement, rows)

    async def delete(self, subscription: str) -> None:
        await self._file.writer.write(self._delete, [(subscription,)])

    def _delete(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        connection.executemany("DELETE FROM webhook_endpoints WHERE subscription = ?", rows)

    async def all(self) -> Mapping[str, StoredEndpoint]:
        found = await self._file.rows(self._COLUMNS, f"SELECT {self._COLUMNS} FROM webhook_endpoints")
        return {row[0]: StoredEndpoint(*row) for row in found}


class SqliteDeliveries(Deliveries):
    """Deliveries."""

    _COLUMNS = (
        "id, subscription, event, type, project, task, topic, partition, offset, event_ms, "
        "state, attempts, at_ms, next_ms, body"
    )
    _PUT = upsert(
        "deliveries",
        f"{_COLUMNS}, rank",
        "id",
        keep_greatest(("state", "attempts", "at_ms", "next_ms", "body", "rank"), ("{}at_ms", "{}rank", "{}body")),
    )

    def __init__(self, file: File) -> None:
        self._file = file

    async def put(self, deliveries: Sequence[StoredDelivery]) -> None:
        if deliveries:
            await self._file.writer.write(self._put, deliveries)

    def _put(self, connection: sqlite3.Connection, deliveries: Sequence[StoredDelivery]) -> None:
        insert(connection, *self._PUT, [_row(one) for one in deliveries])

    async def get(self, subscription: str, delivery: str) -> StoredDelivery | None:
        found = (await self.get_many([delivery])).get(delivery)
        return found if found is not None and found.subscription == subscription else None

    async def get_many(self, deliveries: Sequence[str]) -> Mapping[str, StoredDelivery]:
        found = await self._found(f"WHERE id IN {GIVEN}", [ids(deliveries)])
        return {one.id: one for one in found}

    async def due(self, subscription: str, before_ms: int, *, limit: int) -> Sequence[StoredDelivery]:
        return await self._found(
            "WHERE subscription = ? AND state = 'pending' AND next_ms <= ? ORDER BY next_ms LIMIT ?",
            [subscription, before_ms, limit],
        )

    async def owed(self) -> Mapping[str, Owed]:
        found = await self._file.rows(
            "subscription, n, oldest",
            "SELECT subscription, count(*) AS n, min(event_ms) AS oldest FROM deliveries "
            "WHERE state = 'pending' GROUP BY subscription",
        )
        return {row[0]: Owed(row[1], row[2]) for row in found}

    async def page(
        self,
        subscription: str,
        *,
        limit: int,
        after: PageKey | None = None,
        state: DeliveryState | None = None,
        since_ms: int = 0,
        type: str | None = None,  # noqa: A002
        task: str | None = None,
        projects: Sequence[str] | None = None,
    ) -> Sequence[StoredDelivery]:
        where = ["subscription = ?", "event_ms >= ?"]
        values: list[Any] = [subscription, since_ms]
        for column, value in (("state", state), ("type", type), ("task", task)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(str(value))
        if projects is not None:
            where.append(f"project IN {GIVEN}")
            values.append(ids(projects))
        if after is not None:
            where.append("(event_ms, id) < (?, ?)")
            values += after
        return await self._found(
            f"WHERE {' AND '.join(where)} ORDER BY event_ms DESC, id DESC LIMIT ?", [*values, limit]
        )

    async def requeue(self, subscription: str, since_ms: int, until_ms: int, now_ms: int) -> int:
        (count,) = await self._file.writer.write(self._requeue, [(now_ms, now_ms, subscription, since_ms, until_ms)])
        return count

    def _requeue(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[int]:
        statement = (
            "UPDATE deliveries SET state = 'pending', rank = 0, attempts = 0, next_ms = ?, at_ms = max(at_ms, ?) "
            "WHERE subscription = ? AND state = 'exhausted' AND event_ms >= ? AND event_ms < ?"
        )
        return [connection.execute(statement, row).rowcount for row in rows]

    async def trim(self, subscription: str, state: DeliveryState, *, keep: int, since_ms: int) -> None:
        await self._file.writer.write(self._trim, [(subscription, state.value, keep, since_ms)])

    def _trim(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        for subscription, state, keep, since_ms in rows:
            newest = connection.execute(
                "SELECT at_ms FROM deliveries WHERE subscription = ? AND state = ? "
                "ORDER BY at_ms DESC LIMIT 1 OFFSET ?",
                (subscription, state, keep),
            ).fetchone()
            # Of those with the same moment as the last to go, all go.
            until = since_ms if newest is None else max(since_ms, newest[0] + 1)
            connection.execute(
                "DELETE FROM deliveries WHERE subscription = ? AND state = ? AND at_ms < ?",
                (subscription, state, until),
            )

    async def delete_of(self, subscription: str) -> None:
        await self._file.writer.write(self._delete, [(subscription,)])

    def _delete(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        connection.executemany("DELETE FROM deliveries WHERE subscription = ?", rows)

    async def _found(self, query: str, values: Sequence[Any]) -> Sequence[StoredDelivery]:
        found = await self._file.rows(self._COLUMNS, f"SELECT * FROM deliveries {query}", values)
        return [_delivery(row) for row in found]


def _row(one: StoredDelivery) -> Row:
    return (
        *(one.id, one.subscription, one.event, one.type, one.project, one.task, one.topic, one.partition, one.offset),
        *(one.event_ms, one.state.value, one.attempts, one.at_ms, one.next_ms, one.body, DELIVERY_RANK[one.state]),
    )


def _delivery(row: Sequence[Any]) -> StoredDelivery:
    return StoredDelivery(*(*row[:10], DeliveryState(row[10]), *row[11:]))


class SqliteRecoveries(Recoveries):
    """Recoveries."""

    _COLUMNS = "id, subscription, since_ms, until_ms, created_ms, state, done, body, error"
    _PUT = upsert(
        "recoveries",
        _COLUMNS,
        "id",
        "UPDATE SET state = excluded.state, done = excluded.done, body = excluded.body, error = excluded.error "
        "WHERE state = 'running'",
    )

    def __init__(self, file: File) -> None:
        self._file = file

    async def put(self, recovery: StoredRecovery) -> None:
        await self._file.writer.write(self._put, [recovery])

    def _put(self, connection: sqlite3.Connection, recoveries: Sequence[StoredRecovery]) -> None:
        rows = [
            (
                *(one.id, one.subscription, one.since_ms, one.until_ms, one.created_ms, one.state.value, one.done),
                *(one.body, one.error),
            )
            for one in recoveries
        ]
        for row in rows:  # one after the other: two of one call may be the same recovery
            insert(connection, *self._PUT, [row])

    async def get(self, subscription: str, recovery: str) -> StoredRecovery | None:
        found = await self._found("WHERE subscription = ? AND id = ?", [subscription, recovery])
        return found[0] if found else None

    async def running(self) -> Sequence[StoredRecovery]:
        return await self._found("WHERE state = 'running' ORDER BY created_ms, id", [])

    async def delete_of(self, subscription: str) -> None:
        await self._file.writer.write(self._delete, [(subscription,)])

    def _delete(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        connection.executemany("DELETE FROM recoveries WHERE subscription = ?", rows)

    async def _found(self, query: str, values: Sequence[Any]) -> Sequence[StoredRecovery]:
        found = await self._file.rows(self._COLUMNS, f"SELECT * FROM recoveries {query}", values)
        return [StoredRecovery(*(*row[:5], RecoveryState(row[5]), *row[6:])) for row in found]
