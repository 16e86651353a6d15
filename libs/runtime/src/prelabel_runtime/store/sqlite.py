"""The embedded store: one SQLite file, nothing to install.

- WAL and synchronous=FULL: a write that returned survives SIGKILL and power loss. One thread writes for all
  (`sqlite_writer`); reading threads have connections of their own and never wait for it.
- Rows go in, and come out, many per statement: each step of SQLite gives up the interpreter's lock and must
  win it back, and a step per row, beside a busy event loop, would cost a switch interval (5 ms) each. So
  writes are INSERTs of many VALUES, and a read returns its rows as one JSON array.
- "Keep the greatest" is an upsert that compares the whole (rank, order, content), so that even two values
  that claim the same place give one result in any order.
- What was deleted for good is remembered in `forgotten`; whatever comes late for it is dropped in the same
  transaction.
- `task_runs` and `outcome_runs` repeat the columns that their listings are ordered and filtered by; triggers
  keep them true, so that every listing walks one index from where the last page ended.
"""
# ruff: noqa: S608 - what is put into statements here are names of this file; values are always bound

import asyncio
import functools
import operator
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from prelabel_runtime.errors import Unavailable
from prelabel_runtime.store import (
    audit_sqlite,
    dead_letters_sqlite,
    deliveries_sqlite,
    documents_sqlite,
    generations_sqlite,
    jobs_sqlite,
    quotas_sqlite,
)
from prelabel_runtime.store.base import (
    RANK,
    Annotations,
    Doubt,
    Examples,
    LineCounts,
    Lines,
    Outcomes,
    Projected,
    Runs,
    RunState,
    State,
    Store,
    StoredAnnotation,
    StoredLine,
    StoredOutcome,
    StoredRun,
    StoredTask,
    Submission,
    Submissions,
    Tasks,
)
from prelabel_runtime.store.generations_sqlite import SqliteContents, SqliteGenerations, drop_projected
from prelabel_runtime.store.sqlite_file import (
    GIVEN,
    File,
    Row,
    Schema,
    forget,
    forgotten,
    ids,
    insert,
    keep_greatest,
    upsert,
)

from .paging import PageKey

__all__ = ["SqliteStore"]

_START: Final = PageKey(-(2**63), "")
_FINAL: Final = (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED)

_ANNOTATION: Final = """
    n INTEGER PRIMARY KEY, annotation TEXT NOT NULL UNIQUE, project TEXT NOT NULL, task TEXT NOT NULL,
    annotator TEXT NOT NULL, offset INTEGER NOT NULL, at_ms INTEGER NOT NULL, deleted INTEGER NOT NULL,
    skipped INTEGER NOT NULL, ground_truth INTEGER NOT NULL, body TEXT NOT NULL
"""
# Rows lie in the order of their arrival; random ids meet only in the small unique indexes.
_TABLES: Final = f"""
CREATE TABLE IF NOT EXISTS tasks (
    n INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, project TEXT NOT NULL, id TEXT,
    revision INTEGER NOT NULL, first_ms INTEGER NOT NULL, config TEXT NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS task_runs (
    run TEXT NOT NULL, first_ms INTEGER NOT NULL, task TEXT NOT NULL, PRIMARY KEY (run, first_ms, task)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcomes (
    n INTEGER PRIMARY KEY, request TEXT NOT NULL UNIQUE, project TEXT NOT NULL, task TEXT NOT NULL,
    revision INTEGER NOT NULL, model TEXT NOT NULL, provider TEXT NOT NULL, task_ms INTEGER NOT NULL,
    rank INTEGER NOT NULL, state TEXT NOT NULL, offset INTEGER NOT NULL, at_ms INTEGER NOT NULL, version TEXT,
    score TEXT, body TEXT NOT NULL, uncertainty TEXT
);
CREATE TABLE IF NOT EXISTS outcome_runs (
    run TEXT NOT NULL, state TEXT NOT NULL, task_ms INTEGER NOT NULL, task TEXT NOT NULL, model TEXT NOT NULL,
    request TEXT NOT NULL, PRIMARY KEY (run, state, task_ms, task, model, request)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS superseded (request TEXT PRIMARY KEY, successor TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lines (
    n INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, project TEXT NOT NULL, run TEXT, line INTEGER, task TEXT,
    at_ms INTEGER NOT NULL, refused INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, project TEXT, opened_ms INTEGER, total INTEGER, ended TEXT, ended_ms INTEGER,
    reason TEXT NOT NULL DEFAULT '', announced INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS annotations ({_ANNOTATION});
CREATE TABLE IF NOT EXISTS examples ({_ANNOTATION});
CREATE TABLE IF NOT EXISTS submissions (
    uid TEXT PRIMARY KEY, revision INTEGER NOT NULL, content TEXT NOT NULL, config TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten (
    kind TEXT NOT NULL, task TEXT NOT NULL, PRIMARY KEY (kind, task)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS task_moved AFTER UPDATE OF first_ms ON tasks
WHEN new.first_ms <> old.first_ms BEGIN
    UPDATE task_runs SET first_ms = new.first_ms WHERE task = new.uid;
END;
CREATE TRIGGER IF NOT EXISTS outcome_moved AFTER UPDATE OF state, task_ms ON outcomes
WHEN new.state <> old.state OR new.task_ms <> old.task_ms BEGIN
    UPDATE outcome_runs SET state = new.state, task_ms = new.task_ms WHERE request = new.request;
END;
"""

_INDEXES: Final = {
    "tasks_listing": "tasks (project, first_ms, uid)",
    "task_runs_once": "task_runs (task, run)",
    "outcomes_of_model": "outcomes (project, model, state, task_ms, task)",
    "outcomes_of_state": "outcomes (project, state, task_ms, task)",
    "outcomes_of_task": "outcomes (task, state, task_ms)",
    "outcomes_waiting": "outcomes (task_ms) WHERE state = 'pending'",
    "outcome_runs_once": "outcome_runs (request, run)",
    "lines_of_run": "lines (run, refused, line) WHERE run IS NOT NULL",
    "runs_listing": "runs (project, opened_ms, run)",
    "runs_unfinished": "runs (opened_ms, run) WHERE announced = 0",
    "annotations_of_task": "annotations (task)",
    "examples_listing": "examples (project, task, ground_truth, offset) WHERE NOT deleted AND NOT skipped",
    "examples_all": "examples (project, task, offset, annotation) WHERE NOT deleted",
    "examples_of_task": "examples (task)",
}
"""Every index but those of the keys, by name. Those that end in `_once` are unique."""

_SCHEMA: Final = functools.reduce(
    operator.add,
    (
        Schema(_TABLES, _INDEXES, {("outcomes", "uncertainty"): "TEXT"}),
        generations_sqlite.SCHEMA,
        dead_letters_sqlite.SCHEMA,
        dead_letters_sqlite.CLAIMS,
        jobs_sqlite.SCHEMA,
        quotas_sqlite.SCHEMA,
        documents_sqlite.SCHEMA,
        deliveries_sqlite.SCHEMA,
        audit_sqlite.SCHEMA,
    ),
)


# ----------------------------------------------------------------------------------------------- repositories


class _SqliteTasks(Tasks):
    _COLUMNS = "uid, project, id, revision, first_ms, config, body"
    _PUT = upsert(
        "tasks",
        _COLUMNS,
        "uid",
        keep_greatest(
            ("id", "revision", "config", "body"),
            ("{}revision", "{}config", "{}body"),
            also={"first_ms": "min"},
        ),
    )
    _JOIN = "INSERT INTO task_runs (run, first_ms, task) SELECT column1, first_ms, uid FROM"

    def __init__(self, file: File) -> None:
        self._file = file

    async def put(self, tasks: Sequence[StoredTask]) -> None:
        if tasks:
            await self._file.writer.write(self._put, tasks)

    def _put(self, connection: sqlite3.Connection, tasks: Sequence[StoredTask]) -> None:
        gone = forgotten(connection, "tasks", (task.uid for task in tasks))
        kept = [task for task in tasks if task.uid not in gone]
        insert(
            connection,
            *self._PUT,
            [(t.uid, t.project, t.id, t.revision, t.first_ms, t.config, t.body) for t in kept],
        )
        insert(
            connection,
            self._JOIN,
            2,
            "CROSS JOIN tasks ON uid = column2 WHERE true ON CONFLICT DO NOTHING",
            [(task.run, task.uid) for task in kept if task.run is not None],
        )

    async def delete(self, uids: Sequence[str]) -> None:
        if uids:
            await self._file.writer.write(self._delete, uids)

    def _delete(self, connection: sqlite3.Connection, uids: Sequence[str]) -> None:
        given = forget(connection, "tasks", uids)
        connection.execute(f"DELETE FROM tasks WHERE uid IN {GIVEN}", (given,))
        connection.execute(f"DELETE FROM task_runs WHERE task IN {GIVEN}", (given,))

    async def get(self, project: str, uid: str) -> StoredTask | None:
        task = (await self.get_many([uid])).get(uid)
        return task if task is not None and task.project == project else None

    async def get_many(self, uids: Sequence[str]) -> Mapping[str, StoredTask]:
        if not uids:
            return {}
        found = await self._file.rows(
            self._COLUMNS,
            f"SELECT * FROM tasks WHERE uid IN {GIVEN}",
            [ids(uids)],
        )
        return {row[0]: StoredTask(*row) for row in found}

    async def page(
        self,
        project: str,
        *,
        limit: int,
        after: PageKey | None = None,
        run: str | None = None,
        model: str | None = None,
        state: State | None = None,
    ) -> Sequence[tuple[PageKey, StoredTask]]:
        if model is not None and state is None:
            raise ValueError("a model without a state: name the state, too")
        start = after or _START
        values = {
            "project": project, "ms": start.ms, "id": start.id, "run": run, "model": model, "state": state,
            "limit": limit,
        }  # fmt: skip
        found = await self._file.rows(f"place, {self._COLUMNS}", _listing(run, model, state), values)
        return [(PageKey(row[0], row[1]), StoredTask(*row[1:])) for row in found]

    async def unannotated(
        self, project: str, *, scan: int, after: PageKey | None = None
    ) -> tuple[Sequence[str], PageKey | None]:
        start = after or _START
        values = {"project": project, "ms": start.ms, "id": start.id, "scan": scan}
        behind = "FROM tasks WHERE project = :project AND (first_ms, uid) > (:ms, :id) ORDER BY first_ms, uid"
        # In one statement, so that both are of one moment: the open ones, and the place to go on from.
        found = await self._file.rows(
            "kind, ms, uid",
            f"""
            SELECT * FROM (
                SELECT 0 AS kind, first_ms AS ms, uid FROM (SELECT first_ms, uid {behind} LIMIT :scan) AS t
                WHERE NOT EXISTS (SELECT 1 FROM annotations AS a WHERE a.task = t.uid AND NOT a.deleted)
            ) UNION ALL SELECT * FROM (SELECT 1 AS kind, first_ms AS ms, uid {behind} LIMIT 1 OFFSET :scan - 1)
            """,
            values,
        )
        found.sort()
        last = PageKey(*found.pop()[1:]) if found and found[-1][0] else None
        return [row[2] for row in found], last

    async def newest(self, project: str, *, limit: int) -> Sequence[StoredTask]:
        found = await self._file.rows(
            self._COLUMNS,
            "SELECT * FROM tasks WHERE project = ? ORDER BY first_ms DESC, uid DESC LIMIT ?",
            [project, limit],
        )
        return [StoredTask(*row) for row in found]

    async def count(self, project: str) -> int:
        found = await self._file.rows("n", "SELECT count(*) AS n FROM tasks WHERE project = ?", [project])
        return int(found[0][0])


def _listing(run: str | None, model: str | None, state: State | None) -> str:
    """Tasks with `place`, the moment they are listed under, in order."""
    if state is None and run is None:
        return """
            SELECT first_ms AS place, * FROM tasks WHERE project = :project AND (first_ms, uid) > (:ms, :id)
            ORDER BY first_ms, uid LIMIT :limit
        """
    if state is None:
        return """
            SELECT r.first_ms AS place, t.* FROM task_runs AS r CROSS JOIN tasks AS t ON t.uid = r.task
            WHERE r.run = :run AND (r.first_ms, r.task) > (:ms, :id) AND t.project = :project
            ORDER BY r.first_ms, r.task LIMIT :limit
        """
    of_model = "" if model is None else "AND o.model = :model"
    of_run = "" if run is None else "AND EXISTS (SELECT 1 FROM outcome_runs WHERE request = e.request AND run = :run)"
    table, owner = ("outcomes", "o.project = :project") if run is None else ("outcome_runs", "o.run = :run")
    # A task whose revisions were accepted at different moments is listed under the first of them only.
    return f"""
        SELECT o.task_ms AS place, t.* FROM {table} AS o CROSS JOIN tasks AS t ON t.uid = o.task
        WHERE {owner} AND o.state = :state {of_model} AND (o.task_ms, o.task) > (:ms, :id)
            AND t.project = :project AND NOT EXISTS (
                SELECT 1 FROM outcomes AS e INDEXED BY outcomes_of_task
                WHERE e.task = o.task AND e.state = :state AND e.task_ms < o.task_ms
                {of_model.replace("o.", "e.")} {of_run}
            )
        GROUP BY o.task_ms, o.task ORDER BY o.task_ms, o.task LIMIT :limit
    """


class _SqliteOutcomes(Outcomes):
    _COLUMNS = (
        "request, project, task, revision, model, provider, task_ms, rank, state, offset, at_ms, version, score, body, "
        "uncertainty"
    )
    _PUT = upsert(
        "outcomes",
        _COLUMNS,
        "request",
        keep_greatest(
            ("rank", "state", "offset", "at_ms", "version", "score", "body", "uncertainty"),
            (
                *("{}rank", "-{}offset", "{}state", "{}at_ms", "{}body"),
                *(f"coalesce({{}}{name}, '')" for name in ("version", "score", "uncertainty")),
            ),
            also={"revision": "max", "task_ms": "min"},
        ),
    )
    _JOIN = """
        INSERT INTO outcome_runs (run, state, task_ms, task, model, request)
        SELECT column1, state, task_ms, task, model, request FROM
    """

    def __init__(self, file: File) -> None:
        self._file = file

    async def put(self, outcomes: Sequence[StoredOutcome]) -> None:
        if outcomes:
            await self._file.writer.write(self._put, outcomes)

    def _put(self, connection: sqlite3.Connection, outcomes: Sequence[StoredOutcome]) -> None:
        gone = forgotten(connection, "outcomes", (outcome.task for outcome in outcomes))
        kept = [outcome for outcome in outcomes if outcome.task not in gone]
        rows = [
            (
                o.request, o.project, o.task, o.revision, o.model, o.provider, o.task_ms,
                RANK.get(o.state, 1), o.state, o.offset, o.at_ms, o.version,
                _kept(o.score), o.body, _kept(o.uncertainty),
            )
            for o in kept
        ]  # fmt: skip
        insert(connection, *self._PUT, rows)
        insert(
            connection,
            self._JOIN,
            2,
            "CROSS JOIN outcomes ON request = column2 WHERE true ON CONFLICT DO NOTHING",
            [(outcome.run, outcome.request) for outcome in kept if outcome.run is not None],
        )

    async def supersede(self, replaced: Mapping[str, str]) -> None:
        if replaced:
            await self._file.writer.write(self._supersede, list(replaced.items()))

    def _supersede(self, connection: sqlite3.Connection, pairs: Sequence[tuple[str, str]]) -> None:
        # A table of its own, since the mark may come before what it marks.
        insert(connection, *self._MARK, pairs)

    _MARK = upsert("superseded", "request, successor", "request", keep_greatest(["successor"], ["{}successor"]))

    async def delete_of_tasks(self, tasks: Sequence[str]) -> None:
        if tasks:
            await self._file.writer.write(self._delete, tasks)

    def _delete(self, connection: sqlite3.Connection, tasks: Sequence[str]) -> None:
        given = forget(connection, "outcomes", tasks)
        requests = f"(SELECT request FROM outcomes WHERE task IN {GIVEN})"
        connection.execute(f"DELETE FROM outcome_runs WHERE request IN {requests}", (given,))
        connection.execute(f"DELETE FROM outcomes WHERE task IN {GIVEN}", (given,))

    async def of_tasks(self, tasks: Sequence[str]) -> Mapping[str, Sequence[StoredOutcome]]:
        if not tasks:
            return {}
        found = await self._file.rows(
            f"{self._COLUMNS}, successor",
            f"SELECT o.*, s.successor FROM outcomes AS o LEFT JOIN superseded AS s USING (request) "
            f"WHERE o.task IN {GIVEN}",
            [ids(tasks)],
        )
        by_task: dict[str, list[StoredOutcome]] = {}
        for row in found:
            outcome = _outcome(row)
            by_task.setdefault(outcome.task, []).append(outcome)
        for outcomes in by_task.values():
            outcomes.sort(key=lambda one: (one.model, one.at_ms, one.request))
        return by_task

    async def doubts(self, tasks: Sequence[str]) -> Mapping[str, Sequence[Doubt]]:
        if not tasks:
            return {}
        found = await self._file.rows(
            "task, model, request, revision, offset, uncertainty, successor",
            f"SELECT o.*, s.successor FROM outcomes AS o LEFT JOIN superseded AS s USING (request) "
            f"WHERE o.task IN {GIVEN} AND o.state = 'created'",
            [ids(tasks)],
        )
        by_task: dict[str, list[Doubt]] = {}
        for task, model, request, revision, offset, uncertainty, successor in found:
            one = Doubt(task, model, request, revision, offset, _float(uncertainty), successor)
            by_task.setdefault(task, []).append(one)
        for doubts in by_task.values():
            doubts.sort(key=lambda one: (one.model, one.revision, one.offset, one.request))
        return by_task

    async def counts(self, project: str) -> Mapping[str, Mapping[State, int]]:
        found = await self._file.rows(
            "model, state, n",
            "SELECT model, state, count(*) AS n FROM outcomes INDEXED BY outcomes_of_model "
            "WHERE project = ? GROUP BY model, state",
            [project],
        )
        counts: dict[str, dict[State, int]] = {}
        for model, state, number in found:
            counts.setdefault(model, {})[State(state)] = number
        return counts

    async def counts_of_run(self, run: str) -> Mapping[State, int]:
        found = await self._file.rows(
            "state, n", "SELECT state, count(*) AS n FROM outcome_runs WHERE run = ? GROUP BY state", [run]
        )
        return {State(state): number for state, number in found}

    async def pending_in_run(self, run: str) -> bool:
        found = await self._file.rows(
            "one", "SELECT 1 AS one FROM outcome_runs WHERE run = ? AND state = 'pending' LIMIT 1", [run]
        )
        return bool(found)

    async def oldest_pending_ms(self) -> int | None:
        found = await self._file.rows(
            "task_ms", "SELECT task_ms FROM outcomes WHERE state = 'pending' ORDER BY task_ms LIMIT 1"
        )
        return int(found[0][0]) if found else None


def _outcome(row: Sequence[Any]) -> StoredOutcome:
    (
        request,
        project,
        task,
        revision,
        model,
        provider,
        task_ms,
        _,
        state,
        offset,
        at_ms,
        version,
        score,
        body,
        uncertainty,
        by,
    ) = row
    return StoredOutcome(
        request, project, task, revision, model, provider, task_ms, State(state), offset, at_ms, version,
        _float(score), body, superseded_by=by, uncertainty=_float(uncertainty),
    )  # fmt: skip


def _kept(value: float | None) -> str | None:
    """As text: SQLite's JSON would round it to 15 digits."""
    return None if value is None else repr(value)


def _float(kept: str | None) -> float | None:
    return None if kept is None else float(kept)


class _SqliteLines(Lines):
    _COLUMNS = "key, project, run, line, task, at_ms, body"
    _PUT = upsert("lines", f"{_COLUMNS}, refused", "key", "NOTHING")

    def __init__(self, file: File) -> None:
        self._file = file

    async def put(self, lines: Sequence[StoredLine]) -> None:
        if lines:
            await self._file.writer.write(self._put, lines)

    def _put(self, connection: sqlite3.Connection, lines: Sequence[StoredLine]) -> None:
        insert(
            connection,
            *self._PUT,
            [(o.key, o.project, o.run, o.line, o.task, o.at_ms, o.body, o.task is None) for o in lines],
        )

    async def counts(self, run: str) -> LineCounts:
        found = await self._file.rows(
            "refused, n", "SELECT refused, count(*) AS n FROM lines WHERE run = ? GROUP BY refused", [run]
        )
        by_fate: dict[int, int] = dict(found)
        return LineCounts(accepted=by_fate.get(0, 0), rejected=by_fate.get(1, 0))

    async def rejected(self, run: str, *, after: int = 0, limit: int) -> Sequence[StoredLine]:
        found = await self._file.rows(
            self._COLUMNS,
            "SELECT * FROM lines WHERE run = ? AND refused = 1 AND line > ? ORDER BY line LIMIT ?",
            [run, after, limit],
        )
        return [StoredLine(*row) for row in found]


class _SqliteRuns(Runs):
    _COLUMNS = "run, project, opened_ms, total, ended, ended_ms, reason, announced"
    _PUT = upsert(
        "runs",
        "run, project, opened_ms, total",
        "run",
        "UPDATE SET project = excluded.project, opened_ms = min(coalesce(opened_ms, excluded.opened_ms), "
        "excluded.opened_ms), total = max(coalesce(total, excluded.total), coalesce(excluded.total, total))",
    )

    def __init__(self, file: File) -> None:
        self._file = file

    async def open(self, run: str, project: str, at_ms: int) -> None:
        await self._file.writer.write(self._put, [(run, project, at_ms, None)])

    async def seal(self, run: str, project: str, total: int, at_ms: int) -> None:
        await self._file.writer.write(self._put, [(run, project, at_ms, total)])

    def _put(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        insert(connection, *self._PUT, rows)

    async def finish(self, run: str, state: RunState, at_ms: int, reason: str = "") -> bool:
        if state not in _FINAL:
            raise ValueError(f"{state} is not a final state")
        return (await self._file.writer.write(self._finish, [(run, state, at_ms, reason)]))[0]

    def _finish(self, connection: sqlite3.Connection, ends: Sequence[Row]) -> Sequence[bool]:
        first = [
            connection.execute(
                "INSERT INTO runs (run, ended, ended_ms, reason) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (run) DO UPDATE SET ended = excluded.ended, "
                "ended_ms = excluded.ended_ms, reason = excluded.reason "
                "WHERE ended IS NULL",
                end,
            ).rowcount
            > 0
            for end in ends
        ]
        connection.executemany(
            "UPDATE runs SET ended_ms = ?3 WHERE run = ?1 AND ended = ?2 AND reason = ?4 AND ended_ms > ?3", ends
        )
        return first

    async def announced(self, run: str) -> None:
        await self._file.writer.write(self._announced, [run])

    def _announced(self, connection: sqlite3.Connection, runs: Sequence[str]) -> None:
        for run in runs:
            connection.execute(
                "INSERT INTO runs (run, announced) VALUES (?, 1) ON CONFLICT (run) DO UPDATE SET announced = 1",
                (run,),
            )

    async def get(self, project: str, run: str) -> StoredRun | None:
        found = await self._found("SELECT * FROM runs WHERE run = ? AND project = ?", [run, project])
        return found[0] if found else None

    async def unfinished(self, *, limit: int = 1000) -> Sequence[StoredRun]:
        return await self._found(
            "SELECT * FROM runs WHERE announced = 0 AND opened_ms IS NOT NULL ORDER BY opened_ms, run LIMIT ?",
            [limit],
        )

    async def page(self, project: str, *, limit: int, after: PageKey | None = None) -> Sequence[StoredRun]:
        before = after or PageKey(2**63 - 1, "")
        return await self._found(
            "SELECT * FROM runs WHERE project = ? AND (opened_ms, run) < (?, ?) "
            "ORDER BY opened_ms DESC, run DESC LIMIT ?",
            [project, before.ms, before.id, limit],
        )

    async def _found(self, query: str, values: Sequence[Any]) -> Sequence[StoredRun]:
        runs = []
        for run, project, opened_ms, total, ended, ended_ms, reason, announced in await self._file.rows(
            self._COLUMNS, query, values
        ):
            state = RunState.OPEN if total is None else RunState.SEALED
            if ended is not None:
                state = RunState(ended)
            runs.append(StoredRun(run, project, state, opened_ms, total, ended_ms, reason, bool(announced)))
        return runs


_ANNOTATED: Final = (
    "annotation, project, task, annotator, offset, at_ms, deleted, skipped, ground_truth, body"
)  # fmt: skip


def _annotation_row(one: StoredAnnotation) -> Row:
    return (
        one.key, one.project, one.task, one.annotator, one.offset, one.at_ms, one.deleted, one.skipped,
        one.ground_truth, one.body,
    )  # fmt: skip


def _annotation(row: Sequence[Any]) -> StoredAnnotation:
    key, project, task, annotator, offset, at_ms, deleted, skipped, truth, body = row
    annotation = key.removeprefix(f"{task}/")
    return StoredAnnotation(
        annotation, project, task, annotator, offset, at_ms, bool(deleted), bool(skipped), bool(truth), body
    )


class _Annotated:
    """A table of annotations: `annotations`, which projection owns, or `examples`, which training owns."""

    def __init__(self, file: File, table: str) -> None:
        self._file = file
        self._table = table
        self._upsert = upsert(
            table,
            _ANNOTATED,
            "annotation",
            keep_greatest(
                (
                    "project",
                    "task",
                    "annotator",
                    "offset",
                    "at_ms",
                    "deleted",
                    "skipped",
                    "ground_truth",
                    "body",
                ),
                ("{}deleted", "{}offset", "{}at_ms", "{}skipped", "{}ground_truth", "{}body"),
            ),
        )

    async def put(self, annotations: Sequence[StoredAnnotation]) -> None:
        if annotations:
            await self._file.writer.write(self._put, annotations)

    def _put(self, connection: sqlite3.Connection, annotations: Sequence[StoredAnnotation]) -> None:
        gone = forgotten(connection, self._table, (one.task for one in annotations))
        insert(connection, *self._upsert, [_annotation_row(one) for one in annotations if one.task not in gone])

    async def forget(self, tasks: Sequence[str]) -> None:
        if tasks:
            await self._file.writer.write(self._forget, tasks)

    def _forget(self, connection: sqlite3.Connection, tasks: Sequence[str]) -> None:
        given = forget(connection, self._table, tasks)
        connection.execute(f"DELETE FROM {self._table} WHERE task IN {GIVEN}", (given,))

    async def found(self, query: str, values: Sequence[Any]) -> Sequence[StoredAnnotation]:
        return [_annotation(row) for row in await self._file.rows(_ANNOTATED, query, values)]


class _SqliteAnnotations(Annotations):
    def __init__(self, file: File) -> None:
        self._table = _Annotated(file, "annotations")

    async def put(self, annotations: Sequence[StoredAnnotation]) -> None:
        await self._table.put(annotations)

    async def of_tasks(self, tasks: Sequence[str]) -> Mapping[str, Sequence[StoredAnnotation]]:
        by_task: dict[str, list[StoredAnnotation]] = {}
        query = f"SELECT * FROM annotations WHERE NOT deleted AND task IN {GIVEN}"
        for one in await self._table.found(query, [ids(tasks)]):
            by_task.setdefault(one.task, []).append(one)
        for annotations in by_task.values():
            annotations.sort(key=lambda one: (one.at_ms, one.offset, one.annotation))
        return by_task

    async def delete_of_tasks(self, tasks: Sequence[str]) -> None:
        await self._table.forget(tasks)


class _SqliteExamples(Examples):
    _CURRENT = """
        SELECT * FROM examples AS e INDEXED BY examples_listing
        WHERE project = ? AND {} AND NOT deleted AND NOT skipped AND NOT EXISTS (
            SELECT 1 FROM examples AS b INDEXED BY examples_listing
            WHERE b.project = e.project AND b.task = e.task AND NOT b.deleted AND NOT b.skipped
            AND (b.ground_truth, b.offset, b.annotation) > (e.ground_truth, e.offset, e.annotation)
        ) ORDER BY task LIMIT ?
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self._table = _Annotated(file, "examples")

    async def put(self, annotations: Sequence[StoredAnnotation]) -> None:
        await self._table.put(annotations)

    async def forget(self, tasks: Sequence[str]) -> None:
        await self._table.forget(tasks)

    async def current(self, project: str, task: str) -> StoredAnnotation | None:
        found = await self._table.found(self._CURRENT.format("task = ?"), [project, task, 1])
        return found[0] if found else None

    async def count(self, project: str) -> int:
        found = await self._file.rows(
            "n",
            "SELECT count(DISTINCT task) AS n FROM examples WHERE project = ? AND NOT deleted AND NOT skipped",
            [project],
        )
        return int(found[0][0])

    async def page(self, project: str, *, limit: int, after: str | None = None) -> Sequence[StoredAnnotation]:
        return await self._table.found(self._CURRENT.format("task > ?"), [project, after or "", limit])

    async def annotations(self, project: str, *, limit: int, after: str | None = None) -> Sequence[StoredAnnotation]:
        behind = "FROM examples INDEXED BY examples_all WHERE project = ?1 AND NOT deleted AND task > ?2"
        last = f"(SELECT task {behind} ORDER BY task LIMIT 1 OFFSET ?3 - 1)"
        # The task of the last row that fits comes whole; where all fit there is none such: no text is above a blob.
        return await self._table.found(
            f"SELECT * {behind} AND task <= coalesce({last}, x'') ORDER BY task, offset, annotation",
            [project, after or "", limit],
        )


class _SqliteSubmissions(Submissions):
    _COLUMNS = "uid, revision, content, config"
    _PUT = upsert(
        "submissions",
        _COLUMNS,
        "uid",
        keep_greatest(("revision", "content", "config"), ("{}revision", "{}content", "{}config")),
    )

    def __init__(self, file: File) -> None:
        self._file = file

    async def put(self, submissions: Sequence[Submission]) -> None:
        if submissions:
            await self._file.writer.write(self._put, submissions)

    def _put(self, connection: sqlite3.Connection, submissions: Sequence[Submission]) -> None:
        insert(connection, *self._PUT, [(o.uid, o.revision, o.content, o.config) for o in submissions])

    async def put_new(self, submissions: Sequence[Submission]) -> Mapping[str, Submission]:
        if not submissions:
            return {}
        known = await self._file.writer.write(self._put_new, submissions)
        return {one.uid: one for one in known if one is not None}

    def _put_new(self, connection: sqlite3.Connection, submissions: Sequence[Submission]) -> list[Submission | None]:
        """What was known of each: others may have handed in the same tasks for this transaction."""
        query = f"SELECT json_group_array(json_array({self._COLUMNS})) FROM submissions WHERE uid IN {GIVEN}"
        found = connection.execute(query, (ids(one.uid for one in submissions),)).fetchone()[0]
        known = {row[0]: Submission(*row) for row in orjson.loads(found)}
        before = [known.setdefault(one.uid, one) for one in submissions]
        new = [one for one, there in zip(submissions, before, strict=True) if there is one]
        self._put(connection, new)
        return [None if there is one else there for one, there in zip(submissions, before, strict=True)]

    async def get_many(self, uids: Sequence[str]) -> Mapping[str, Submission]:
        if not uids:
            return {}
        found = await self._file.rows(
            self._COLUMNS,
            f"SELECT * FROM submissions WHERE uid IN {GIVEN}",
            [ids(uids)],
        )
        return {row[0]: Submission(*row) for row in found}


def _projected(number: int, file: File) -> Projected:
    return Projected(
        number,
        _SqliteTasks(file),
        _SqliteOutcomes(file),
        _SqliteLines(file),
        _SqliteRuns(file),
        _SqliteAnnotations(file),
        dead_letters_sqlite.SqliteDeadLetters(file),
        SqliteContents(file),
    )


class SqliteStore(Store):
    """The embedded store (see the module's text). One process owns the file, the one that owns the bus.

    path           the file; while it is open PATH-wal and PATH-shm lie beside it
    readers        threads, each with a connection, that answer reads
    write_seconds  how long a write waits for the disk before it raises `Unavailable`
    read_seconds   the same for a read
    stop_seconds   how long `stop` waits for what was handed in
    check_seconds  how long `check` takes at most
    """

    def __init__(
        self,
        path: Path,
        *,
        readers: int = 2,
        write_seconds: float = 30.0,
        read_seconds: float = 30.0,
        stop_seconds: float = 10.0,
        check_seconds: float = 3.0,
    ) -> None:
        self._check_seconds = check_seconds
        self._path = path
        self._open = functools.partial(
            File, schema=_SCHEMA, readers=readers, write_seconds=write_seconds, read_seconds=read_seconds
        )
        self._file = self._open(path)
        self._beside: dict[int, File] = {}
        """Generations in files of their own."""
        self._stop_seconds = stop_seconds
        self.projected = _projected(0, self._file)
        self.generations = SqliteGenerations(self._file)
        self.claims = dead_letters_sqlite.SqliteLetterClaims(self._file)
        self.jobs = jobs_sqlite.SqliteJobs(self._file)
        self.quotas = quotas_sqlite.SqliteQuotas(self._file)
        self.documents = documents_sqlite.SqliteDocuments(self._file)
        self.examples: Examples = _SqliteExamples(self._file)
        self.submissions: Submissions = _SqliteSubmissions(self._file)
        self.endpoints = deliveries_sqlite.SqliteEndpoints(self._file)
        self.deliveries = deliveries_sqlite.SqliteDeliveries(self._file)
        self.recoveries = deliveries_sqlite.SqliteRecoveries(self._file)
        self.audit = audit_sqlite.SqliteAudit(self._file)

    async def start(self) -> None:
        """Open the file, making it where it is missing. Raises `Refused` where it is none of ours."""
        await self._file.start()
        await self.use(await self.generations.current())

    async def stop(self) -> None:
        """Write what was handed in, and close."""
        for file in (*self._beside.values(), self._file):
            await file.stop(self._stop_seconds)
        self._beside.clear()

    async def generation(self, number: int) -> Projected:
        """A generation; all but the first lie in files beside the store's, PATH.g<number>."""
        if number == self.projected.generation:
            return self.projected
        if number == 0:
            return _projected(0, self._file)
        if number not in self._beside:
            file = self._open(self._beside_path(number))
            await file.start()
            self._beside[number] = file
        return _projected(number, self._beside[number])

    async def use(self, number: int) -> None:
        """From now on this process uses that generation."""
        self.projected = await self.generation(number)

    async def drop(self, number: int) -> None:
        """Remove a generation: its file, or the first one's tables."""
        if number == self.projected.generation:
            raise ValueError(f"generation {number} is in use")
        if number == 0:
            await self._file.writer.write(drop_projected, [None])
            return
        file = self._beside.pop(number, None)
        if file is not None:
            await file.stop(self._stop_seconds)
        path = self._beside_path(number)
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)

    def _beside_path(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.g{number}")

    async def check(self) -> None:
        """Raises `Unavailable` if nothing could be read now."""
        try:
            async with asyncio.timeout(self._check_seconds):
                await self._file.rows("one", "SELECT one FROM generation")
        except TimeoutError as error:
            raise Unavailable(f"the store did not answer in {self._check_seconds:g} s") from error
