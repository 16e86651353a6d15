"""`dead_letters` and the claims on them in the embedded store's file."""
# ruff: noqa: S608 - what is put into statements here are names of this file; values are always bound

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson

from .dead_letters import (
    DeadLetters,
    Decision,
    KnownLetter,
    LetterClaims,
    LetterFilter,
    LetterState,
    ReplayResults,
    StoredLetter,
)
from .paging import PageKey
from .sqlite_file import GIVEN, File, Row, Schema, forget, forgotten, ids, insert, keep_greatest, upsert

__all__ = ["CLAIMS", "SCHEMA", "SqliteDeadLetters", "SqliteLetterClaims"]

# A decision, an end or a successor may be written before the letter: such a row has no at_ms, and nobody finds it.
SCHEMA: Final = Schema(
    """
CREATE TABLE IF NOT EXISTS dead_letters (
    n INTEGER PRIMARY KEY, letter TEXT NOT NULL UNIQUE, consumer TEXT, reason TEXT, at_ms INTEGER, project TEXT,
    task TEXT, body TEXT, state TEXT NOT NULL DEFAULT 'open', decided_ms INTEGER, decision TEXT, replay TEXT,
    resolved_ms INTEGER, again TEXT
);
""",
    {
        "dead_letters_listing": "dead_letters (at_ms, letter) WHERE at_ms IS NOT NULL",
        "dead_letters_of_group": "dead_letters (consumer, state, at_ms, letter) WHERE at_ms IS NOT NULL",
        "dead_letters_of_task": "dead_letters (task) WHERE task IS NOT NULL",
        "dead_letters_of_replay": "dead_letters (replay) WHERE replay IS NOT NULL",
    },
)
CLAIMS: Final = Schema(
    """
CREATE TABLE IF NOT EXISTS letter_claims (letter TEXT PRIMARY KEY, holder TEXT NOT NULL) WITHOUT ROWID;
""",
    {},
)

_TABLE: Final = "dead_letters"
_OF: Final = GIVEN.replace("?", ":given")


class SqliteDeadLetters(DeadLetters):
    """The index."""

    _COLUMNS = "body, decision, resolved_ms, again"
    _PUT = upsert(
        _TABLE,
        "letter, consumer, reason, at_ms, project, task, body",
        "letter",
        "UPDATE SET consumer = excluded.consumer, reason = excluded.reason, at_ms = excluded.at_ms, "
        "project = excluded.project, task = excluded.task, body = excluded.body WHERE at_ms IS NULL",
    )
    _AGAIN = upsert(_TABLE, "letter, again", "letter", keep_greatest(["again"], ["coalesce({}again, '')"]))
    _DECIDE = upsert(
        _TABLE,
        "letter, state, decided_ms, decision, replay",
        "letter",
        "UPDATE SET state = excluded.state, decided_ms = excluded.decided_ms, decision = excluded.decision, "
        "replay = excluded.replay WHERE decided_ms IS NULL "
        "OR (excluded.decided_ms, excluded.decision) < (decided_ms, decision)",
    )
    _RESOLVE = upsert(
        _TABLE,
        "letter, resolved_ms",
        "letter",
        "UPDATE SET resolved_ms = min(coalesce(resolved_ms, excluded.resolved_ms), excluded.resolved_ms)",
    )

    def __init__(self, file: File) -> None:
        self._file = file

    async def put(self, letters: Sequence[StoredLetter]) -> None:
        if letters:
            await self._file.writer.write(self._put, letters)

    def _put(self, connection: sqlite3.Connection, letters: Sequence[StoredLetter]) -> None:
        gone = forgotten(connection, _TABLE, (one.task for one in letters if one.task is not None))
        kept = [one for one in letters if one.task not in gone]
        rows = [(o.letter, o.group, o.reason, o.at_ms, o.project, o.task, _body(o)) for o in kept]
        insert(connection, *self._PUT, rows)
        insert(connection, *self._AGAIN, [(one.follows, one.letter) for one in kept if one.follows is not None])

    async def decide(self, decisions: Sequence[Decision]) -> None:
        if decisions:
            await self._file.writer.write(self._decide, decisions)

    def _decide(self, connection: sqlite3.Connection, decisions: Sequence[Decision]) -> None:
        insert(
            connection,
            *self._DECIDE,
            [(o.letter, o.state, o.at_ms, orjson.dumps(asdict(o)).decode(), o.replay) for o in decisions],
        )

    async def resolve(self, letters: Mapping[str, int]) -> None:
        if letters:
            await self._file.writer.write(self._resolve, list(letters.items()))

    def _resolve(self, connection: sqlite3.Connection, pairs: Sequence[Row]) -> None:
        insert(connection, *self._RESOLVE, pairs)

    async def delete_of_tasks(self, tasks: Sequence[str]) -> None:
        if tasks:
            await self._file.writer.write(self._delete, tasks)

    def _delete(self, connection: sqlite3.Connection, tasks: Sequence[str]) -> None:
        given = forget(connection, _TABLE, tasks)
        connection.execute(f"DELETE FROM {_TABLE} WHERE task IN {GIVEN}", (given,))

    async def get_many(self, letters: Sequence[str]) -> Mapping[str, KnownLetter]:
        if not letters:
            return {}
        found = await self._found(
            f"SELECT * FROM {_TABLE} WHERE at_ms IS NOT NULL AND letter IN {_OF}", {"given": ids(letters)}
        )
        return {one.letter.letter: one for one in found}

    async def page(self, wanted: LetterFilter, *, limit: int, after: PageKey | None = None) -> Sequence[KnownLetter]:
        before = after or PageKey(2**63 - 1, "")
        where, values = _where(wanted)
        return await self._found(
            f"SELECT * FROM {_TABLE} WHERE {where} AND (at_ms, letter) < (:ms, :id) "
            "ORDER BY at_ms DESC, letter DESC LIMIT :limit",
            {**values, "ms": before.ms, "id": before.id, "limit": limit},
        )

    async def backlog(
        self, wanted: LetterFilter, *, until_ms: int, limit: int, after: PageKey | None = None
    ) -> Sequence[KnownLetter]:
        start = after or PageKey(-(2**63), "")
        where, values = _where(wanted)
        return await self._found(
            f"SELECT * FROM {_TABLE} WHERE {where} AND (at_ms, letter) > (:ms, :id) AND at_ms <= :until "
            "ORDER BY at_ms, letter LIMIT :limit",
            {**values, "ms": start.ms, "id": start.id, "until": until_ms, "limit": limit},
        )

    async def count(self, wanted: LetterFilter, *, until_ms: int | None = None) -> int:
        where, values = _where(wanted)
        found = await self._file.rows(
            "n",
            f"SELECT count(*) AS n FROM {_TABLE} WHERE {where} AND at_ms <= :until",
            {**values, "until": 2**63 - 1 if until_ms is None else until_ms},
        )
        return int(found[0][0])

    async def counts(self) -> Mapping[str, Mapping[LetterState, int]]:
        found = await self._file.rows(
            "consumer, state, n",
            f"SELECT consumer, state, count(*) AS n FROM {_TABLE} WHERE at_ms IS NOT NULL GROUP BY consumer, state",
        )
        counts: dict[str, dict[LetterState, int]] = {}
        for group, state, number in found:
            counts.setdefault(group, {})[LetterState(state)] = number
        return counts

    async def results(self, replay: str) -> ReplayResults:
        found = await self._file.rows(
            "succeeded, failed, waiting",
            "SELECT count(resolved_ms) AS succeeded, count(CASE WHEN resolved_ms IS NULL THEN again END) AS failed, "
            "count(CASE WHEN resolved_ms IS NULL AND again IS NULL THEN 1 END) AS waiting "
            f"FROM {_TABLE} WHERE replay = ? AND at_ms IS NOT NULL",
            [replay],
        )
        return ReplayResults(*found[0])

    async def of_task(self, task: str) -> Sequence[KnownLetter]:
        query = f"SELECT * FROM {_TABLE} WHERE task = :task AND at_ms IS NOT NULL ORDER BY at_ms, letter"
        return await self._found(query, {"task": task})

    async def _found(self, query: str, values: Mapping[str, Any]) -> Sequence[KnownLetter]:
        return [_known(*row) for row in await self._file.rows(self._COLUMNS, query, values)]


def _where(wanted: LetterFilter) -> tuple[str, dict[str, Any]]:
    values = {"consumer": wanted.group, "reason": wanted.reason, "state": wanted.state, "replay": wanted.replay}
    narrowed = {name: value for name, value in values.items() if value is not None}
    conditions = ["at_ms IS NOT NULL", *(f"{name} = :{name}" for name in narrowed)]
    if wanted.projects is not None:
        conditions.append(f"project IN {_OF}")
        narrowed["given"] = ids(wanted.projects)
    return " AND ".join(conditions), narrowed


def _body(letter: StoredLetter) -> str:
    return orjson.dumps(asdict(letter)).decode()


def _known(body: str, decision: str | None, resolved_ms: int | None, again: str | None) -> KnownLetter:
    decided = None
    if decision is not None:
        fields = orjson.loads(decision)
        decided = Decision(**{**fields, "state": LetterState(fields["state"])})
    return KnownLetter(StoredLetter(**orjson.loads(body)), decided, resolved_ms, again)


class SqliteLetterClaims(LetterClaims):
    """Claims."""

    def __init__(self, file: File) -> None:
        self._file = file

    async def claim(self, letters: Sequence[str], by: str) -> Mapping[str, str]:
        held = await self._file.writer.write(self._claim, [(letter, by) for letter in letters]) if letters else ()
        return dict(zip(letters, held, strict=True))

    def _claim(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[str]:
        holders = []
        for letter, by in rows:
            connection.execute("INSERT INTO letter_claims VALUES (?, ?) ON CONFLICT DO NOTHING", (letter, by))
            found = connection.execute("SELECT holder FROM letter_claims WHERE letter = ?", (letter,)).fetchone()
            holders.append(found[0])
        return holders

    async def release(self, letters: Sequence[str], by: str) -> None:
        if letters:
            await self._file.writer.write(self._release, [(letter, by) for letter in letters])

    def _release(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        connection.executemany("DELETE FROM letter_claims WHERE letter = ? AND holder = ?", rows)
