"""The embedded bus: one SQLite file, owned by one process; no server, nothing to install.

How it keeps the promises of `base`:

- One writer thread owns the writing connection. Whatever the coroutines hand in while it syncs goes into
  the next transaction together (group commit): a hundred publishers pay for one fsync. A publish, a commit,
  a `complete` is in one transaction as a whole or not at all.
- WAL and synchronous=FULL: what was acknowledged survives SIGKILL and power loss.
- Records lie in chunks, a row for many: each step of SQLite gives up the interpreter's lock and must win it
  back. Beside a busy event loop the reading thread steps through 160,000 rows per second; in chunks that is
  2.3 million records. Only compacted topics, which are small and must give up single records, hold one record
  per row.
- The newest records also stay in memory (`tail_bytes`), ready as objects. Who keeps up is served from there
  without a thread or a query; everybody else reads the file in a reading thread.
- A topic has one partition, number 0. A group has one living member per topic; a second one is `Refused`.

What goes, and when (at start, then every `clean_seconds`, some hundred rows per transaction):

- Compacted topics: a record for whose key there is a newer one; a tombstone (value None), after a day, once
  every group has read it. The newest record per key stays. A group that lags may see the newest only.
  Retention does not apply to them.
- Topics with a retention: what is older and has been read by every group. A group that has had no member
  for 30 days is not waited for any more. A topic that no group reads loses what is older.
- The newest record of a topic is never removed: the next offset is derived from it.

The file does not shrink; the room is used again.
"""

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import struct
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import orjson

from prelabel_runtime import log
from prelabel_runtime.bus.base import (
    Bus,
    Committed,
    Consumer,
    Headers,
    Listener,
    Message,
    NotAssigned,
    Partition,
    Reader,
    Record,
    TopicSpec,
)
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Refused, Unavailable

__all__ = ["SqliteBus"]

T = TypeVar("T")

_APPLICATION: Final = 0x504C4253
_FORMAT: Final = 1
_CHUNK_RECORDS: Final = 512
_CHUNK_BYTES: Final = 256 << 10
_TRANSACTION_BYTES: Final = 8 << 20
_READ_BYTES: Final = 4 << 20
_CLEAN_ROWS: Final = 500
_OVERHEAD: Final = 800
"""About what a record with a CloudEvent's headers costs in memory beside its payload, in bytes."""
_NONE: Final = 0xFFFFFFFF
_DAY_MS: Final = 86_400_000
_TOMBSTONE_MS: Final = _DAY_MS
_FORGET_MS: Final = 30 * _DAY_MS

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_FORMAT};
CREATE TABLE IF NOT EXISTS topics (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, compacted INTEGER NOT NULL, retention_ms INTEGER,
    cleaned INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS groups (
    topic INTEGER NOT NULL, name TEXT NOT NULL, next INTEGER, note TEXT NOT NULL DEFAULT '',
    seen_ms INTEGER NOT NULL, PRIMARY KEY (topic, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS probe (id INTEGER PRIMARY KEY, checks INTEGER NOT NULL, room BLOB);
COMMIT;
"""
# {0} is the topic's own number. `gone` marks a tombstone; `key` is set in compacted topics only.
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS log_{0} (
    base INTEGER PRIMARY KEY, count INTEGER NOT NULL, written_ms INTEGER NOT NULL, body BLOB NOT NULL,
    key BLOB, gone INTEGER NOT NULL DEFAULT 0
)
"""
_KEYS: Final = "CREATE INDEX IF NOT EXISTS log_{0}_key ON log_{0} (key)"
_GONE: Final = "CREATE INDEX IF NOT EXISTS log_{0}_gone ON log_{0} (written_ms) WHERE gone"
_INSERT: Final = "INSERT INTO log_{0} (base, count, written_ms, body, key, gone) VALUES (?, ?, ?, ?, ?, ?)"
_FIRST: Final = "SELECT base FROM log_{0} ORDER BY base LIMIT 1"
_END: Final = "SELECT base + count FROM log_{0} ORDER BY base DESC LIMIT 1"
# A chunk's records were written at one moment, and chunks lie in the order of writing.
_SINCE: Final = "SELECT base FROM log_{0} WHERE written_ms >= ? ORDER BY base LIMIT 1"
_READ: Final = """
SELECT base, count, written_ms, body FROM log_{0}
WHERE base >= coalesce((SELECT max(base) FROM log_{0} WHERE base <= ?), 0) AND base < ? ORDER BY base
"""
# What lies before the window holds each key once, so one window never removes more than twice its rows.
_COMPACT: Final = """
DELETE FROM log_{0} WHERE base IN (
    SELECT old.base FROM log_{0} AS new JOIN log_{0} AS old ON old.key = new.key AND old.base < new.base
    WHERE new.base >= ? AND new.base < ?
)
"""
_BURY: Final = """
DELETE FROM log_{0} WHERE base IN (
    SELECT base FROM log_{0} WHERE gone AND written_ms < ? AND base < ? ORDER BY written_ms LIMIT ?
)
"""
_EXPIRE: Final = """
DELETE FROM log_{0} WHERE written_ms < ? AND base IN (
    SELECT base FROM log_{0} WHERE base + count <= ? ORDER BY base LIMIT ?
)
"""
_UNREAD: Final = "SELECT min(coalesce(next, 0)) FROM groups WHERE topic = ? AND seen_ms >= ?"
_JOIN: Final = """
INSERT INTO groups (topic, name, seen_ms) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET seen_ms = excluded.seen_ms
"""
_COMMIT: Final = "UPDATE groups SET next = ?, note = ?, seen_ms = ? WHERE topic = ? AND name = ?"
_PROBE: Final = "INSERT INTO probe VALUES (1, 1, NULL) ON CONFLICT DO UPDATE SET checks = checks + 1"

_Packed = tuple[Message, bytes, int]
"""A message, its headers as they are stored, and the bytes of key, value and headers."""
_GroupKey = tuple[int, str]
"""A topic's number and a group's name."""


@dataclass(slots=True, eq=False)
class _Topic:
    """What the event loop knows about a topic. Only `next` belongs to the writer thread."""

    id: int
    name: str
    compacted: bool
    retention_ms: int | None
    first: int
    end: int
    next: int
    tail: dict[int, Record] = field(default_factory=dict)
    followers: set["_Cursor"] = field(default_factory=set)

    @property
    def place(self) -> Partition:
        return Partition(self.name, 0)


@dataclass(slots=True, eq=False)
class _Entry:
    """What a caller handed in as a whole: records per topic, and commits."""

    future: asyncio.Future[None]
    records: dict[_Topic, list[_Packed]]
    commits: dict[_GroupKey, Committed]
    size: int


@dataclass(slots=True, eq=False)
class _Work:
    """Something for the writer to do in a transaction of its own."""

    future: asyncio.Future[Any]
    run: Callable[[sqlite3.Connection], Any]


@dataclass(slots=True)
class _Written:
    """Records of one topic that are durable now."""

    topic: _Topic
    base: int
    records: list[Record]
    size: int


class SqliteBus(Bus):
    """The embedded bus (see the module's text).

    path             the file; beside it lie PATH.lock, and while it is open PATH-wal and PATH-shm
    owner            how a person reaches the owning process (its address); shown to a second process
    max_record_bytes key, value and headers of one record together
    max_pending_bytes what may wait for the disk before `publish` waits, too
    tail_bytes       the newest records kept in memory, over all topics; who is behind them reads the file
    max_file_bytes   beyond it nothing can be published (`Unavailable`); None: as large as the disk
    delivery_seconds how long `publish` and `commit` wait for the disk before they raise `Unavailable`
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        owner: str = "",
        max_record_bytes: int = 1 << 20,
        max_pending_bytes: int = 64 << 20,
        tail_bytes: int = 16 << 20,
        max_file_bytes: int | None = None,
        delivery_seconds: float = 30.0,
        stop_seconds: float = 10.0,
        clean_seconds: float = 60.0,
    ) -> None:
        self._path = path
        self._clock = clock
        self._owner = owner
        self._max_record_bytes = max_record_bytes
        self._max_pending_bytes = max_pending_bytes
        self._tail_bytes = tail_bytes
        self._max_file_bytes = max_file_bytes
        self._delivery_seconds = delivery_seconds
        self._stop_seconds = stop_seconds
        self._clean_seconds = clean_seconds

        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock: int | None = None
        self._inode = 0
        self._topics: dict[str, _Topic] = {}
        self._committed: dict[_GroupKey, Committed] = {}
        self._members: dict[_GroupKey, _SqliteConsumer] = {}
        self._cached: deque[tuple[_Topic, int, int, int]] = deque()
        self._cached_bytes = 0
        self._pending_bytes = 0
        self._room = asyncio.Event()
        self._queue: queue.SimpleQueue[_Entry | _Work | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._written: sqlite3.Connection | None = None
        self._read: sqlite3.Connection | None = None
        self._reading: ThreadPoolExecutor | None = None
        self._cleaning: asyncio.Task[None] | None = None
        self._log = log.get(__name__)

    # -------------------------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Take the file. Raises `Refused` if another process has it, or if it is no such file."""
        if self._loop is not None:
            raise RuntimeError("a bus is started once")
        self._lock = self._take_lock()
        loop = asyncio.get_running_loop()
        reading = ThreadPoolExecutor(1, thread_name_prefix="bus-read")
        try:
            await loop.run_in_executor(reading, self._load)
        except BaseException:
            reading.shutdown(wait=True)
            self._release_lock()
            raise
        self._loop = loop
        self._reading = reading
        self._writer = threading.Thread(target=self._write_all, args=(loop,), name="bus-write", daemon=True)
        self._writer.start()
        self._cleaning = loop.create_task(self._clean_always(), name="bus-clean")

    async def stop(self) -> None:
        """Write what was handed in, give the file back."""
        loop, writer, reading = self._loop, self._writer, self._reading
        if loop is None or writer is None or reading is None:
            return
        self._writer = None
        if self._cleaning is not None:
            self._cleaning.cancel()
            await asyncio.gather(self._cleaning, return_exceptions=True)
        for topic in self._topics.values():
            for follower in list(topic.followers):
                follower.wake()
        self._room.set()
        self._queue.put(None)
        await loop.run_in_executor(reading, writer.join, self._stop_seconds)
        if writer.is_alive():
            # The disk does not answer. The writer may still write: the file stays locked until the end.
            self._log.error("the bus did not stop in time", path=self._path.name)
            reading.shutdown(wait=False)
            return
        await loop.run_in_executor(reading, self._close, self._read)
        reading.shutdown(wait=True)
        self._release_lock()

    def _take_lock(self) -> int:
        path = self._path.with_name(self._path.name + ".lock")
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Refused(f"{path} cannot be opened ({error.strerror}): name a folder that can be written") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 1000, 0).decode(errors="replace").strip() or "another process"
            os.close(handle)
            raise Refused(
                f"{self._path} is in use by {holder}: use the HTTP API of that process, or stop it"
            ) from error
        except OSError as error:
            os.close(handle)
            raise Refused(f"{path} cannot be locked ({error.strerror}): name a file on a local disk") from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()}{f' at {self._owner}' if self._owner else ''}\n".encode(), 0)
        return handle

    def _release_lock(self) -> None:
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def _load(self) -> None:
        """Open both connections and read what is known. Runs in the reading thread."""
        try:
            # What SQLite creates beside it gets the same rights: the data of tasks is nobody else's to read.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise Refused(f"{self._path} cannot be opened ({error.strerror}): name a file to be written") from error
        try:
            connection = self._open()
            try:
                used = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                if used and connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
                    raise Refused(f"{self._path} is not a bus file of Prelabel, but some other database")
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, _FORMAT):
                    raise Refused(f"{self._path} has format {version}, this version reads {_FORMAT}: update Prelabel")
                connection.executescript(_SCHEMA)
                for number, name, compacted, retention in connection.execute(
                    "SELECT id, name, compacted, retention_ms FROM topics"
                ).fetchall():
                    self._topics[name] = self._known(connection, number, name, bool(compacted), retention)
                for number, name, offset, note in connection.execute(
                    "SELECT topic, name, next, note FROM groups WHERE next IS NOT NULL"
                ):
                    self._committed[number, name] = Committed(offset, note)
                self._read = self._open()
            except BaseException:
                connection.close()
                raise
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the bus file does not answer: {error}") from error
        except sqlite3.DatabaseError as error:
            raise Refused(f"{self._path} is not a bus file of Prelabel: {error}") from error
        self._written = connection
        self._inode = self._path.stat().st_ino

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 2000")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            if self._max_file_bytes is not None:
                size = connection.execute("PRAGMA page_size").fetchone()[0]
                connection.execute(f"PRAGMA max_page_count = {max(1, self._max_file_bytes // size)}")
        except BaseException:
            connection.close()
            raise
        return connection

    @staticmethod
    def _close(connection: sqlite3.Connection | None) -> None:
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @staticmethod
    def _known(
        connection: sqlite3.Connection, number: int, name: str, compacted: bool, retention_ms: int | None
    ) -> _Topic:
        first = connection.execute(_FIRST.format(number)).fetchone()
        end = connection.execute(_END.format(number)).fetchone()
        stop = end[0] if end else 0
        return _Topic(number, name, compacted, retention_ms, first[0] if first else 0, stop, stop)

    # ------------------------------------------------------------------------------------------------ topics

    async def provision(self, topics: Sequence[TopicSpec]) -> None:
        """Create the topics that are missing, each with one partition whatever the spec says."""
        missing = [spec for spec in topics if spec.name not in self._topics]
        if not missing:
            return

        def create(connection: sqlite3.Connection) -> list[_Topic]:
            made = []
            for spec in missing:
                connection.execute(
                    "INSERT OR IGNORE INTO topics (name, compacted, retention_ms) VALUES (?, ?, ?)",
                    (spec.name, int(spec.compacted), spec.retention_ms),
                )
                number, compacted, retention_ms = connection.execute(
                    "SELECT id, compacted, retention_ms FROM topics WHERE name = ?", (spec.name,)
                ).fetchone()
                connection.execute(_TABLE.format(number))
                if compacted:
                    connection.execute(_KEYS.format(number))
                    connection.execute(_GONE.format(number))
                made.append(self._known(connection, number, spec.name, bool(compacted), retention_ms))
            return made

        for topic in await self._do(create):
            self._topics.setdefault(topic.name, topic)

    def find(self, name: str) -> _Topic:
        """The topic of that name. Raises ValueError if it was not provisioned."""
        topic = self._topics.get(name)
        if topic is None:
            raise ValueError(f"there is no topic {name!r}: provision it first")
        return topic

    # -------------------------------------------------------------------------------------------- publishing

    async def publish(self, messages: Sequence[Message]) -> None:
        """Make all of them durable, all or none."""
        if messages:
            await self.hand_in(messages, {})

    async def hand_in(self, messages: Sequence[Message], commits: Mapping[_GroupKey, Committed]) -> None:
        """Records and commits in one transaction; returns when it is synced."""
        self._running()
        records, size = self._pack(messages)
        if records:
            await self._wait_for_room()
        loop = self._running()
        entry = _Entry(loop.create_future(), records, dict(commits), size)
        self._pending_bytes += size
        self._queue.put(entry)
        timer = loop.call_later(self._delivery_seconds, _expire, entry.future)
        try:
            await entry.future
        finally:
            timer.cancel()

    async def _wait_for_room(self) -> None:
        if self._pending_bytes < self._max_pending_bytes:
            return
        try:
            async with asyncio.timeout(self._delivery_seconds):
                while self._pending_bytes >= self._max_pending_bytes and self._writer is not None:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            raise Unavailable("too much waits for the disk already; nothing of this call was taken") from None

    def _pack(self, messages: Sequence[Message]) -> tuple[dict[_Topic, list[_Packed]], int]:
        records: dict[_Topic, list[_Packed]] = {}
        total = 0
        for message in messages:
            topic = self.find(message.topic)
            if topic.compacted and message.key is None:
                raise ValueError(f"a record without a key cannot go to the compacted topic {topic.name!r}")
            headers = _pack_headers(message.headers) if message.headers else b""
            size = len(message.key or b"") + len(message.value or b"") + len(headers)
            if size > self._max_record_bytes:
                raise ValueError(f"a record for {topic.name!r} has {size} bytes: {self._max_record_bytes} at most")
            total += size + _OVERHEAD
            packed = records.get(topic)
            if packed is None:
                records[topic] = [(message, headers, size)]
            else:
                packed.append((message, headers, size))
        return records, total

    async def check(self) -> None:
        """One durable write, and room for a few records."""

        def probe(connection: sqlite3.Connection) -> None:
            self._same_file()
            connection.execute("INSERT INTO probe VALUES (2, 0, zeroblob(65536))")
            connection.execute("DELETE FROM probe WHERE id = 2")
            connection.execute(_PROBE)

        await self._do(probe)

    async def _do(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """Have the writer run something in a transaction of its own."""
        loop = self._running()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Work(future, run))
        timer = loop.call_later(self._delivery_seconds, _expire, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("the bus is not started")
        if self._writer is None:
            raise Unavailable("the bus is stopped")
        return self._loop

    # --------------------------------------------------------------------------- the writer (its own thread)

    def _write_all(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for an answer any more
            stopping = False
            while not stopping:
                entries: list[_Entry] = []
                size = 0
                item = self._queue.get()
                while isinstance(item, _Entry):
                    entries.append(item)
                    size += item.size
                    if size >= _TRANSACTION_BYTES:
                        break
                    try:
                        item = self._queue.get_nowait()
                    except queue.Empty:
                        break
                if entries:
                    self._write(loop, entries)
                if isinstance(item, _Work):
                    self._run(loop, item)
                stopping = item is None
        self._close(self._written)

    def _write(self, loop: asyncio.AbstractEventLoop, entries: list[_Entry]) -> None:
        now = self._clock.now_ms()
        by_topic: dict[_Topic, list[_Packed]] = {}
        commits: dict[_GroupKey, Committed] = {}
        for entry in entries:
            for topic, packed in entry.records.items():
                by_topic.setdefault(topic, []).extend(packed)
            commits.update(entry.commits)
        written: list[_Written] = []
        try:
            with self._transaction() as connection:
                for topic, packed in by_topic.items():
                    written.append(self._append(connection, topic, packed, now))
                if commits:
                    connection.executemany(
                        _COMMIT, [(at.offset, at.note, now, *group) for group, at in commits.items()]
                    )
        except Exception as error:
            loop.call_soon_threadsafe(self._fail, entries, error)
            return
        for part in written:
            part.topic.next = part.base + len(part.records)
        loop.call_soon_threadsafe(self._acknowledge, entries, written, commits)

    def _append(self, connection: sqlite3.Connection, topic: _Topic, packed: list[_Packed], now: int) -> _Written:
        insert = _INSERT.format(topic.id)
        base = topic.next
        if topic.compacted:
            connection.executemany(
                insert,
                (
                    (base + index, 1, now, _pack_body([one]), one[0].key, one[0].value is None)
                    for index, one in enumerate(packed)
                ),
            )
        else:
            at = base
            for chunk in _chunks(packed):
                connection.execute(insert, (at, len(chunk), now, _pack_body(chunk), None, 0))
                at += len(chunk)
        name = topic.name
        size = 0
        records = []
        for offset, (message, _, length) in enumerate(packed, base):
            size += length + _OVERHEAD
            records.append(Record(name, 0, offset, message.key, message.value, message.headers, now))
        return _Written(topic, base, records, size)

    def _run(self, loop: asyncio.AbstractEventLoop, work: _Work) -> None:
        try:
            with self._transaction() as connection:
                result = work.run(connection)
        except Exception as error:
            loop.call_soon_threadsafe(_set_exception, work.future, _unavailable(error))
        else:
            loop.call_soon_threadsafe(_set_result, work.future, result)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. After a failure nobody knows what reached the file: it is opened and read anew."""
        connection = self._written
        if connection is None:
            self._same_file()
            connection = self._open()
            for topic in list(self._topics.values()):
                end = connection.execute(_END.format(topic.id)).fetchone()
                topic.next = end[0] if end else 0
            self._written = connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            self._written = None
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            self._close(connection)
            raise

    # --------------------------------------------------------------------- what the writer says (event loop)

    def _acknowledge(self, entries: list[_Entry], written: list[_Written], commits: dict[_GroupKey, Committed]) -> None:
        self._committed.update(commits)
        awake: set[_Cursor] = set()
        for part in written:
            topic = part.topic
            if part.base != topic.end:  # an unknown outcome turned out to have been written: it is read from the file
                topic.tail.clear()
            topic.tail.update((record.offset, record) for record in part.records)
            topic.end = part.base + len(part.records)
            self._cached.append((topic, part.base, len(part.records), part.size))
            self._cached_bytes += part.size
            awake |= topic.followers
        while self._cached_bytes > self._tail_bytes and self._cached:
            topic, base, count, size = self._cached.popleft()
            self._cached_bytes -= size
            for offset in range(base, base + count):
                topic.tail.pop(offset, None)
        self._settle(entries)
        for entry in entries:
            _set_result(entry.future, None)
        for follower in awake:
            follower.wake()

    def _fail(self, entries: list[_Entry], error: Exception) -> None:
        self._settle(entries)
        for entry in entries:
            _set_exception(entry.future, _unavailable(error))

    def _settle(self, entries: list[_Entry]) -> None:
        self._pending_bytes -= sum(entry.size for entry in entries)
        if self._pending_bytes < self._max_pending_bytes:
            self._room.set()

    # ----------------------------------------------------------------------------------------------- reading

    async def offsets(self, topics: Sequence[str], at: Literal["beginning", "end"] | int) -> Mapping[Partition, int]:
        """Where the topics begin, end, or were at a moment."""
        loop = self._running()
        found: dict[Partition, int] = {}
        for topic in [self.find(name) for name in topics]:
            if at == "end":
                found[topic.place] = topic.end
            elif at == "beginning":
                found[topic.place] = topic.first
            elif self._reading is None:
                raise Unavailable("the bus is stopped")
            else:
                end = topic.end  # what is written from here on is later
                since = await loop.run_in_executor(self._reading, self._since, topic, at)
                found[topic.place] = end if since is None else min(since, end)
        return found

    async def fetch(self, partition: Partition, offset: int, limit: int) -> Sequence[Record]:
        """Records once more, from memory if they are new, else from the file."""
        topic = self.find(partition.topic)
        if partition.number != 0 or offset >= topic.end:
            return ()
        if topic.end - len(topic.tail) <= offset:
            return [topic.tail[at] for at in range(offset, min(offset + limit, topic.end))]
        return (await self.history(topic, offset, limit))[:limit]

    async def topics(self) -> frozenset[str]:
        """The topics that were provisioned."""
        self._running()
        return frozenset(self._topics)

    async def committed(self, group: str, topics: Sequence[str]) -> Mapping[Partition, int]:
        """How far a group is."""
        found = {topic.place: self.committed_by((topic.id, group)) for topic in (self.find(name) for name in topics)}
        return {place: done.offset for place, done in found.items() if done is not None}

    def _since(self, topic: _Topic, at_ms: int) -> int | None:
        """Runs in the reading thread."""
        with self._reading_file() as connection:
            row = connection.execute(_SINCE.format(topic.id), (at_ms,)).fetchone()
        return None if row is None else row[0]

    async def history(self, topic: _Topic, offset: int, limit: int) -> list[Record]:
        """What lies in the file from `offset` on: about `limit` records or 4 MiB of them, whole chunks."""
        loop = self._running()
        if self._reading is None:
            raise Unavailable("the bus is stopped")
        return await loop.run_in_executor(self._reading, self._fetch, topic, offset, topic.end, limit)

    def _fetch(self, topic: _Topic, offset: int, end: int, limit: int) -> list[Record]:
        """Runs in the reading thread."""
        records: list[Record] = []
        size = 0
        with self._reading_file() as connection:
            rows = connection.execute(_READ.format(topic.id), (offset, end))
            try:
                for row in rows:
                    records += _unpack_body(topic.name, row, offset)
                    size += len(row[3])
                    if len(records) >= limit or size >= _READ_BYTES:
                        break
            finally:
                rows.close()
        return records

    @contextlib.contextmanager
    def _reading_file(self) -> Iterator[sqlite3.Connection]:
        """The reading thread's connection, opened anew after a failure."""
        try:
            if self._read is None:
                self._same_file()
                self._read = self._open()
            yield self._read
        except (sqlite3.Error, OSError) as error:
            self._close(self._read)
            self._read = None
            raise Unavailable(f"the bus file cannot be read: {error}") from error

    def _same_file(self) -> None:
        if self._path.stat().st_ino != self._inode:
            raise OSError("the bus file was replaced under the process that owns it")

    def consumer(self, topics: Sequence[str], *, group: str) -> Consumer:
        """A new member; `start` raises `Refused` while another of the group reads one of the topics."""
        return _SqliteConsumer(self, self._clock, topics, group)

    def reader(self, topics: Sequence[str], *, start: Literal["beginning", "end"]) -> Reader:
        """A reader of topics."""
        return _SqliteReader(self, topics, start)

    # -------------------------------------------------------------------------------------------- membership

    async def join(self, member: "_SqliteConsumer", group: str, topics: Sequence[_Topic]) -> None:
        """Make it the group's member. Raises `Refused` if there is one already."""
        places = [(topic.id, group) for topic in topics]
        if taken := [topic.name for topic, place in zip(topics, places, strict=True) if place in self._members]:
            raise Refused(f"group {group!r} already has a member reading {taken[0]!r}: one at a time on this bus")
        self._members.update(dict.fromkeys(places, member))
        now = self._clock.now_ms()
        try:
            await self._do(partial(_seen, rows=[(*place, now) for place in places]))
        except BaseException:
            self.leave(member)
            raise

    def leave(self, member: "_SqliteConsumer") -> None:
        """Give its places up."""
        self._members = {place: other for place, other in self._members.items() if other is not member}

    def committed_by(self, group: _GroupKey) -> Committed | None:
        """What the group has committed there."""
        return self._committed.get(group)

    # ---------------------------------------------------------------------------------------------- cleaning

    async def clean(self) -> int:
        """Remove what may go (see the module's text), in small transactions. Returns the number of rows."""
        if self._members:
            now, places = self._clock.now_ms(), list(self._members)
            await self._do(partial(_seen, rows=[(*place, now) for place in places]))
        removed = 0
        for topic in list(self._topics.values()):
            if topic.compacted or topic.retention_ms is not None:
                step = self._compact if topic.compacted else self._expire
                more = True
                while more:
                    rows, more, first = await self._do(partial(step, topic))
                    topic.first = max(topic.first, first)
                    removed += rows
        return removed

    def _compact(self, topic: _Topic, connection: sqlite3.Connection) -> tuple[int, bool, int]:
        (cleaned,) = connection.execute("SELECT cleaned FROM topics WHERE id = ?", (topic.id,)).fetchone()
        upto = min(cleaned + _CLEAN_ROWS, topic.next)
        removed = 0
        if upto > cleaned:
            removed = connection.execute(_COMPACT.format(topic.id), (cleaned, upto)).rowcount
            connection.execute("UPDATE topics SET cleaned = ? WHERE id = ?", (upto, topic.id))
        # A tombstone may go once nothing older of its key is left, which is so below `upto`.
        limit = min(upto, self._removable(connection, topic))
        oldest = self._clock.now_ms() - _TOMBSTONE_MS
        buried = connection.execute(_BURY.format(topic.id), (oldest, limit, _CLEAN_ROWS)).rowcount
        return removed + buried, upto < topic.next or buried == _CLEAN_ROWS, self._earliest(connection, topic)

    def _expire(self, topic: _Topic, connection: sqlite3.Connection) -> tuple[int, bool, int]:
        oldest = self._clock.now_ms() - (topic.retention_ms or 0)
        limit = self._removable(connection, topic)
        removed = connection.execute(_EXPIRE.format(topic.id), (oldest, limit, _CLEAN_ROWS)).rowcount
        return removed, removed == _CLEAN_ROWS, self._earliest(connection, topic)

    def _removable(self, connection: sqlite3.Connection, topic: _Topic) -> int:
        """What lies before this offset has been read by every living group, and is not the newest row."""
        newest = connection.execute(f"SELECT max(base) FROM log_{topic.id}").fetchone()[0]  # noqa: S608 - a number
        unread = connection.execute(_UNREAD, (topic.id, self._clock.now_ms() - _FORGET_MS)).fetchone()[0]
        return min(newest or 0, topic.next if unread is None else unread)

    @staticmethod
    def _earliest(connection: sqlite3.Connection, topic: _Topic) -> int:
        row = connection.execute(_FIRST.format(topic.id)).fetchone()
        return row[0] if row else 0

    async def _clean_always(self) -> None:
        while True:
            try:
                await self.clean()
            except Unavailable as error:
                self._log.warning("the bus could not be cleaned", reason=error.what)
            await self._clock.sleep(self._clean_seconds)


class _Cursor:
    """Positions in topics, and the one waiting poll."""

    def __init__(self, bus: SqliteBus) -> None:
        self._bus = bus
        self.topics: dict[Partition, _Topic] = {}
        self.positions: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self._ahead: dict[Partition, deque[Record]] = {}
        """Read from the file and not handed out yet: at most what is left of one chunk."""
        self._turn = 0
        self._waiter: asyncio.Future[None] | None = None

    def follow(self, topic: _Topic, position: int) -> None:
        self.topics[topic.place] = topic
        self.positions[topic.place] = position
        topic.followers.add(self)

    def close(self) -> None:
        for topic in self.topics.values():
            topic.followers.discard(self)
        self.topics.clear()
        self.positions.clear()
        self.paused.clear()
        self._ahead.clear()
        self.wake()

    def seek(self, place: Partition, offset: int) -> None:
        self.positions[place] = offset
        self._ahead.pop(place, None)
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def poll(self, limit: int, timeout: float) -> list[Record]:
        if limit < 1:
            raise ValueError("a poll takes at least one record")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        await asyncio.sleep(0)  # a poll that finds something at once must let others run, too
        while True:
            records = await self._next(limit)
            if records or not self.topics:
                return records
            if any(self.positions[place] < topic.end for place, topic in self._open()):
                continue  # what was awaited was overtaken by a seek or a pause
            left = deadline - loop.time()
            if left <= 0:
                return records
            self._waiter = loop.create_future()
            timer = loop.call_later(left, self.wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None

    def _open(self) -> list[tuple[Partition, _Topic]]:
        return [(place, topic) for place, topic in self.topics.items() if place not in self.paused]

    async def _next(self, limit: int) -> list[Record]:
        """Up to `limit` records, each topic having the first turn in turn. Never waits after it took one."""
        places = self._open()
        if not places:
            return []
        self._turn = (self._turn + 1) % len(places)
        records: list[Record] = []
        for place, topic in places[self._turn :] + places[: self._turn]:
            if not records:
                await self._look_back(place, topic, limit)
                if place in self.paused or place not in self.topics:
                    continue
            self._take(place, topic, limit - len(records), records)
            if len(records) >= limit:
                break
        return records

    async def _look_back(self, place: Partition, topic: _Topic, limit: int) -> None:
        """Read ahead from the file, if the next record is not in memory."""
        position = self.positions[place]
        if self._ahead.get(place) or not position < topic.end - len(topic.tail):
            return
        end = topic.end
        records = await self._bus.history(topic, position, limit)
        if self.positions.get(place) != position:
            return
        if records:
            self._ahead[place] = deque(records)
        else:  # all of it was compacted away
            self.positions[place] = end

    def _take(self, place: Partition, topic: _Topic, limit: int, records: list[Record]) -> None:
        position = self.positions[place]
        ahead = self._ahead.get(place)
        if ahead:
            count = min(limit, len(ahead))
            records.extend(ahead.popleft() for _ in range(count))
            self.positions[place] = records[-1].offset + 1
        elif topic.end - len(topic.tail) <= position < topic.end:
            end = min(position + limit, topic.end)
            tail = topic.tail
            records.extend([tail[offset] for offset in range(position, end)])
            self.positions[place] = end


class _SqliteConsumer(Consumer):
    def __init__(self, bus: SqliteBus, clock: Clock, topics: Sequence[str], group: str) -> None:
        self.polled_at = clock.monotonic()
        self._bus = bus
        self._clock = clock
        self._names = tuple(dict.fromkeys(topics))
        self._group = group
        self._cursor = _Cursor(bus)
        self._on_revoke: Listener | None = None
        self._joined = False

    async def start(self, *, on_assign: Listener, on_revoke: Listener) -> None:
        topics = [self._bus.find(name) for name in self._names]
        await self._bus.join(self, self._group, topics)
        self._joined = True
        self._on_revoke = on_revoke
        for topic in topics:
            done = self._bus.committed_by((topic.id, self._group))
            self._cursor.follow(topic, done.offset if done else topic.first)
        self.polled_at = self._clock.monotonic()
        try:
            await on_assign(self.assignment())
        except BaseException:
            self._on_revoke = None
            await self.stop()
            raise

    async def stop(self) -> None:
        self._joined = False
        revoked, self._on_revoke = self._on_revoke, None
        try:
            if revoked is not None:
                await revoked(self.assignment())
        finally:
            self._cursor.close()
            self._bus.leave(self)

    async def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        if not self._joined:
            raise RuntimeError("the consumer is not started")
        records = await self._cursor.poll(limit, timeout)
        self.polled_at = self._clock.monotonic()
        return records

    async def idle(self) -> None:
        self.polled_at = self._clock.monotonic()

    def pause(self, partitions: Collection[Partition]) -> None:
        self._cursor.paused.update(place for place in partitions if place in self._cursor.topics)

    def resume(self, partitions: Collection[Partition]) -> None:
        self._cursor.paused.difference_update(partitions)
        self._cursor.wake()

    def seek(self, partition: Partition, offset: int) -> None:
        if partition in self._cursor.topics:
            self._cursor.seek(partition, offset)

    def assignment(self) -> frozenset[Partition]:
        return frozenset(self._cursor.topics)

    async def committed(self, partition: Partition) -> Committed | None:
        return self._bus.committed_by((self._bus.find(partition.topic).id, self._group))

    async def commit(self, offsets: Mapping[Partition, Committed]) -> None:
        if offsets:
            await self._bus.hand_in((), self._commits(offsets))

    async def complete(self, bus: Bus, messages: Sequence[Message], offsets: Mapping[Partition, Committed]) -> None:
        if bus is not self._bus:
            await super().complete(bus, messages, offsets)
        elif messages or offsets:
            await self._bus.hand_in(messages, self._commits(offsets))

    async def lag(self) -> Mapping[Partition, int]:
        return {
            place: max(0, topic.end - max(self._cursor.positions[place], topic.first))
            for place, topic in self._cursor.topics.items()
        }

    def _commits(self, offsets: Mapping[Partition, Committed]) -> dict[_GroupKey, Committed]:
        self._assigned(offsets)
        return {(self._cursor.topics[place].id, self._group): done for place, done in offsets.items()}

    def _assigned(self, partitions: Collection[Partition]) -> None:
        for place in partitions:
            if place not in self._cursor.topics:
                raise NotAssigned(f"{place.topic} {place.number} is not this member's of group {self._group!r}")


class _SqliteReader(Reader):
    def __init__(self, bus: SqliteBus, topics: Sequence[str], start: Literal["beginning", "end"]) -> None:
        self._bus = bus
        self._names = tuple(dict.fromkeys(topics))
        self._start = start
        self._cursor = _Cursor(bus)

    async def start(self) -> None:
        for topic in [self._bus.find(name) for name in self._names]:
            self._cursor.follow(topic, topic.end if self._start == "end" else topic.first)

    async def stop(self) -> None:
        self._cursor.close()

    async def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        return await self._cursor.poll(limit, timeout)

    async def ends(self) -> Mapping[Partition, int]:
        return {place: topic.end for place, topic in self._cursor.topics.items()}

    def position(self, partition: Partition) -> int:
        return self._cursor.positions[partition]


# ------------------------------------------------------------------------------------------ how it is stored


def _chunks(packed: list[_Packed]) -> Iterator[list[_Packed]]:
    """Rows of at most 512 records and about 256 KiB, or one larger record."""
    chunk: list[_Packed] = []
    size = 0
    for one in packed:
        if chunk and (len(chunk) >= _CHUNK_RECORDS or size + one[2] > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(one)
        size += one[2]
    yield chunk


def _pack_body(packed: list[_Packed]) -> bytes:
    """Three lengths per record (little endian, 4 bytes; all ones: None), then key, value, headers of each."""
    lengths: list[int] = []
    parts: list[bytes] = [b""]
    for message, headers, _ in packed:
        key, value = message.key, message.value
        lengths += (
            _NONE if key is None else len(key),
            _NONE if value is None else len(value),
            len(headers),
        )
        if key:
            parts.append(key)
        if value:
            parts.append(value)
        if headers:
            parts.append(headers)
    parts[0] = struct.pack(f"<{len(lengths)}I", *lengths)
    return b"".join(parts)


def _unpack_body(topic: str, row: tuple[int, int, int, bytes], offset: int) -> list[Record]:
    """The chunk's records from `offset` on."""
    base, count, written_ms, body = row
    records = []
    lengths = struct.unpack_from(f"<{3 * count}I", body)
    at = 12 * count
    for index in range(count):
        key_length, value_length, headers_length = lengths[3 * index : 3 * index + 3]
        key = value = None
        if key_length != _NONE:
            key = body[at : at + key_length]
            at += key_length
        if value_length != _NONE:
            value = body[at : at + value_length]
            at += value_length
        if base + index >= offset:
            headers = _unpack_headers(body[at : at + headers_length]) if headers_length else ()
            records.append(Record(topic, 0, base + index, key, value, headers, written_ms))
        at += headers_length
    return records


def _seen(connection: sqlite3.Connection, rows: Sequence[tuple[int, str, int]]) -> None:
    # Gives back no cursor: one that is dropped in another thread resets the writer's statement under its hands.
    connection.executemany(_JOIN, rows)


def _pack_headers(headers: Headers) -> bytes:
    """A JSON list of names and values in turn; each byte of a value is one character, so that all survive."""
    try:
        return orjson.dumps([part for name, value in headers for part in (name, value.decode("latin-1"))])
    except orjson.JSONEncodeError as error:
        raise ValueError("a header's name is not valid Unicode") from error


def _unpack_headers(packed: bytes) -> Headers:
    flat: list[str] = orjson.loads(packed)
    return tuple(zip(flat[::2], [value.encode("latin-1") for value in flat[1::2]], strict=True))


# --------------------------------------------------------------------------------------------------- answers


def _unavailable(error: Exception) -> Exception:
    if isinstance(error, Unavailable):
        return Unavailable(error.what)
    if isinstance(error, (sqlite3.Error, OSError)):
        return Unavailable(f"the bus file cannot be written: {error}")
    return error


def _set_result(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():  # the caller may have given up
        future.set_result(result)


def _set_exception(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _expire(future: asyncio.Future[Any]) -> None:
    _set_exception(future, Unavailable("the disk did not answer in time; the records may or may not be there"))
