"""The bus on a real Apache Kafka: the promises of every bus, and what only a real group or outage breaks."""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from prelabel_runtime.bus.base import (
    Bus,
    Committed,
    Consumer,
    Message,
    NotAssigned,
    Partition,
    Record,
    TopicSpec,
)
from prelabel_runtime.bus.kafka import KafkaBus, KafkaConsumer, KafkaSettings
from prelabel_runtime.errors import Fatal, Unavailable
from prelabel_runtime.testing.bus import (
    PATIENCE,
    BusFactory,
    BusTests,
    assigned,
    drain,
    ends_of,
    fresh,
    joined,
    message,
    running,
    stored,
    values,
)

from deploy.local.ports import free_port
from tests.integration.kafka_member import SETTINGS
from tests.rig.fixtures import StartServer
from tests.rig.servers import ServerHandle

pytestmark = pytest.mark.kafka

MakeBus = Callable[..., KafkaBus]

ANSWERED = 15.0
"""Seconds in which a broker that is there answers, however busy its machine is."""
PATIENT = {"session_timeout": 40.0, "rebalance_timeout": 60.0}
"""Of groups that no member is to lose: these are one process, which a busy machine may leave standing for a while."""


class TestKafkaBus(BusTests):
    @pytest.fixture
    def bus_factory(self, kafka_server: ServerHandle) -> BusFactory:
        prefix = fresh("prefix") + "."
        settings = KafkaSettings(probe_timeout=ANSWERED)
        return lambda: KafkaBus(kafka_server.address, prefix=prefix, settings=settings)


@pytest.fixture
def make_bus(kafka_server: ServerHandle) -> MakeBus:
    """A bus with the settings of a group that is quick to notice."""
    prefix = fresh("prefix") + "."

    def make(*, prefix: str = prefix, deadline: float = 30.0, **changes: Any) -> KafkaBus:
        settings = replace(SETTINGS, **{"probe_timeout": ANSWERED, **changes})
        return KafkaBus(kafka_server.address, prefix=prefix, settings=settings, deadline=deadline)

    return make


async def topic_on(bus: Bus, *, partitions: int = 6) -> str:
    name = fresh("topic")
    await bus.provision([TopicSpec(name, partitions=partitions)])
    return name


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Returns when the condition holds; fails after PATIENCE."""
    async with asyncio.timeout(PATIENCE):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.02)


class Worker:
    """A member that works on what it polls, idles meanwhile, and finishes before it lets go."""

    def __init__(self, bus: Bus, topic: str, group: str, handled: list[str], *, work: float) -> None:
        self.consumer = bus.consumer([topic], group=group)
        self.handled = handled
        self._work = work
        self._batch: asyncio.Task[None] | None = None
        self._run: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        await self.consumer.start(on_assign=self._ignore, on_revoke=self._finish)
        self._run = asyncio.create_task(self._consume())

    async def stop(self) -> None:
        self._stopping = True
        assert self._run is not None
        await self._run
        await self.consumer.stop()

    async def _ignore(self, partitions: Collection[Partition]) -> None:
        pass

    async def _finish(self, partitions: Collection[Partition]) -> None:
        if self._batch is not None:
            await asyncio.wait({self._batch})

    async def _consume(self) -> None:
        while not self._stopping:
            records = await self.consumer.poll(20, 0.5)
            if records:
                self._batch = asyncio.create_task(self._handle(records))
                while not self._batch.done():
                    await asyncio.wait({self._batch}, timeout=0.1)
                    await self.consumer.idle()
                await self._batch

    async def _handle(self, records: Collection[Record]) -> None:
        await asyncio.sleep(self._work)
        self.handled += values(list(records))
        await self.consumer.commit(ends_of(list(records)))


class TestGroups:
    async def test_members_that_come_and_go_mid_batch_handle_nothing_twice(self, make_bus: MakeBus) -> None:
        handled: list[str] = []
        async with running(make_bus(**PATIENT)) as bus:
            topic, group = await topic_on(bus), fresh("group")
            await bus.publish([message(topic, f"k{number}", number) for number in range(400)])
            first, second, third = (Worker(bus, topic, group, handled, work=0.4) for _ in range(3))
            await first.start()
            await until(lambda: len(handled) >= 20)
            await second.start()
            await until(lambda: len(handled) >= 100)
            await third.start()
            await until(lambda: len(handled) >= 200)
            await second.stop()
            await until(lambda: len(handled) >= 280)
            await third.stop()
            await until(lambda: len(handled) >= 400)
            await first.stop()
        assert Counter(handled) == Counter(str(number) for number in range(400))

    async def test_work_that_is_waited_for_may_outlast_a_request(self, make_bus: MakeBus) -> None:
        handled: list[str] = []
        async with running(make_bus(**PATIENT, request_timeout=4.0)) as bus:
            topic, group = await topic_on(bus), fresh("group")
            await bus.publish([message(topic, f"k{number}", number) for number in range(20)])
            slow, new = (Worker(bus, topic, group, handled, work=work) for work in (10.0, 0.0))
            await slow.start()
            await until(lambda: slow._batch is not None)
            await new.start()
            await until(lambda: len(handled) >= 20)
            await slow.stop()
            await new.stop()
        assert Counter(handled) == Counter(str(number) for number in range(20))

    async def test_what_a_killed_member_had_goes_to_another(
        self, make_bus: MakeBus, kafka_server: ServerHandle
    ) -> None:
        prefix = fresh("prefix") + "."
        async with running(make_bus(prefix=prefix)) as bus:
            topic, group = await topic_on(bus, partitions=1), fresh("group")
            await bus.publish([message(topic, "k", number) for number in range(100)])
            command = (sys.executable, "-m", "tests.integration.kafka_member")
            child = await asyncio.create_subprocess_exec(
                *command, kafka_server.address, prefix, topic, group, "35", stdout=asyncio.subprocess.PIPE
            )
            assert child.stdout is not None
            async with asyncio.timeout(PATIENCE):
                seen = [(await child.stdout.readline()).decode().strip() for _ in range(35)]
            child.kill()
            await child.wait()
            async with joined(bus, [topic], group) as member:
                rest = [await member.consumer.poll(500, PATIENCE)]
                while rest[-1] and values(rest[-1])[-1] != "99":
                    rest.append(await member.consumer.poll(500, PATIENCE))
        again = [value for records in rest for value in values(records)]
        assert seen == [str(number) for number in range(35)]
        assert again == [str(number) for number in range(30, 100)]

    async def test_idling_through_work_longer_than_the_poll_interval_keeps_the_partitions(
        self, make_bus: MakeBus
    ) -> None:
        async with running(make_bus(**PATIENT, max_poll_interval=12.0)) as bus:
            topic = await topic_on(bus)
            await bus.publish([message(topic, "k", number) for number in range(10)])
            async with joined(bus, [topic], fresh("group")) as member:
                records = await drain(member.consumer, 10)
                until_time = time.monotonic() + 18.0
                while time.monotonic() < until_time:
                    await asyncio.sleep(0.2)
                    await member.consumer.idle()
                await member.consumer.commit(ends_of(records))
                assert member.revoked == []
                assert len(member.assigned) == 6

    async def test_a_member_that_neither_polls_nor_idles_loses_its_partitions(self, make_bus: MakeBus) -> None:
        async with running(make_bus(max_poll_interval=5.0)) as bus:
            topic = await topic_on(bus)
            await bus.publish([message(topic, "k", number) for number in range(10)])
            async with joined(bus, [topic], fresh("group")) as member:
                records = await drain(member.consumer, 10)
                await until(lambda: len(member.revoked) == 6)
                with pytest.raises(NotAssigned):
                    await member.consumer.commit(ends_of(records))
                assert await drain(member.consumer, 10) == records

    async def test_nothing_is_handed_out_before_on_assign_is_done(self, make_bus: MakeBus) -> None:
        async with running(make_bus(**PATIENT)) as bus:
            topic = await topic_on(bus, partitions=1)
            await bus.publish([message(topic, "k", number) for number in range(10)])
            consumer, go_on = bus.consumer([topic], group=fresh("group")), asyncio.Event()

            async def assign(partitions: Collection[Partition]) -> None:
                await go_on.wait()
                for partition in partitions:
                    consumer.seek(partition, 5)

            async def ignore(partitions: Collection[Partition]) -> None:
                pass

            await consumer.start(on_assign=assign, on_revoke=ignore)
            for _ in range(10):
                assert not await consumer.poll(10, 0.1)
                await consumer.idle()
            go_on.set()
            assert values(await drain(consumer, 5)) == ["5", "6", "7", "8", "9"]
            await consumer.stop()

    async def test_polls_come_back_while_another_member_finishes_its_work(self, make_bus: MakeBus) -> None:
        async with running(make_bus(**PATIENT)) as bus:
            topic, group, done = await topic_on(bus), fresh("group"), asyncio.Event()

            async def finish(_: Consumer) -> None:
                await done.wait()

            async with joined(bus, [topic], group) as quick, joined(bus, [topic], group, on_revoke=finish):
                await assigned(quick)
                third = bus.consumer([topic], group=group)

                async def ignore(_: Collection[Partition]) -> None:
                    pass

                joining = asyncio.create_task(third.start(on_assign=ignore, on_revoke=ignore))
                await until(lambda: not quick.consumer.assignment())
                for _ in range(5):
                    polled_at = quick.consumer.polled_at
                    async with asyncio.timeout(PATIENCE):  # the other is done when this is over
                        assert not await quick.consumer.poll(10, 0.2)
                        await quick.consumer.idle()
                    assert quick.consumer.polled_at > polled_at
                assert not joining.done()
                done.set()
                await joining
                await third.stop()

    async def test_what_a_listener_raises_ends_the_consumer(self, make_bus: MakeBus) -> None:
        async with running(make_bus()) as bus:
            topic = await topic_on(bus)
            consumer = bus.consumer([topic], group=fresh("group"))

            async def fail(partitions: Collection[Partition]) -> None:
                raise RuntimeError("a defect")

            with pytest.raises(Fatal, match="RuntimeError"):
                await consumer.start(on_assign=fail, on_revoke=fail)
            await consumer.stop()

    async def test_a_cancelled_poll_loses_nothing(self, make_bus: MakeBus) -> None:
        async with running(make_bus(max_poll_interval=6.0)) as bus:
            topic = await topic_on(bus)
            async with joined(bus, [topic], fresh("group")) as member:
                await assigned(member)
                publishing = asyncio.create_task(
                    bus.publish([message(topic, f"k{number}", number) for number in range(100)])
                )
                records: list[Record] = []
                for _ in range(20):
                    poll = asyncio.create_task(member.consumer.poll(3, PATIENCE))
                    await asyncio.wait({poll}, timeout=0.001)
                    if not poll.cancel():
                        records += poll.result()
                await publishing
                got = values(records + await drain(member.consumer, 100 - len(records)))
                assert sorted(got, key=int) == [str(number) for number in range(100)]
                # The client's own watch over those who do not poll still works.
                await until(lambda: len(member.revoked) == 6)

    async def test_what_a_cancelled_poll_left_behind_is_not_handed_out_after_a_change_of_the_group(
        self, make_bus: MakeBus
    ) -> None:
        async with running(make_bus(**PATIENT)) as bus:
            topic, group = await topic_on(bus, partitions=1), fresh("group")
            async with joined(bus, [topic], group) as member:
                await left_behind(bus, member.consumer, topic)
                before = generation(member.consumer)
                async with joined(bus, [topic], group):
                    pass
                await until(lambda: generation(member.consumer) >= before + 2)
                await until(lambda: bool(member.consumer.assignment()))
                assert values(await drain(member.consumer, 10)) == [str(number) for number in range(10)]
                assert not await member.consumer.poll(10, 1.0)

    async def test_what_a_cancelled_poll_left_behind_heeds_seek_and_pause(self, make_bus: MakeBus) -> None:
        async with running(make_bus()) as bus:
            topic = await topic_on(bus, partitions=1)
            for change in ("seek", "pause"):
                async with joined(bus, [topic], fresh("group")) as member:
                    await assigned(member) if change == "seek" else await drain(member.consumer, 10)
                    await left_behind(bus, member.consumer, topic)
                    [place] = member.consumer.assignment()
                    if change == "seek":
                        member.consumer.seek(place, 5)
                        assert values(await drain(member.consumer, 5)) == ["5", "6", "7", "8", "9"]
                    else:
                        member.consumer.pause([place])
                        assert not await member.consumer.poll(10, 0.5)
                        member.consumer.resume([place])
                        assert len(await drain(member.consumer, 10)) == 10


def generation(consumer: Consumer) -> int:
    """How often the group has changed."""
    assert isinstance(consumer, KafkaConsumer)
    return int(consumer._running()._coordinator.generation)


async def left_behind(bus: Bus, consumer: Consumer, topic: str) -> None:
    """Ten records which a poll was waiting for when it was cancelled, and which then came."""
    poll = asyncio.create_task(consumer.poll(10, PATIENCE))
    await asyncio.wait({poll}, timeout=0.1)
    poll.cancel()
    await asyncio.wait({poll})
    await bus.publish([message(topic, "k", number) for number in range(10)])
    assert isinstance(consumer, KafkaConsumer)
    fetch = consumer._fetch
    assert fetch is not None
    await until(fetch.done)


class TestNames:
    async def test_a_prefix_is_on_the_broker_and_nowhere_else(self, make_bus: MakeBus) -> None:
        prefix, group = fresh("deployment") + ".", fresh("group")
        async with running(make_bus(prefix=prefix)) as bus:
            topic = await topic_on(bus, partitions=1)
            await bus.publish([message(topic, "k", 1)])
            async with joined(bus, [topic], group) as member:
                [record] = await drain(member.consumer, 1)
                assert record.topic == topic
                assert member.assigned == [Partition(topic, 0)]
                assert set(await member.consumer.lag()) == {Partition(topic, 0)}
                await member.consumer.commit({record.place: Committed(1, "here")})
        async with running(make_bus(prefix="")) as bare:
            [record] = await stored(bare, prefix + topic)
            assert record.topic == prefix + topic
            same = bare.consumer([prefix + topic], group=prefix + group)
            assert await same.committed(record.place) == Committed(1, "here")
            with pytest.raises(ValueError, match=topic):
                await bare.publish([message(topic, "k", 2)])

    async def test_topics_are_made_as_asked(self, make_bus: MakeBus) -> None:
        async with running(make_bus(prefix="")) as bus:
            state, short, long = fresh("state"), fresh("short"), fresh("long")
            await bus.provision(
                [
                    TopicSpec(state, partitions=2, compacted=True),
                    TopicSpec(short, partitions=5, retention_ms=60_000),
                    TopicSpec(long, partitions=1),
                ]
            )
            assert await settings_of(bus, state) == {"cleanup.policy": "compact", "retention.ms": "-1"}
            assert await settings_of(bus, short) == {"cleanup.policy": "delete", "retention.ms": "60000"}
            assert await settings_of(bus, long) == {"cleanup.policy": "delete", "retention.ms": "-1"}
            reader = bus.reader([state, short, long], start="beginning")
            await reader.start()
            assert Counter(place.topic for place in await reader.ends()) == {state: 2, short: 5, long: 1}
            await reader.stop()


async def settings_of(bus: Bus, topic: str) -> dict[str, str]:
    from aiokafka.admin.config_resource import (
        ConfigResource,
        ConfigResourceType,
    )

    assert isinstance(bus, KafkaBus)
    wanted = ConfigResource(ConfigResourceType.TOPIC, topic)
    [answer] = await bus._admin().describe_configs([wanted])
    entries = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    return {name: entries[name] for name in ("cleanup.policy", "retention.ms")}


class TestPublishing:
    async def test_a_record_over_the_limit_is_refused_before_it_costs_the_producer_its_place(
        self, make_bus: MakeBus
    ) -> None:
        async with running(make_bus()) as bus:
            topic, noise = await topic_on(bus, partitions=1), random.Random(1).randbytes(1_000_001)
            await bus.publish([Message(topic, None, noise[:1_000_000])])
            for size in (1_000_001, 999_999):
                with pytest.raises(ValueError, match="bytes"):
                    await bus.publish([message(topic, "k", 1), Message(topic, b"kk", noise[:size])])
            await bus.publish([Message(topic, None, noise[:1_000_000])] * 3)
            await bus.publish([message(topic, "k", number) for number in range(100)])
            assert len(await stored(bus, topic)) == 104

    async def test_many_records_in_one_call_keep_their_order_and_go_where_few_go(self, make_bus: MakeBus) -> None:
        async with running(make_bus()) as bus:
            topic = await topic_on(bus)
            noise = random.Random(2).randbytes(40_000).hex()
            for number in range(7):
                await bus.publish([message(topic, f"k{number}", "alone")])
            await bus.publish([message(topic, f"k{n % 7}", f"{n} {noise}") for n in range(100)])
            records = await stored(bus, topic)
        for number in range(7):
            mine = [record for record in records if record.key == f"k{number}".encode()]
            assert len({record.place for record in mine}) == 1
            firsts = [value.split()[0] for value in values(mine)]
            assert firsts == ["alone", *(str(n) for n in range(number, 100, 7))]

    async def test_a_producer_that_lost_its_numbering_is_fatal(self, make_bus: MakeBus) -> None:
        async with running(make_bus()) as bus:
            assert isinstance(bus, KafkaBus)
            topic = await topic_on(bus, partitions=1)
            await bus.publish([message(topic, "k", 1)])
            sender = bus._producer()
            sender._txn_manager.increment_sequence_number((bus._names.there(topic), 0), 5)
            with pytest.raises(Fatal):
                await bus.publish([message(topic, "k", 2)])
            with pytest.raises(Fatal):
                await bus.publish([message(topic, "k", 3)])


class TestZombies:
    """States in which the client looks alive and reads nothing: each ends in Fatal."""

    @pytest.fixture(params=["heartbeat", "coordination", "cancelled", "fetching"])
    def wreck(self, request: pytest.FixtureRequest) -> Callable[[Consumer], None]:
        async def fail(*_: object) -> None:
            raise KafkaError("unexpected")

        def wreck(consumer: Consumer) -> None:
            assert isinstance(consumer, KafkaConsumer)
            client = consumer._running()
            match request.param:
                case "heartbeat":
                    client._coordinator._do_heartbeat = fail
                case "coordination":

                    async def end(*_: object) -> None:
                        raise RuntimeError("unexpected")

                    client._coordinator.ensure_active_group = end
                    client._coordinator.request_rejoin()
                case "cancelled":
                    client._coordinator._coordination_task.cancel()
                case "fetching":
                    client._fetcher._fetch_task.cancel()

        return wreck

    async def test_a_member_that_will_never_read_again_says_so(
        self, make_bus: MakeBus, wreck: Callable[[Consumer], None]
    ) -> None:
        async with running(make_bus(stuck_after=3.0)) as bus:
            topic = await topic_on(bus)
            async with joined(bus, [topic], fresh("group")) as member:
                await assigned(member)
                wreck(member.consumer)

                async def ended() -> bool:
                    try:
                        await member.consumer.poll(10, 0.3)
                    except Unavailable:
                        return False
                    except Fatal:
                        return True
                    return False

                await until(ended)
                with pytest.raises(Fatal):
                    await member.consumer.idle()
                with pytest.raises(Fatal):
                    await member.consumer.poll(10, 0.1)

    async def test_a_member_with_nothing_to_read_is_none(self, make_bus: MakeBus) -> None:
        async with running(make_bus(stuck_after=4.0)) as bus:
            topic, group = await topic_on(bus, partitions=1), fresh("group")
            async with joined(bus, [topic], group) as one, joined(bus, [topic], group) as other:
                ends = time.monotonic() + 8.0
                while time.monotonic() < ends:
                    assert not any(await asyncio.gather(one.consumer.poll(10, 0.2), other.consumer.poll(10, 0.2)))
                member = one if one.consumer.assignment() else other
                member.consumer.pause(member.consumer.assignment())
                ends = time.monotonic() + 8.0
                while time.monotonic() < ends:
                    assert not await member.consumer.poll(10, 0.2)


class TestOutages:
    async def test_a_killed_broker_loses_nothing_that_was_acknowledged(self, own_kafka: StartServer) -> None:
        server = await asyncio.to_thread(own_kafka)
        acknowledged: list[str] = []
        refused: list[str] = []
        read: list[str] = []
        away: list[str] = []
        stop = asyncio.Event()
        async with running(KafkaBus(server.address, settings=SETTINGS, deadline=3.0)) as bus:
            topic = await topic_on(bus)

            async def publish() -> None:
                number = 0
                while not stop.is_set():
                    batch = [message(topic, f"k{n % 11}", n) for n in range(number, number + 50)]
                    try:
                        await bus.publish(batch)
                    except Unavailable:
                        refused.append("refused")
                    else:
                        acknowledged.extend(str(n) for n in range(number, number + 50))
                        number += 50

            async def consume(consumer: Consumer) -> None:
                while not (stop.is_set() and set(acknowledged) <= set(read)):
                    try:
                        records = await consumer.poll(500, 0.5)
                    except Unavailable:
                        away.append("away")
                        continue
                    read.extend(values(records))
                    if records:
                        with suppress(Unavailable, NotAssigned):
                            await consumer.commit(ends_of(records))

            async with joined(bus, [topic], fresh("group")) as member, asyncio.timeout(6 * PATIENCE):
                tasks = [asyncio.create_task(publish()), asyncio.create_task(consume(member.consumer))]
                await until(lambda: len(read) > 1000)
                await asyncio.to_thread(server.kill)
                await until(lambda: len(refused) >= 2 and bool(away))
                with pytest.raises(Unavailable):
                    await bus.check()
                await asyncio.to_thread(server.restart)
                back = len(acknowledged)
                await until(lambda: len(acknowledged) > back + 1000)
                stop.set()
                await asyncio.gather(*tasks)
                # A group has to be found again, too: later than its topics, maybe.
                await until(lambda: bool(member.consumer.assignment()))
                place = min(member.consumer.assignment())
                await until(lambda: works(lambda: member.consumer.committed(place)))
                assert await member.consumer.committed(place) is not None
            await bus.check()
            await topic_on(bus)
            held = await stored(bus, topic)
        assert set(acknowledged) <= set(read)
        assert set(acknowledged) <= set(values(held))
        for key in {record.key for record in held}:
            mine = [int(value) for value in values([record for record in held if record.key == key])]
            firsts = list(dict.fromkeys(mine))
            assert firsts == sorted(firsts)

    async def test_a_frozen_broker_is_unavailable_as_long_as_it_is_frozen_and_works_again_later(
        self, own_kafka: StartServer
    ) -> None:
        server = await asyncio.to_thread(own_kafka)
        async with running(KafkaBus(server.address, settings=SETTINGS, deadline=5.0)) as bus:
            topic = await topic_on(bus)
            await bus.publish([message(topic, "k", 1)])
            async with joined(bus, [topic], fresh("group")) as member:
                records = await drain(member.consumer, 1)
                await asyncio.to_thread(server.freeze)
                calls: tuple[Awaitable[object], ...] = (
                    bus.publish([message(topic, "k", 2)]),
                    bus.check(),
                    member.consumer.commit(ends_of(records)),
                    member.consumer.lag(),
                    member.consumer.committed(records[0].place),
                )
                async with asyncio.timeout(PATIENCE):
                    told = await asyncio.gather(*calls, return_exceptions=True)
                assert [type(one) for one in told] == [Unavailable] * len(calls)
                await asyncio.to_thread(server.thaw)
                await until(lambda: works(lambda: bus.publish([message(topic, "k", 3)])))
                await until(lambda: works(member.consumer.lag))
                async with asyncio.timeout(PATIENCE):
                    while "3" not in values(records):
                        try:
                            records += await member.consumer.poll(10, 1.0)
                        except Unavailable:
                            continue

    async def test_start_waits_for_the_broker(self, own_kafka: StartServer) -> None:
        server = await asyncio.to_thread(own_kafka)
        await asyncio.to_thread(server.stop)
        bus = KafkaBus(server.address, settings=SETTINGS, start_limit=10 * PATIENCE)
        starting = asyncio.create_task(bus.start())
        await asyncio.wait({starting}, timeout=1.0)
        assert not starting.done()
        await asyncio.to_thread(server.restart)
        await starting
        await bus.check()
        await bus.stop()

    async def test_start_gives_up_at_its_limit(self) -> None:
        bus = KafkaBus(f"127.0.0.1:{free_port()}", settings=SETTINGS, start_limit=1.0)
        with pytest.raises(Unavailable):
            async with asyncio.timeout(PATIENCE):
                await bus.start()
        await bus.stop()

    async def test_stop_is_bounded_while_the_broker_is_away(self, own_kafka: StartServer) -> None:
        server = await asyncio.to_thread(own_kafka)
        bus = KafkaBus(server.address, settings=replace(SETTINGS, stop_timeout=1.0), deadline=1.0)
        await bus.start()
        topic = await topic_on(bus)
        consumer = bus.consumer([topic], group=fresh("group"))

        async def ignore(_: Collection[Partition]) -> None:
            pass

        await consumer.start(on_assign=ignore, on_revoke=ignore)
        await asyncio.to_thread(server.freeze)
        with pytest.raises(Unavailable):
            await bus.publish([message(topic, "k", 1)])
        async with asyncio.timeout(PATIENCE):
            await consumer.stop()
            await bus.stop()


async def works(call: Callable[[], Awaitable[object]]) -> bool:
    try:
        await call()
    except Unavailable:
        return False
    return True
