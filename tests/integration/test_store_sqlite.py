"""The store in one SQLite file: the promises of every store, and what only a file or a kill can break."""

import asyncio
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.store.base import State
from prelabel_runtime.store.paging import PageKey
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import StoreFactory, StoreTests, fresh, outcome, running, task


class TestSqliteStore(StoreTests):
    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return lambda: SqliteStore(tmp_path / "store.db")


@pytest.mark.parametrize("batches", [1, 7, 40])
async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path, batches: int) -> None:
    path = tmp_path / "store.db"
    acknowledged = await asyncio.to_thread(_written_until_killed, path, batches)
    uids = [f"mark-{number}" for number in acknowledged]
    assert len(uids) >= 20 * batches
    async with running(SqliteStore(path)) as store:
        assert set(await store.tasks.get_many(uids)) == set(uids)
        outcomes = await store.outcomes.of_tasks(uids)
        assert [one.state for uid in uids for one in outcomes[uid]] == [State.CREATED] * len(uids)
        # What was written beside it agrees: a transaction is there as a whole or not at all.
        run = await store.outcomes.counts_of_run("mark")
        assert {"ner": run} == await store.outcomes.counts("mark")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _written_until_killed(path: Path, batches: int) -> list[int]:
    """Numbers that a process had acknowledged when it was killed, some time after so many batches."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.store_writer", str(path), "mark"],
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(batches)]
        writer.kill()
        lines += writer.stdout.readlines()
    return [int(number) for line in lines if line.endswith("\n") for number in line.split()]


async def test_a_full_disk_is_unavailable_and_mends_in_place(tmp_path: Path) -> None:
    async with running(SqliteStore(tmp_path / "store.db")) as store:
        await store.tasks.put([task("p", "before")])
        many = [task("p", f"t{n:04}", body='"' + "x" * 4000 + '"') for n in range(1000)]
        with _no_file_larger_than(1 << 20):
            with pytest.raises(Unavailable):
                await store.tasks.put(many)
            assert list(await store.tasks.get_many(["before"])) == ["before"]
        await store.tasks.put(many)
        assert await store.tasks.count("p") == 1001


@contextmanager
def _no_file_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_writes_at_once_share_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    path = tmp_path / "store.db"
    async with running(SqliteStore(path)) as store:
        with closing(connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # until all are handed in, nothing is written
            statements.clear()
            puts = [asyncio.create_task(store.tasks.put([task("p", f"t{n}")])) for n in range(200)]
            await asyncio.sleep(0)
            other.execute("ROLLBACK")
        await asyncio.gather(*puts)
        # The first may go alone; what came while it waited goes together.
        assert statements.count("COMMIT") <= 4
        assert await store.tasks.count("p") == 200


async def test_what_was_handed_in_is_written_before_it_stops(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.start()
    uids = [fresh("task") for _ in range(300)]
    puts = [asyncio.ensure_future(store.tasks.put([task("p", uid)])) for uid in uids]
    await asyncio.sleep(0)  # each hands its write in
    await store.stop()
    await asyncio.gather(*puts)
    async with running(SqliteStore(tmp_path / "store.db")) as store:
        assert await store.tasks.count("p") == 300


async def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    foreign, text, newer = tmp_path / "foreign.db", tmp_path / "notes.txt", tmp_path / "newer.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    text.write_text("dear diary, " * 1000)
    async with running(SqliteStore(newer)):
        pass
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("PRAGMA user_version = 99")
    for path, reason in ((foreign, "not a store"), (text, "not a store"), (newer, "update Prelabel")):
        with pytest.raises(Refused, match=reason):
            await SqliteStore(path).start()
    with pytest.raises(Refused, match="cannot be opened"):
        await SqliteStore(tmp_path / "no such folder" / "store.db").start()
    with closing(sqlite3.connect(foreign)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


async def test_every_listing_walks_an_index_from_where_the_last_page_ended(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with running(SqliteStore(path)) as store:
        asked = await _questions(store)
    with closing(sqlite3.connect(path)) as connection:
        for query, values in asked:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
            for step in plan:
                assert "TEMP B-TREE" not in step, (query, plan)
                assert not step.startswith("SCAN") or "USING" in step or "VIRTUAL" in step, (query, plan)


async def _questions(store: SqliteStore) -> list[tuple[str, Any]]:
    """What the listings ask SQLite."""
    asked: list[tuple[str, Any]] = []
    file: Any = store._file
    rows = file.rows

    async def listened(columns: str, source: str, values: Any = ()) -> Any:
        asked.append((source, values))
        return await rows(columns, source, values)

    file.rows = listened
    after = PageKey(5, "x")
    for run in (None, "r"):
        await store.tasks.page("p", limit=5, after=after, run=run)
        for model in (None, "ner"):
            await store.tasks.page("p", limit=5, after=after, run=run, state=State.FAILED, model=model)
    await store.tasks.get_many(["a", "b"])
    await store.outcomes.of_tasks(["a", "b"])
    await store.outcomes.counts("p")
    await store.outcomes.counts_of_run("r")
    await store.outcomes.oldest_pending_ms()
    await store.lines.counts("r")
    await store.lines.rejected("r", limit=5)
    await store.runs.page("p", limit=5, after=after)
    await store.runs.unfinished()
    await store.annotations.of_tasks(["a", "b"])
    await store.examples.page("p", limit=5, after="x")
    await store.examples.current("p", "a")
    await store.examples.count("p")
    return asked


async def test_reads_go_on_while_a_long_write_runs(tmp_path: Path) -> None:
    async with running(SqliteStore(tmp_path / "store.db")) as store:
        await store.outcomes.put([outcome("p", "t", "r")])
        writing = asyncio.ensure_future(store.tasks.put([task("p", f"t{n}") for n in range(20_000)]))
        for _ in range(5):
            assert await store.outcomes.counts("p") == {"ner": {State.PENDING: 1}}
        await writing


async def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    async with running(SqliteStore(tmp_path / "store.db")) as store:
        await store.outcomes.put([outcome("p", "t", "r")])
        assert _rights(tmp_path) == {0o600}


def _rights(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_a_file_of_an_earlier_version_gets_the_columns_that_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    before = outcome("p", "t", "q1", state=State.CREATED, at_ms=1, score=0.25)
    async with running(SqliteStore(path)) as store:
        await store.outcomes.put([before])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE outcomes DROP COLUMN uncertainty")
        connection.commit()
    for _ in range(2):
        async with running(SqliteStore(path)) as store:
            told = outcome("p", "t", "q2", state=State.CREATED, at_ms=1, uncertainty=0.75)
            await store.outcomes.put([told])
            assert await store.outcomes.of_tasks(["t"]) == {"t": [before, told]}
