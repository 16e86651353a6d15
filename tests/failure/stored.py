"""The store, read without any of Prelabel's own code."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task's document."""

    uid: str
    project: str
    id: str | None
    revision: int


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """A request's document."""

    request: str
    project: str
    task: str
    model: str
    state: str
    version: str | None


@dataclass(frozen=True, slots=True)
class StoreDump:
    """What the checker looks at."""

    tasks: Sequence[StoredTask]
    outcomes: Sequence[StoredOutcome]
    annotations: Sequence[str]
    """Ids of the projection's annotations that are not deleted."""
    examples: Sequence[str]
    """Ids of the annotations that training keeps and that are not deleted."""


def read_store(store: str) -> StoreDump:
    """Everything in a store, named as in PRELABEL_STORE."""
    scheme, _, rest = store.partition("://")
    return _sqlite(Path(rest[1:])) if scheme == "sqlite" else _mongo(store)


def _sqlite(path: Path) -> StoreDump:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=60)
    try:
        tasks = connection.execute("SELECT uid, project, id, revision FROM tasks").fetchall()
        outcomes = connection.execute("SELECT request, project, task, model, state, version FROM outcomes").fetchall()
        annotations = connection.execute("SELECT annotation FROM annotations WHERE NOT deleted").fetchall()
        examples = connection.execute("SELECT annotation FROM examples WHERE NOT deleted").fetchall()
    finally:
        connection.close()
    return StoreDump(
        [StoredTask(*row) for row in tasks],
        [StoredOutcome(*row) for row in outcomes],
        [row[0].rpartition("/")[2] for row in annotations],
        [row[0].rpartition("/")[2] for row in examples],
    )


def _mongo(url: str) -> StoreDump:
    from pymongo import MongoClient  # not needed, and perhaps not installed, where the store is SQLite

    client: MongoClient[dict[str, Any]] = MongoClient(url)
    try:
        database = client.get_default_database()
        tasks = [
            StoredTask(one["_id"], one["project"], one["best"]["id"], one["best"]["revision"])
            for one in database["tasks"].find({"best": {"$exists": True}})
        ]
        outcomes = [
            StoredOutcome(
                one["_id"], one["project"], one["task"], one["model"], one["best"]["state"], one["best"]["version"]
            )
            for one in database["outcomes"].find({"best": {"$exists": True}})
        ]
        kept = [
            [one["_id"].rpartition("/")[2] for one in database[name].find() if not one["best"].get("deleted")]
            for name in ("annotations", "examples")
        ]
    finally:
        client.close()
    return StoreDump(tasks, outcomes, *kept)
