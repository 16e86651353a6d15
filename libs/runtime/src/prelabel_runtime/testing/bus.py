"""The promises of `bus.base`, as one suite for every implementation.

    class TestMyBus(BusTests):
        @pytest.fixture
        def bus_factory(self) -> BusFactory:
            return lambda: MyBus(...)

Every test takes new names for its topics and groups, so one broker serves the whole suite. No test keeps two
buses open at once. `partitions` is what the topics ask for; a bus may give fewer.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from prelabel_runtime.bus.base import (
    Bus,
    Committed,
    Consumer,
    Listener,
    Message,
    NotAssigned,
    Partition,
    Reader,
    Record,
    TopicSpec,
)

__all__ = ["BusFactory", "BusTests", "MakeTopic", "Member", "drain", "fresh", "joined", "running", "stored"]

PATIENCE = 60.0
"""Seconds until what must come has failed to come. Never waited for in a test that passes."""

QUIET = 0.3
"""Seconds without a record that count as nothing."""

BusFactory = Callable[[], Bus]
"""A new bus, not started, on the same storage each time."""

MakeTopic = Callable[[], Awaitable[str]]
"""A new topic, provisioned."""


def fresh(what: str) -> str:
    """A name that nobody has used."""
    return f"{what}-{uuid.uuid4().hex[:12]}"


def message(topic: str, key: str, value: object) -> Message:
    """A record whose value says which it is."""
    return Message(topic, key.encode(), str(value).encode())


def values(records: Sequence[Record]) -> list[str]:
    """What the records say."""
    return [(record.value or b"").decode() for record in records]


def ends_of(records: Sequence[Record], note: str = "") -> dict[Partition, Committed]:
    """The commit that takes all of them as read."""
    ends: dict[Partition, Committed] = {}
    for record in records:
        ends[record.place] = Committed(record.offset + 1, note)
    return ends


@asynccontextmanager
async def running(bus: Bus) -> AsyncIterator[Bus]:
    """The bus, started, and stopped at the end."""
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


@dataclass(slots=True)
class Member:
    """A started consumer, and what its listeners were told."""

    consumer: Consumer
    assigned: list[Partition] = field(default_factory=list)
    revoked: list[Partition] = field(default_factory=list)


@asynccontextmanager
async def joined(
    bus: Bus,
    topics: Sequence[str],
    group: str,
    *,
    on_revoke: Callable[[Consumer], Awaitable[None]] | None = None,
) -> AsyncIterator[Member]:
    """A member of a group, which leaves at the end."""
    member = Member(bus.consumer(topics, group=group))

    async def assign(partitions: Collection[Partition]) -> None:
        member.assigned.extend(partitions)

    async def revoke(partitions: Collection[Partition]) -> None:
        member.revoked.extend(partitions)
        if on_revoke is not None:
            await on_revoke(member.consumer)

    listeners: dict[str, Listener] = {"on_assign": assign, "on_revoke": revoke}
    await member.consumer.start(**listeners)
    try:
        yield member
    finally:
        await member.consumer.stop()


async def drain(source: Consumer | Reader, count: int, *, limit: int = 500) -> list[Record]:
    """Poll until `count` records came; more than that fails, fewer after PATIENCE too."""
    records: list[Record] = []
    async with asyncio.timeout(PATIENCE):
        while len(records) < count:
            records += await source.poll(limit, 1.0)
    assert len(records) == count
    return records


async def nothing(source: Consumer | Reader) -> bool:
    """Whether nothing comes for a while."""
    return not await source.poll(500, QUIET)


async def assigned(member: Member) -> frozenset[Partition]:
    """Poll until the member has its partitions. Only where there is nothing to read yet."""
    async with asyncio.timeout(PATIENCE):
        while not member.consumer.assignment():
            assert not await member.consumer.poll(1, 0.1)
    return member.consumer.assignment()


async def stored(bus: Bus, topic: str) -> list[Record]:
    """All that a topic holds now."""
    reader = bus.reader([topic], start="beginning")
    await reader.start()
    try:
        ends = await reader.ends()
        records: list[Record] = []
        async with asyncio.timeout(PATIENCE):
            while await reader.behind(ends):
                records += await reader.poll(500, 1.0)
        return records
    finally:
        await reader.stop()


class BusTests:
    """Subclass it as TestX and give the fixture `bus_factory`."""

    partitions = 3

    @pytest.fixture
    def bus_factory(self) -> BusFactory:
        """A new bus on the same storage, each time it is called."""
        raise NotImplementedError

    @pytest_asyncio.fixture
    async def bus(self, bus_factory: BusFactory) -> AsyncIterator[Bus]:
        """A started bus."""
        async with running(bus_factory()) as bus:
            yield bus

    @pytest.fixture
    def new_topic(self, bus: Bus) -> MakeTopic:
        """Provisions topics."""

        async def make() -> str:
            name = fresh("topic")
            await bus.provision([TopicSpec(name, partitions=self.partitions)])
            return name

        return make

    # ----------------------------------------------------------------------------------------- publishing

    async def test_records_of_one_key_keep_their_order_among_concurrent_publishers(
        self, bus: Bus, new_topic: MakeTopic
    ) -> None:
        topic = await new_topic()

        async def publisher(key: str) -> None:
            for number in range(0, 60, 3):
                await bus.publish([message(topic, key, number + step) for step in range(3)])

        keys = [f"key {number}" for number in range(10)]
        await asyncio.gather(*(publisher(key) for key in keys))
        async with joined(bus, [topic], fresh("group")) as member:
            records = await drain(member.consumer, 600)
        for key in keys:
            mine = [record for record in records if record.key == key.encode()]
            assert values(mine) == [str(number) for number in range(60)]
            assert len({record.place for record in mine}) == 1
            assert [r.offset for r in mine] == sorted({r.offset for r in mine})

    async def test_a_hundred_concurrent_publishers_lose_nothing(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()

        async def publisher(name: int) -> None:
            for number in range(10):
                await bus.publish([message(topic, f"{name} {number}", f"{name} {number}")])

        await asyncio.gather(*(publisher(name) for name in range(100)))
        records = await stored(bus, topic)
        assert sorted(values(records)) == sorted(f"{a} {b}" for a in range(100) for b in range(10))
        assert len({(record.place, record.offset) for record in records}) == 1000

    async def test_keys_values_and_headers_come_out_as_they_went_in(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()
        everything = bytes(range(256))
        sent = [
            Message(topic, b"k", b"plain"),
            Message(topic, b"k", None, (("gone", b""),)),
            Message(topic, b"k", b"", (("twice", b"1"), ("twice", b"2"), ("once", b""), ("twice", b"1"))),
            Message(
                topic,
                b"k",
                everything,
                (("raw", everything), ("\u00fc\U0001f600", "\u00fc\U0001f600".encode())),
            ),
            Message(topic, None, b"no key", (("", b"no name"),)),
            Message(topic, None, None),
            Message(topic, b"", b"empty key"),
            Message(topic, everything, b"any key", (("quotes \"'\\\n\0", b"\xff\xfe\x00\x80"),)),
            Message(topic, b"k", b"x" * 300_000, (("long", b"\xc3" * 10_000),)),
        ]
        await bus.publish(sent)
        seen = {(r.key, r.value, r.headers) for r in await stored(bus, topic)}
        assert seen == {(m.key, m.value, m.headers) for m in sent}

    async def test_a_large_call_keeps_its_order(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()
        await bus.publish([message(topic, "k", number) for number in range(3000)])
        records = await stored(bus, topic)
        assert values(records) == [str(number) for number in range(3000)]
        assert [record.offset for record in records] == list(range(3000))

    async def test_one_call_may_publish_to_several_topics(self, bus: Bus, new_topic: MakeTopic) -> None:
        one, other = await new_topic(), await new_topic()
        await bus.publish([message(one, "k", 1), message(other, "k", 2), message(one, "k", 3)])
        assert values(await stored(bus, one)) == ["1", "3"]
        assert values(await stored(bus, other)) == ["2"]

    async def test_publishing_nothing_is_nothing(self, bus: Bus) -> None:
        await bus.publish([])

    async def test_a_record_that_is_too_large_is_refused_with_its_whole_call(
        self, bus: Bus, new_topic: MakeTopic
    ) -> None:
        topic = await new_topic()
        with pytest.raises(ValueError, match="bytes"):
            await bus.publish([message(topic, "a", 1), Message(topic, b"b", b"x" * (2 << 20)), message(topic, "c", 3)])
        await bus.publish([message(topic, "a", 4)])
        assert values(await stored(bus, topic)) == ["4"]

    async def test_a_topic_that_nobody_provisioned_is_refused_by_name(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic, unknown = await new_topic(), fresh("unknown")
        with pytest.raises(ValueError, match=unknown):
            await bus.publish([message(topic, "a", 1), message(unknown, "a", 2)])

    async def test_provisioning_again_keeps_what_is_there(self, bus: Bus) -> None:
        spec, other = TopicSpec(fresh("topic"), partitions=2), TopicSpec(fresh("topic"), partitions=1)
        await bus.provision([spec])
        await bus.publish([message(spec.name, "k", 1)])
        await bus.provision([spec, other])
        await bus.publish([message(spec.name, "k", 2), message(other.name, "k", 3)])
        assert values(await stored(bus, spec.name)) == ["1", "2"]

    async def test_a_bus_that_runs_says_so(self, bus: Bus) -> None:
        await bus.check()

    async def test_what_was_published_survives_a_restart_of_the_bus(self, bus_factory: BusFactory) -> None:
        topic = fresh("topic")
        async with running(bus_factory()) as bus:
            await bus.provision([TopicSpec(topic, partitions=self.partitions)])
            await bus.publish([message(topic, f"k{number % 7}", number) for number in range(50)])
            before = await stored(bus, topic)
        async with running(bus_factory()) as bus:
            await bus.publish([message(topic, "k0", "new")])
            after = await stored(bus, topic)
        assert len(before) == 50
        assert sorted(record for record in map(repr, after) if "b'new'" not in record) == sorted(map(repr, before))
        assert len(after) == 51

    # ------------------------------------------------------------------------------------------ consuming

    async def test_every_group_sees_every_record(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()
        async with joined(bus, [topic], fresh("one")) as one, joined(bus, [topic], fresh("other")) as other:
            await bus.publish([message(topic, f"k{number}", number) for number in range(20)])
            mine = await drain(one.consumer, 20)
            await one.consumer.commit(ends_of(mine))
            assert sorted(values(await drain(other.consumer, 20))) == sorted(values(mine))

    async def test_a_new_group_starts_at_the_earliest_record(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()
        await bus.publish([message(topic, "k", number) for number in range(5)])
        async with joined(bus, [topic], fresh("group")) as member:
            records = await drain(member.consumer, 5)
            place = records[0].place
            assert values(records) == ["0", "1", "2", "3", "4"]
            assert [record.offset for record in records] == [0, 1, 2, 3, 4]
            assert await member.consumer.committed(place) is None

    async def test_what_was_not_committed_is_handed_out_again(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic, group = await new_topic(), fresh("group")
        await bus.publish([message(topic, "k", number) for number in range(5)])
        async with joined(bus, [topic], group) as member:
            first = await drain(member.consumer, 5)
        async with joined(bus, [topic], group) as member:
            assert await drain(member.consumer, 5) == first
            await member.consumer.commit(ends_of(first[:2]))
        async with joined(bus, [topic], group) as member:
            assert values(await drain(member.consumer, 3)) == ["2", "3", "4"]
            assert await nothing(member.consumer)

    async def test_a_commit_and_its_note_survive_a_restart_of_the_bus(self, bus_factory: BusFactory) -> None:
        topic, group = fresh("topic"), fresh("group")
        async with running(bus_factory()) as bus:
            await bus.provision([TopicSpec(topic, partitions=self.partitions)])
            await bus.publish([message(topic, "k", number) for number in range(5)])
            async with joined(bus, [topic], group) as member:
                records = await drain(member.consumer, 5)
                await member.consumer.commit(ends_of(records[:1], "first"))
                await member.consumer.commit(ends_of(records[:3], 'attempts=2 "\u00fc"'))
        async with running(bus_factory()) as bus, joined(bus, [topic], group) as member:
            assert values(await drain(member.consumer, 2)) == ["3", "4"]
            assert await member.consumer.committed(records[0].place) == Committed(3, 'attempts=2 "\u00fc"')

    async def test_complete_publishes_and_commits(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic, results, group = await new_topic(), await new_topic(), fresh("group")
        await bus.publish([message(topic, "k", number) for number in range(3)])
        async with joined(bus, [topic], group) as member:
            records = await drain(member.consumer, 3)
            done = ends_of(records[:2], "note")
            await member.consumer.complete(bus, [message(results, "k", "result")], done)
            assert await member.consumer.committed(records[0].place) == Committed(2, "note")
            await member.consumer.complete(bus, [], ends_of(records))
            assert await member.consumer.committed(records[0].place) == Committed(3)
        assert values(await stored(bus, results)) == ["result"]

    async def test_a_commit_for_a_partition_that_is_not_assigned_commits_nothing(
        self, bus: Bus, new_topic: MakeTopic
    ) -> None:
        topic, foreign = await new_topic(), await new_topic()
        await bus.publish([message(topic, "k", 1)])
        async with joined(bus, [topic], fresh("group")) as member:
            records = await drain(member.consumer, 1)
            wrong = {**ends_of(records), Partition(foreign, 0): Committed(1)}
            with pytest.raises(NotAssigned):
                await member.consumer.commit(wrong)
            with pytest.raises(NotAssigned):
                await member.consumer.complete(bus, [], wrong)
            assert await member.consumer.committed(records[0].place) is None

    async def test_a_member_that_left_cannot_commit(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic, group = await new_topic(), fresh("group")
        await bus.publish([message(topic, "k", 1)])
        async with joined(bus, [topic], group) as member:
            records = await drain(member.consumer, 1)
        assert not member.consumer.assignment()
        with pytest.raises(NotAssigned):
            await member.consumer.commit(ends_of(records))
        async with joined(bus, [topic], group) as member:
            assert await drain(member.consumer, 1) == records

    async def test_partitions_are_assigned_before_their_first_record_and_revoked_when_the_member_stops(
        self, bus: Bus, new_topic: MakeTopic
    ) -> None:
        topic, group = await new_topic(), fresh("group")
        await bus.publish([message(topic, f"k{number}", number) for number in range(20)])
        held: list[frozenset[Partition]] = []

        async def commit_late(consumer: Consumer) -> None:
            held.append(consumer.assignment())
            await consumer.commit(ends_of(records))

        records: list[Record] = []
        async with joined(bus, [topic], group, on_revoke=commit_late) as member:
            records += await drain(member.consumer, 20)
            assert {record.place for record in records} <= set(member.assigned)
            assert member.consumer.assignment() == frozenset(member.assigned)
            assert not member.revoked
        assert sorted(member.revoked) == sorted(member.assigned)
        assert held == [frozenset(member.assigned)]
        async with joined(bus, [topic], group) as member:
            assert await nothing(member.consumer)

    async def test_a_paused_partition_hands_out_nothing_and_the_others_go_on(
        self, bus: Bus, new_topic: MakeTopic
    ) -> None:
        paused, free = await new_topic(), await new_topic()
        async with joined(bus, [paused, free], fresh("group")) as member:
            places = [place for place in await assigned(member) if place.topic == paused]
            member.consumer.pause([*places, Partition(fresh("unknown"), 0)])
            await bus.publish([message(paused, "k", "held"), message(free, "k", "free")])
            assert values(await drain(member.consumer, 1)) == ["free"]
            assert await nothing(member.consumer)
            waiting = asyncio.create_task(drain(member.consumer, 1))
            member.consumer.resume(places)
            assert values(await waiting) == ["held"]

    async def test_seek_decides_what_is_handed_out_next(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()
        await bus.publish([message(topic, "k", number) for number in range(10)])
        async with joined(bus, [topic], fresh("group")) as member:
            records = await drain(member.consumer, 10)
            place = records[0].place
            member.consumer.seek(place, 4)
            assert values(await drain(member.consumer, 6, limit=2)) == ["4", "5", "6", "7", "8", "9"]
            member.consumer.seek(place, 0)
            assert values(await member.consumer.poll(1, PATIENCE)) == ["0"]
            member.consumer.seek(place, 9)
            assert values(await drain(member.consumer, 1)) == ["9"]
            assert await nothing(member.consumer)

    async def test_poll_hands_out_at_most_its_limit_and_each_record_once(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic, other = await new_topic(), await new_topic()
        sent = [message(name, f"k{number}", f"{name} {number}") for name in (topic, other) for number in range(50)]
        await bus.publish(sent)
        got: list[Record] = []
        async with joined(bus, [topic, other], fresh("group")) as member, asyncio.timeout(PATIENCE):
            while len(got) < 100:
                part = await member.consumer.poll(7, 1.0)
                assert len(part) <= 7
                got += part
            assert await nothing(member.consumer)
        assert sorted(values(got)) == sorted((m.value or b"").decode() for m in sent)

    async def test_poll_returns_as_soon_as_one_record_is_there(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()
        async with joined(bus, [topic], fresh("group")) as member:
            await assigned(member)
            waiting = asyncio.create_task(member.consumer.poll(500, 100 * PATIENCE))
            await bus.publish([message(topic, "k", 1)])
            async with asyncio.timeout(PATIENCE):  # it does not linger for its limit or its timeout
                assert values(await waiting) == ["1"]

    async def test_idle_hands_out_nothing_and_keeps_everything(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()
        async with joined(bus, [topic], fresh("group")) as member:
            await assigned(member)
            await bus.publish([message(topic, "k", number) for number in range(3)])
            for _ in range(5):
                await member.consumer.idle()
            assert values(await drain(member.consumer, 3)) == ["0", "1", "2"]

    async def test_polled_at_moves_with_every_poll_and_idle(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()
        async with joined(bus, [topic], fresh("group")) as member:
            await assigned(member)
            moments = [member.consumer.polled_at]
            for _ in range(2):
                assert await nothing(member.consumer)
                moments.append(member.consumer.polled_at)
                await member.consumer.idle()
                moments.append(member.consumer.polled_at)
            await bus.publish([message(topic, "k", 1)])
            await drain(member.consumer, 1)
            moments.append(member.consumer.polled_at)
        assert moments == sorted(set(moments))

    async def test_lag_counts_what_was_not_handed_out(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()
        async with joined(bus, [topic], fresh("group")) as member:
            places = await assigned(member)
            assert await member.consumer.lag() == dict.fromkeys(places, 0)
            await bus.publish([message(topic, "k", number) for number in range(10)])
            assert sum((await member.consumer.lag()).values()) == 10
            records = await member.consumer.poll(4, PATIENCE)
            assert sum((await member.consumer.lag()).values()) == 10 - len(records)
            member.consumer.seek(records[0].place, 0)
            assert sum((await member.consumer.lag()).values()) == 10

    # -------------------------------------------------------------------------------------------- readers

    async def test_a_reader_from_the_beginning_reads_all_and_knows_when_it_has_caught_up(
        self, bus: Bus, new_topic: MakeTopic
    ) -> None:
        topic, empty = await new_topic(), await new_topic()
        await bus.publish([message(topic, "k", number) for number in range(30)])
        reader = bus.reader([topic, empty], start="beginning")
        await reader.start()
        ends = await reader.ends()
        assert sum(ends.values()) == 30
        assert {place.topic for place in ends} == {topic, empty}
        await bus.publish([message(topic, "k", "later")])
        assert await reader.behind(ends)
        records: list[Record] = []
        async with asyncio.timeout(PATIENCE):
            while await reader.behind(ends):
                records += await reader.poll(7, 1.0)
        assert values(records)[:30] == [str(number) for number in range(30)]
        place = records[0].place
        assert reader.position(place) == len(records)
        if len(records) == 30:
            assert values(await drain(reader, 1)) == ["later"]
        await reader.stop()

    async def test_a_reader_from_the_end_reads_what_is_published_after_its_start(
        self, bus: Bus, new_topic: MakeTopic
    ) -> None:
        topic = await new_topic()
        await bus.publish([message(topic, f"k{number}", number) for number in range(10)])
        reader = bus.reader([topic], start="end")
        await reader.start()
        assert not await reader.behind(await reader.ends())
        await bus.publish([message(topic, f"k{number}", f"new {number}") for number in range(10)])
        assert sorted(values(await drain(reader, 10))) == [f"new {number}" for number in range(10)]
        assert await nothing(reader)
        await reader.stop()

    async def test_records_are_fetched_again_from_any_place(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()
        await bus.publish([message(topic, "one key", number) for number in range(50)])
        place = next(record.place for record in await stored(bus, topic))
        end = (await bus.offsets([topic], "end"))[place]
        first = (await bus.offsets([topic], "beginning"))[place]
        assert end - first == 50
        again: list[Record] = []
        at = first + 20
        while found := await bus.fetch(place, at, 7):
            assert len(found) <= 7
            again += found
            at = found[-1].offset + 1
        assert values(again) == [str(number) for number in range(20, 50)]
        assert values(await bus.fetch(place, first, 3))[0] == "0"
        assert not await bus.fetch(place, end, 3)
        await bus.publish([message(topic, "one key", "later")])
        assert values(await bus.fetch(place, end, 3)) == ["later"]

    async def test_a_moment_has_an_offset_in_every_partition(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()
        await bus.publish([message(topic, f"key {number}", "old") for number in range(10)])
        between_ms = max(record.timestamp_ms for record in await stored(bus, topic)) + 1
        while time.time_ns() // 1_000_000 <= between_ms:  # noqa: ASYNC110 - nobody tells when a millisecond is over
            await asyncio.sleep(0.001)
        old = await bus.offsets([topic], "end")
        assert await bus.offsets([topic], between_ms) == old
        await bus.publish([message(topic, f"key {number}", "new") for number in range(10)])
        assert await bus.offsets([topic], between_ms) == old
        assert await bus.offsets([topic], 0) == await bus.offsets([topic], "beginning")
        assert await bus.offsets([topic], "beginning") != old

    async def test_topics_are_listed_with_those_that_came_later(self, bus: Bus, new_topic: MakeTopic) -> None:
        first = await new_topic()
        assert first in await bus.topics()
        later = await new_topic()
        assert {first, later} <= await bus.topics()
        assert fresh("topic") not in await bus.topics()

    async def test_a_groups_progress_is_seen_from_outside(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic, group = await new_topic(), fresh("group")
        assert await bus.committed(group, [topic]) == {}
        await bus.publish([message(topic, "one key", number) for number in range(5)])
        async with joined(bus, [topic], group) as member:
            read = await drain(member.consumer, 5)
            await member.consumer.commit(ends_of(read[:3]))
            done = {read[2].place: read[2].offset + 1}
            assert await bus.committed(group, [topic]) == done
        # The members are gone, what they committed is not.
        assert await bus.committed(group, [topic]) == done
        assert await bus.committed(fresh("group"), [topic]) == {}

    async def test_readers_and_groups_do_not_disturb_each_other(self, bus: Bus, new_topic: MakeTopic) -> None:
        topic = await new_topic()
        await bus.publish([message(topic, "k", number) for number in range(5)])
        async with joined(bus, [topic], fresh("group")) as member:
            assert len(await stored(bus, topic)) == 5
            assert len(await drain(member.consumer, 5)) == 5
            assert len(await stored(bus, topic)) == 5
