"""The embedded bus keeps the promises of every bus, and its own."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest
from prelabel_runtime.bus.base import Bus, Committed, Message, NotAssigned, Partition, TopicSpec
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.testing.bus import (
    PATIENCE,
    BusFactory,
    BusTests,
    drain,
    joined,
    message,
    running,
    stored,
    values,
)

DAY_MS = 86_400_000


class ShiftedClock(SystemClock):
    """The machine's clock, `shift_ms` ahead."""

    def __init__(self) -> None:
        self.shift_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.shift_ms


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bus.db"


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@asynccontextmanager
async def opened(path: Path, clock: ShiftedClock, *topics: TopicSpec) -> AsyncIterator[SqliteBus]:
    """A running bus with these topics, which cleans only when asked."""
    bus = SqliteBus(path, clock=clock, clean_seconds=1e6)
    async with running(bus):
        await bus.provision(topics)
        yield bus


@contextmanager
def hanging(path: Path) -> Iterator[None]:
    """A time in which nobody can write to the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


class TestSqliteBus(BusTests):
    """As it is: readers find the newest records in memory."""

    @pytest.fixture
    def bus_factory(self, path: Path) -> BusFactory:
        return lambda: SqliteBus(path, clock=SystemClock())


class TestSqliteBusFromTheFile(BusTests):
    """Nothing is kept in memory: every record is read from the file."""

    @pytest.fixture
    def bus_factory(self, path: Path) -> BusFactory:
        return lambda: SqliteBus(path, clock=SystemClock(), tail_bytes=0)


# ------------------------------------------------------------------------------------------------- one owner


async def test_a_second_process_is_refused_and_told_who_has_the_file(path: Path, clock: ShiftedClock) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from prelabel_runtime.bus.sqlite import SqliteBus\n"
        "from prelabel_runtime.clock import SystemClock; from prelabel_runtime.errors import Refused\n"
        "try: asyncio.run(SqliteBus(Path(sys.argv[1]), clock=SystemClock()).start())\n"
        "except Refused as refused: print(refused)\n"
    )
    async with running(SqliteBus(path, clock=clock, owner="http://127.0.0.1:8080")):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(path), stdout=asyncio.subprocess.PIPE
        )
        said = (await child.communicate())[0].decode()
    assert said.count("\n") == 1
    assert f"process {os.getpid()} at http://127.0.0.1:8080" in said
    assert "HTTP API" in said


async def test_the_file_is_free_once_its_owner_stopped(path: Path, clock: ShiftedClock) -> None:
    first, second = SqliteBus(path, clock=clock), SqliteBus(path, clock=clock)
    async with running(first):
        with pytest.raises(Refused):
            await second.start()
    async with running(second):
        await second.check()
    with pytest.raises(Unavailable):
        await first.publish([message("any", "k", 1)])


async def test_a_file_that_is_no_bus_is_refused(tmp_path: Path, clock: ShiftedClock) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("not a database at all, " * 1000)
    with pytest.raises(Refused, match="not a bus file"):
        await SqliteBus(other, clock=clock).start()
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(Refused, match="some other database"):
        await SqliteBus(foreign, clock=clock).start()
    with pytest.raises(Refused, match="folder"):
        await SqliteBus(tmp_path / "nowhere" / "bus.db", clock=clock).start()


async def test_nobody_else_may_read_the_file(path: Path, clock: ShiftedClock) -> None:
    async with opened(path, clock, TopicSpec("t")) as bus:
        await bus.publish([message("t", "k", 1)])
        assert {entry.stat().st_mode & 0o777 for entry in os.scandir(path.parent)} == {0o600}


async def test_a_second_member_of_a_group_is_refused(path: Path, clock: ShiftedClock) -> None:
    async with opened(path, clock, TopicSpec("t"), TopicSpec("u")) as bus, joined(bus, ["t"], "group"):
        with pytest.raises(Refused, match="group"):
            async with joined(bus, ["u", "t"], "group"):
                pass
        async with joined(bus, ["u"], "group"), joined(bus, ["t"], "other"):
            pass


async def test_a_start_that_failed_leaves_the_place_to_the_next(path: Path, clock: ShiftedClock) -> None:
    async def fail(_: object) -> None:
        raise Unavailable("store")

    async def ignore(_: object) -> None:
        pass

    async with opened(path, clock, TopicSpec("t")) as bus:
        consumer = bus.consumer(["t"], group="group")
        with pytest.raises(Unavailable):
            await consumer.start(on_assign=fail, on_revoke=ignore)
        await consumer.start(on_assign=ignore, on_revoke=ignore)
        await consumer.stop()
        await consumer.stop()
        with pytest.raises(ValueError, match="unknown"):
            await bus.consumer(["unknown"], group="group").start(on_assign=ignore, on_revoke=ignore)
        with pytest.raises(ValueError, match="unknown"):
            await bus.reader(["unknown"], start="end").start()


# ---------------------------------------------------------------------------------------------- durability

PUBLISHER = """
import asyncio, sys
from pathlib import Path
from prelabel_runtime.bus.base import Message, TopicSpec
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock

async def main():
    bus = SqliteBus(Path(sys.argv[1]), clock=SystemClock())
    await bus.start()
    await bus.provision([TopicSpec("t"), TopicSpec("u")])
    async def publisher(name):
        for number in range(10**9):
            values = [f"{name} {number} {part}" for part in range(3)]
            await bus.publish([Message(topic, b"k", value.encode()) for topic, value in zip("tut", values)])
            print(*values, sep="\\n", flush=True)
    await asyncio.gather(*(publisher(f"p{number}") for number in range(20)))

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 500, 5000])
async def test_kill_9_loses_nothing_that_was_acknowledged(path: Path, clock: ShiftedClock, acknowledged: int) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PUBLISHER, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while len(lines) < acknowledged:
            lines.append((await child.stdout.readline()).decode().strip())
    child.send_signal(signal.SIGKILL)
    rest = (await child.stdout.read()).decode()
    lines += [line for line in rest[: rest.rfind("\n") + 1].splitlines() if line]
    await child.wait()

    async with opened(path, clock) as bus:  # the lock went with its owner
        there = [*values(await stored(bus, "t")), *values(await stored(bus, "u"))]
        assert set(lines) <= set(there)
        assert len(there) == len(set(there))
        per_call: dict[str, int] = {}
        for value in there:
            call = value.rpartition(" ")[0]
            per_call[call] = per_call.get(call, 0) + 1
        assert set(per_call.values()) == {3}  # a call is there as a whole or not at all
        await bus.publish([message("t", "k", "after")])
        assert values(await stored(bus, "t"))[-1] == "after"


async def test_stop_writes_what_was_handed_in(path: Path, clock: ShiftedClock) -> None:
    bus = SqliteBus(path, clock=clock)
    await bus.start()
    await bus.provision([TopicSpec("t")])
    publishing = [asyncio.create_task(bus.publish([message("t", "k", number)])) for number in range(200)]
    await asyncio.sleep(0)
    await bus.stop()
    assert await asyncio.gather(*publishing) == [None] * 200
    async with opened(path, clock) as again:
        assert values(await stored(again, "t")) == [str(number) for number in range(200)]


async def test_complete_is_all_or_nothing(path: Path, clock: ShiftedClock) -> None:
    async with opened(path, clock, TopicSpec("in"), TopicSpec("out")) as bus:
        await bus.publish([message("in", "k", 1)])
        async with joined(bus, ["in"], "group") as member:
            await drain(member.consumer, 1)
            done = {Partition("in", 0): Committed(1)}
            too_large = Message("out", b"k", b"x" * (2 << 20))
            with pytest.raises(ValueError, match="bytes"):
                await member.consumer.complete(bus, [message("out", "k", 1), too_large], done)
            with pytest.raises(ValueError, match="no topic 'unknown'"):
                await member.consumer.complete(bus, [message("out", "k", 1), message("unknown", "k", 1)], done)
            with pytest.raises(NotAssigned):
                await member.consumer.complete(bus, [message("out", "k", 1)], {Partition("out", 0): Committed(1)})
            assert await member.consumer.committed(Partition("in", 0)) is None
            assert await stored(bus, "out") == []


async def test_a_full_file_takes_nothing_of_a_call_says_so_and_goes_on_when_there_is_room(
    path: Path, clock: ShiftedClock
) -> None:
    bus = SqliteBus(path, clock=clock, max_file_bytes=2 << 20, clean_seconds=1e6)
    async with running(bus):
        await bus.provision([TopicSpec("t", retention_ms=1000), TopicSpec("small"), TopicSpec("done")])
        await bus.check()
        published = await fill(bus, "t", 50_000, at_once=5)
        assert len(await stored(bus, "t")) == published
        async with joined(bus, ["t"], "group") as member:
            await drain(member.consumer, published)
            done = {Partition("t", 0): Committed(published)}
            parts = [message("small", "k", 1), Message("done", b"k", os.urandom(500_000))]
            with pytest.raises(Unavailable):
                await member.consumer.complete(bus, parts, done)
            assert await member.consumer.committed(Partition("t", 0)) is None
            assert await stored(bus, "done") == []
            await fill(bus, "done", 20_000)
            with pytest.raises(Unavailable, match="full"):
                await bus.check()
            await member.consumer.commit(done)
        clock.shift_ms = 2000
        assert await bus.clean() > 0
        await bus.check()
        await bus.publish([message("t", "k", "again")])
    async with opened(path, clock) as again:
        assert await stored(again, "small") == []


async def fill(bus: Bus, topic: str, size: int, *, at_once: int = 1) -> int:
    """Publish until the file is full; how many records it took."""
    for number in range(1000):
        try:
            await bus.publish([Message(topic, b"k", os.urandom(size)) for _ in range(at_once)])
        except Unavailable as error:
            if "full" in error.what:
                return number * at_once
            raise
    pytest.fail("the file was never full")


async def test_a_file_that_was_replaced_is_noticed(path: Path, clock: ShiftedClock) -> None:
    async with opened(path, clock, TopicSpec("t")) as bus:
        await bus.check()
        os.rename(path, path.with_name("elsewhere.db"))
        with pytest.raises(Unavailable):
            await bus.check()
        os.close(os.open(path, os.O_CREAT))
        with pytest.raises(Unavailable, match="replaced"):
            await bus.check()


async def test_a_disk_that_hangs_makes_publishing_unavailable_in_time(path: Path, clock: ShiftedClock) -> None:
    await made(path, clock, TopicSpec("t"))
    async with running(SqliteBus(path, clock=clock, delivery_seconds=0.2)) as bus:
        with hanging(path), pytest.raises(Unavailable, match="in time"):
            await bus.publish([message("t", "k", "unknown")])
        await drain_one_more(bus)


async def made(path: Path, clock: ShiftedClock, *topics: TopicSpec) -> None:
    """The file with its topics, by a bus that has more patience with the disk than those that are tested on it."""
    async with opened(path, clock, *topics):
        pass


async def drain_one_more(bus: Bus) -> None:
    """What was given up on may have been written since; what is published now comes after it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await bus.publish([message("t", "k", "new")])
            except Unavailable:
                continue
            break
    in_order = list(dict.fromkeys(values(await stored(bus, "t"))))
    assert in_order in (["unknown", "new"], ["new"])


async def test_publishers_wait_while_too_much_waits_for_the_disk(path: Path, clock: ShiftedClock) -> None:
    await made(path, clock, TopicSpec("t"))
    # Well below the time for which the writer waits for the file: while it hangs, nobody hears that it was locked.
    bus = SqliteBus(path, clock=clock, max_pending_bytes=100_000, delivery_seconds=0.5)
    async with running(bus):

        async def outcome(number: int) -> str:
            try:
                await bus.publish([Message("t", b"%d" % number, b"x" * 50_000)])
            except Unavailable as error:
                return error.what
            return "published"

        with hanging(path):
            outcomes = await asyncio.gather(*(outcome(number) for number in range(10)))
        assert sum("nothing of this call was taken" in what for what in outcomes) == 8
        assert sum("may or may not" in what for what in outcomes) == 2
        async with asyncio.timeout(PATIENCE):
            while await outcome(10) != "published":
                pass
        refused = [number for number, what in enumerate(outcomes) if "nothing of this call was taken" in what]
        there = {int(record.key or b"") for record in await stored(bus, "t")}
        assert there == set(range(11)) - set(refused)


# ------------------------------------------------------------------------------------------- what may go


async def test_compaction_keeps_the_newest_record_of_each_key_where_it_was(path: Path, clock: ShiftedClock) -> None:
    async with opened(path, clock, TopicSpec("state", compacted=True)) as bus:
        for number in range(2000):
            await bus.publish([message("state", f"k{number % 300}", number)])
        before = await stored(bus, "state")
        assert await bus.clean() == 1700
        assert await bus.clean() == 0
        await bus.publish([message("state", "k299", "newer"), message("state", "new key", "first")])
        assert await bus.clean() == 1
    async with opened(path, clock) as bus:
        after = await stored(bus, "state")
    assert after[:-2] == [record for record in before[1700:] if record.key != b"k299"]
    assert values(after[-2:]) == ["newer", "first"]
    assert [record.offset for record in after[-2:]] == [2000, 2001]


async def test_a_tombstone_goes_after_a_day_once_every_group_has_read_it(path: Path, clock: ShiftedClock) -> None:
    gone = Message("state", b"gone", None)
    async with opened(path, clock, TopicSpec("state", compacted=True)) as bus:
        async with joined(bus, ["state"], "group") as member:
            await bus.publish([message("state", "gone", "value"), gone, message("state", "stays", "value")])
            await bus.clean()
            assert [record.key for record in await stored(bus, "state")] == [b"gone", b"stays"]
            clock.shift_ms = DAY_MS + 1
            await bus.clean()
            assert [record.key for record in await stored(bus, "state")] == [b"gone", b"stays"]
            await member.consumer.commit({Partition("state", 0): Committed(3)})
        await bus.clean()
        assert [record.key for record in await stored(bus, "state")] == [b"stays"]


async def test_a_compacted_topic_takes_no_record_without_a_key(path: Path, clock: ShiftedClock) -> None:
    async with opened(path, clock, TopicSpec("state", compacted=True)) as bus:
        with pytest.raises(ValueError, match="key"):
            await bus.publish([Message("state", None, b"value")])


async def test_retention_removes_what_is_old_and_read_and_nothing_unread(path: Path, clock: ShiftedClock) -> None:
    async with opened(path, clock, TopicSpec("t", retention_ms=DAY_MS), TopicSpec("for ever")) as bus:
        async with joined(bus, ["t"], "fast") as fast, joined(bus, ["t"], "slow") as slow:
            for number in range(1200):
                await bus.publish([message("t", "k", number), message("for ever", "k", number)])
            await fast.consumer.commit({Partition("t", 0): Committed(1200)})
            await slow.consumer.commit({Partition("t", 0): Committed(700)})
            assert await bus.clean() == 0
            clock.shift_ms = DAY_MS + 1
            assert await bus.clean() > 0
        left = await stored(bus, "t")
        async with joined(bus, ["t"], "slow") as slow:
            assert values(await drain(slow.consumer, 500)) == [str(number) for number in range(700, 1200)]
        async with joined(bus, ["t"], "new") as new:
            assert await drain(new.consumer, len(left)) == left
        assert len(await stored(bus, "for ever")) == 1200


async def test_a_group_without_a_member_for_a_month_is_not_waited_for(path: Path, clock: ShiftedClock) -> None:
    async with opened(path, clock, TopicSpec("t", retention_ms=DAY_MS)) as bus:
        await bus.publish([message("t", "k", 1)])
        await bus.publish([message("t", "k", 2)])
        async with joined(bus, ["t"], "abandoned"):
            pass
        clock.shift_ms = 29 * DAY_MS
        assert await bus.clean() == 0
        async with joined(bus, ["t"], "alive") as alive:
            await alive.consumer.commit({Partition("t", 0): Committed(2)})
            clock.shift_ms = 31 * DAY_MS
            assert await bus.clean() == 1
        assert values(await stored(bus, "t")) == ["2"]  # the newest stays: offsets go on from it
    async with opened(path, clock) as bus:
        await bus.publish([message("t", "k", 3)])
        assert (await stored(bus, "t"))[-1].offset == 2


# --------------------------------------------------------------------------------------------- many records


async def test_a_group_that_lags_meets_the_newest_records_without_a_gap(path: Path, clock: ShiftedClock) -> None:
    bus = SqliteBus(path, clock=clock, tail_bytes=50_000)
    async with running(bus):
        await bus.provision([TopicSpec("t")])
        async with joined(bus, ["t"], "group") as member:
            publishing = asyncio.create_task(publish_many(bus, 5000))
            records = await drain(member.consumer, 5000, limit=37)
            await publishing
        assert values(records) == [str(number) for number in range(5000)]
        assert [record.offset for record in records] == list(range(5000))


async def publish_many(bus: Bus, count: int) -> None:
    for number in range(0, count, 10):
        await bus.publish([message("t", "k", number + step) for step in range(10)])
