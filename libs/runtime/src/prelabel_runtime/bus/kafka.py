"""The bus on Apache Kafka: FastStream connects and secures, aiokafka moves the records.

FastStream's own consuming loop loses work (it commits before a failure, or in spite of it), so it is not
used: a FastStream subscriber without a handler hands over its AIOKafkaConsumer, and our delivery loop stands
on that. This is the only file that imports either library. What looks odd below goes around something that
the client does; the comment names it, and tests/integration/test_bus_kafka.py shows it on a real broker.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    OffsetAndMetadata,
    TopicPartition,
    errors,
)
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.sticky.sticky_assignor import (
    StickyPartitionAssignor,
)
from aiokafka.partitioner import DefaultPartitioner
from faststream.kafka import KafkaBroker
from faststream.kafka import TopicPartition as SubscribedPartition
from faststream.kafka.publisher.producer import AioKafkaFastProducerImpl
from faststream.middlewares import AckPolicy

from prelabel_runtime.bus.base import (
    Bus,
    Committed,
    Consumer,
    Listener,
    Message,
    Missing,
    NotAssigned,
    Partition,
    Reader,
    Record,
    TopicSpec,
)
from prelabel_runtime.bus.kafka_admin import default_replicas
from prelabel_runtime.bus.kafka_partitions import partitions_of
from prelabel_runtime.bus.kafka_rights import Operation, operations_allowed
from prelabel_runtime.bus.kafka_security import NOT_ALLOWED, KafkaSecurity
from prelabel_runtime.clock import Clock, SystemClock
from prelabel_runtime.credentials import KafkaCredentials
from prelabel_runtime.errors import Fatal, Refused, Unavailable

__all__ = ["KafkaBus", "KafkaSecurity", "KafkaSettings"]

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

# Asking for the records of a partition that nobody has takes nothing and pauses nothing, and tells the client
# that its owner is alive. Pausing everything would do so too, and throw away what the client has fetched
# ahead.
_NOWHERE = TopicPartition("", 0)

# After any of these the producer's numbering has parted from the broker's; only a new producer has one again.
_PRODUCER_LOST = (
    errors.DuplicateSequenceNumber,
    errors.InvalidProducerEpoch,
    errors.InvalidProducerIdMapping,
    errors.MessageSizeTooLargeError,
    errors.OutOfOrderSequenceNumber,
    errors.ProducerClosed,
    errors.ProducerFenced,
    errors.UnknownProducerId,
)

# Raised in the middle of taking records: the client has counted as read what it then does not hand over.
_RECORDS_LOST = (errors.CorruptRecordException, errors.UnsupportedCodecError)

_BATCH_BYTES = 256 * 1024
_REQUEST_BYTES = 1024 * 1024

# From so many records in one call on, batches of our own are worth it.
_MANY = 32


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Times are seconds, above 0."""

    session_timeout: float = 45.0
    """A member that is not heard of for so long is dead, and its partitions go to others."""

    heartbeat_interval: float = 5.0

    rebalance_timeout: float = 120.0
    """How long a group waits for its members when it changes."""

    revoke_margin: float = 5.0
    """What is left of the rebalance time for joining again after `on_revoke`."""

    max_poll_interval: float = 300.0
    """A member that neither polls nor idles for so long is taken out of its group."""

    request_timeout: float = 40.0
    """One request's answer. Joining a group may take longer: the client asks again."""

    retry_backoff: float = 0.1

    reader_wait: float = 1.5
    """How long the broker keeps a reader's question while there is nothing new. Below `away_after`."""

    away_after: float = 3.0
    """After so long of empty polls that nobody answers, a consumer asks whether the broker is there."""

    stuck_after: float = 60.0
    """The broker is there, and polls are still not answered for so long: they never will be (`Fatal`)."""

    errors_allowed: int = 3
    """So many errors that repeating does not mend, within `stuck_after`, are `Fatal`. At least 1."""

    max_record_bytes: int = 1_000_000
    """Key, value and headers of one record. The broker's own limit must not be lower, see `publish`."""

    probe_timeout: float = 5.0
    """`check`, `lag` and `ends` give up after so long, and so does `publish` on an unknown topic."""

    stop_timeout: float = 10.0
    """Sending what was handed to `publish`, leaving a group, closing: each gives up after so long."""

    @property
    def revoke_limit(self) -> float:
        """What `on_revoke` may take."""
        return max(self.rebalance_timeout - self.revoke_margin, self.rebalance_timeout / 2)


class _Producer(AioKafkaFastProducerImpl):
    """FastStream's producer, which also shows the AIOKafkaProducer that FastStream configured and started.

    Records are sent through that one. FastStream's own publish() takes headers as a dict of strings (bytes
    and repeated names would be lost), adds two headers of its own, and takes 1.6 times as long.
    """

    __slots__ = ("client",)

    client: AIOKafkaProducer | None

    async def connect(self, producer: AIOKafkaProducer, serializer: Any, codec: Any = None) -> None:
        self.client = producer
        await super().connect(producer, serializer, codec)


class _Names:
    """Names here and names on the broker, which begin with the deployment's prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def there(self, name: str) -> str:
        return self._prefix + name

    def here(self, name: str) -> str:
        return name.removeprefix(self._prefix)

    def ours(self, name: str) -> bool:
        """Whether a name on the broker is of this deployment."""
        return name.startswith(self.there(""))

    def partition_there(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._prefix + partition.topic, partition.number)

    def partition_here(self, partition: TopicPartition) -> Partition:
        return Partition(self.here(partition.topic), partition.partition)


class KafkaBus(Bus):
    """See Bus.

    servers: "host:port", one or more to begin with.
    prefix: put before every topic and group on the broker, and taken off what is read.
    deadline: seconds until a publish or a commit without an answer is `Unavailable`.
    start_limit: seconds that anything's `start` keeps trying.
    instance: this process's name among the members of its groups, the same after a restart (a StatefulSet's
    pod
        name). A member with one keeps its partitions over a restart that is shorter than the session.
    """

    def __init__(
        self,
        servers: str | Sequence[str],
        *,
        prefix: str = "",
        clock: Clock | None = None,
        security: KafkaSecurity | None = None,
        settings: KafkaSettings | None = None,
        deadline: float = 30.0,
        start_limit: float = 60.0,
        instance: str | None = None,
    ) -> None:
        self._servers = [servers] if isinstance(servers, str) else list(servers)
        self._clock = clock or SystemClock()
        self._security = security or KafkaSecurity(KafkaCredentials.model_construct())
        self._settings = settings or KafkaSettings()
        self._deadline = deadline
        self._start_limit = start_limit
        self._instance = instance
        self._names = _Names(prefix)
        self._partitioner = DefaultPartitioner()  # the producer's own: murmur2, as all Kafka clients
        self._broker: KafkaBroker | None = None
        self._sender: AIOKafkaProducer | None = None
        self._farewells: set[asyncio.Future[object]] = set()
        self._looking: _Lookup | None = None

    async def start(self) -> None:
        await self._persist(self._connect, "Kafka does not answer")

    async def _connect(self) -> None:
        # After a failure half-way FastStream takes its unstarted admin client for a started one: each try
        # gets a new broker.
        broker, producer = self._new_broker()
        try:
            await broker.start()
        except BaseException as error:
            if producer.client is not None:
                await self._part(producer.client.stop())
            await self._part(broker.stop())
            if isinstance(error, errors.KafkaConnectionError) and (reason := await self._asked_why()):
                raise Refused(reason) from None
            raise
        self._broker, self._sender = broker, producer.client

    def _new_broker(self) -> tuple[KafkaBroker, _Producer]:
        settings = self._settings
        broker = KafkaBroker(
            self._servers,
            client_id="prelabel",
            security=self._security.for_faststream(),
            request_timeout_ms=_ms(settings.request_timeout),
            retry_backoff_ms=_ms(settings.retry_backoff),
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            max_batch_size=_BATCH_BYTES,
            max_request_size=_REQUEST_BYTES,
            linger_ms=0,
            allow_auto_create_topics=False,
            apply_types=False,
            logger=None,
        )
        producer = _Producer(None, None)
        producer.client = None
        # The seam through which FastStream's own test broker puts its producer in.
        broker.config.broker_config.producer = producer
        return broker, producer

    async def stop(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            await looking.close()
        broker, self._broker, self._sender = self._broker, None, None
        if broker is None:
            return
        # Away from its broker an idempotent producer waits for ever.
        if not await self._part(broker.stop()):
            _log.warning("Kafka was left with records unsent")

    async def provision(self, topics: Sequence[TopicSpec]) -> None:
        """See Bus. Raises `Refused` when the brokers will not have such a topic, `Unavailable` else."""

        async def create() -> None:
            described = await self._admin().describe_topics([self._names.there(topic.name) for topic in topics])
            there = {topic["topic"] for topic in described if not topic["error_code"]}
            missing = [topic for topic in topics if self._names.there(topic.name) not in there]
            if missing:
                await self._create(missing)

        async def see_leaders() -> None:
            for topic in await self._admin().describe_topics([self._names.there(topic.name) for topic in topics]):
                if topic["error_code"]:
                    raise errors.for_code(topic["error_code"])(topic["topic"])
                if any(partition["leader"] < 0 for partition in topic["partitions"]):
                    raise errors.LeaderNotAvailableError(topic["topic"])

        if topics:
            await self._persist(create, "Kafka creates no topics")
            await self._persist(see_leaders, "Kafka's new topics have no leaders")

    async def _create(self, topics: Sequence[TopicSpec]) -> None:
        replicas = await default_replicas(self._admin())
        made = await self._admin().create_topics(
            [
                NewTopic(
                    self._names.there(topic.name),
                    topic.partitions,
                    replicas,
                    topic_configs={
                        "cleanup.policy": "compact" if topic.compacted else "delete",
                        "retention.ms": "-1" if topic.retention_ms is None else str(topic.retention_ms),
                        "retention.bytes": "-1",
                    },
                )
                for topic in topics
            ]
        )
        for name, code, text in made.topic_errors:
            error = errors.for_code(code)
            if code == 0 or error is errors.TopicAlreadyExistsError:
                continue
            if error.retriable:
                raise error(text)
            raise Refused(f"Kafka does not create the topic {name}: {text or error.__name__}")

    async def publish(self, messages: Sequence[Message]) -> None:
        """See Bus. Raises ValueError for a topic that is not there too, `Fatal` when it can never send again.

        A record is measured before it is handed over: one that the broker refuses would cost the producer its
        numbering (aiokafka's issue 1017), and with it every later record. So no topic's max.message.bytes may
        be below
        `max_record_bytes`.
        """
        if not messages:
            return
        producer = self._producer()
        waiting: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(self._deadline):
                partitions = await self._find(producer, {message.topic for message in messages})
                if len(messages) < _MANY and all(m.key is not None or m.value is not None for m in messages):
                    await self._send_one_by_one(producer, messages, waiting)
                else:
                    await self._send_in_batches(producer, messages, partitions, waiting)
                await asyncio.gather(*waiting)
        except TimeoutError:
            # An idempotent producer goes on trying for ever: what it was given may still arrive.
            raise Unavailable("Kafka did not acknowledge in time") from None
        except _PRODUCER_LOST as error:
            raise Fatal(f"Kafka's producer has lost its place: {type(error).__name__}") from error
        except NOT_ALLOWED as error:
            raise self._denied(error, "WRITE to") from None
        except errors.KafkaError as error:
            if type(error) is errors.KafkaError:  # the client's sending task has ended
                raise Fatal("Kafka's producer has ended") from error
            raise Unavailable(f"Kafka did not take the records: {type(error).__name__}") from error
        finally:
            for future in waiting:
                _forget(future)

    def _measure(self, message: Message) -> None:
        size = len(message.key or b"") + len(message.value or b"")
        size += sum(len(name.encode()) + len(value) for name, value in message.headers)
        if size > self._settings.max_record_bytes:
            raise ValueError(f"a record of {size} bytes is over the limit of {self._settings.max_record_bytes}")

    async def _find(self, producer: AIOKafkaProducer, topics: Collection[str]) -> dict[str, list[int]]:
        """The partitions of topics: a call is refused as a whole, before its first record goes out."""
        found: dict[str, list[int]] = {}
        for topic in topics:
            name = self._names.there(topic)
            numbers = producer.client.cluster.partitions_for_topic(name)
            if numbers is None:
                try:
                    async with asyncio.timeout(self._settings.probe_timeout):
                        numbers = await producer.partitions_for(name)
                except (TimeoutError, errors.UnknownTopicOrPartitionError):
                    await self.check()
                    if topic in await self.topics():  # a broker that was slow to tell
                        raise Unavailable(f"Kafka does not tell the partitions of {topic}") from None
                    raise ValueError(f"there is no topic {topic}") from None
            found[topic] = sorted(numbers)
        return found

    async def _send_one_by_one(
        self, producer: AIOKafkaProducer, messages: Sequence[Message], sent: list["asyncio.Future[Any]"]
    ) -> None:
        """Few records: the client puts those of concurrent calls into common batches."""
        for message in messages:
            self._measure(message)
        for message in messages:
            topic = self._names.there(message.topic)
            sent.append(await producer.send(topic, message.value, message.key, headers=list(message.headers)))

    async def _send_in_batches(
        self,
        producer: AIOKafkaProducer,
        messages: Sequence[Message],
        partitions: Mapping[str, list[int]],
        sent: list["asyncio.Future[Any]"],
    ) -> None:
        """Many records: batches of our own cost a third of the time, one future and one look at the metadata for
        each, and all keys hashed together.

        Also the way for records without key and value, which send() refuses: a dead letter may well be one.
        """
        for (topic, partition), batch in self._packed(producer, messages, partitions):
            batch.close()
            sent.append(await producer.send_batch(batch, self._names.there(topic), partition=partition))

    def _packed(
        self, producer: AIOKafkaProducer, messages: Sequence[Message], partitions: Mapping[str, list[int]]
    ) -> list[tuple[tuple[str, int], Any]]:
        """Batches and where they go, in order. Raises ValueError for a record that is too large."""
        batches: list[tuple[tuple[str, int], Any]] = []
        newest: dict[tuple[str, int], Any] = {}
        limit = self._settings.max_record_bytes
        for message, place in zip(messages, self._places(messages, partitions), strict=True):
            key, value, headers = message.key, message.value, list(message.headers)
            batch = newest.get(place)
            added = None if batch is None else batch.append(timestamp=None, key=key, value=value, headers=headers)
            if added is None:  # none yet, or full
                batch = newest[place] = producer.create_batch()
                batches.append((place, batch))
                added = batch.append(timestamp=None, key=key, value=value, headers=headers)
            if added.size > limit:  # with what the format adds
                self._measure(message)
        return batches

    def _places(self, messages: Sequence[Message], partitions: Mapping[str, list[int]]) -> list[tuple[str, int]]:
        """Topic and partition of each; those without a key go to one partition of each topic together."""
        keys: dict[str, dict[bytes, int]] = {topic: {} for topic in partitions}
        for message in messages:
            if message.key is not None:
                keys[message.topic][message.key] = 0
        keyless = {}
        for topic, numbers in partitions.items():
            known = keys[topic]
            known.update(zip(known, partitions_of(list(known), len(numbers)), strict=True))
            keyless[topic] = self._partitioner(None, numbers, numbers)
        return [(it.topic, keyless[it.topic] if it.key is None else keys[it.topic][it.key]) for it in messages]

    def consumer(self, topics: Sequence[str], *, group: str) -> "KafkaConsumer":
        return KafkaConsumer(self, topics, group)

    def reader(self, topics: Sequence[str], *, start: Literal["beginning", "end"]) -> "KafkaReader":
        return KafkaReader(self, topics, start)

    async def offsets(self, topics: Sequence[str], at: Literal["beginning", "end"] | int) -> Mapping[Partition, int]:
        return await self._lookup().offsets(topics, at)

    async def fetch(self, partition: Partition, offset: int, limit: int) -> Sequence[Record]:
        return await self._lookup().fetch(partition, offset, limit)

    async def topics(self) -> frozenset[str]:
        names = await self._ask(lambda: self._admin().list_topics(), "list its topics")
        return frozenset(self._names.here(name) for name in names if self._names.ours(name))

    async def committed(self, group: str, topics: Sequence[str]) -> Mapping[Partition, int]:
        places = [
            TopicPartition(self._names.there(topic), number)
            for topic, numbers in (await self._find(self._producer(), set(topics))).items()
            for number in numbers
        ]
        known = await self._ask(
            lambda: self._admin().list_consumer_group_offsets(self._names.there(group), partitions=places),
            "tell how far a group is",
        )
        return {self._names.partition_here(place): done.offset for place, done in known.items() if done.offset >= 0}

    async def _ask(self, question: Callable[[], Awaitable[_T]], what: str) -> _T:
        """The broker's answer. Raises `Unavailable` when there is none in time."""
        last: Exception | None = None
        try:
            async with asyncio.timeout(self._settings.probe_timeout):
                while True:
                    try:
                        return await question()
                    except errors.KafkaError as error:
                        if not error.retriable:
                            raise
                        last = error  # a coordinator may be on its way
                    await self._clock.sleep(self._settings.retry_backoff)
        except (TimeoutError, errors.KafkaError, OSError) as error:
            raise Unavailable(f"Kafka does not {what}: {type(last or error).__name__}") from error

    def _lookup(self) -> "_Lookup":
        if self._looking is None:
            self._producer()  # raises if the bus is not started
            self._looking = _Lookup(self)
        return self._looking

    async def check(self) -> None:
        producer = self._producer()
        answered, reason = False, None
        try:
            async with asyncio.timeout(self._settings.probe_timeout):
                answered = await producer.client.force_metadata_update()
                reason = None if answered else await self._asked_why()
        except TimeoutError:
            pass
        self._refusal = reason
        if not answered:
            raise Unavailable(reason or "Kafka does not answer")

    async def missing(self, *, reads: Collection[str], writes: Collection[str]) -> Sequence[Missing]:
        topics = sorted({*reads, *writes})
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                allowed = await operations_allowed(
                    self._producer().client, [self._names.there(topic) for topic in topics]
                )
        except NotImplementedError:
            return ()  # brokers that cannot tell
        except (errors.KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka does not tell our rights: {type(error).__name__}") from error
        found = []
        for topic in topics:
            name = self._names.there(topic)
            granted = allowed.get(name)
            needed = [Operation.READ] * (topic in reads) + [Operation.WRITE] * (topic in writes)
            if granted is None:
                found.append(Missing(topic, True, f"there is no topic {name}"))
            elif lacking := [one.name for one in needed if one not in granted]:
                said = f"{self._security.who} has no right to {' and '.join(lacking)} topic {name}"
                found.append(Missing(topic, False, said))
        return found

    def _denied(self, error: Exception, deed: str, group: str | None = None) -> Refused:
        """What somebody has to be allowed, in one line."""
        if isinstance(error, errors.ClusterAuthorizationFailedError):
            what = "WRITE to any topic" if deed == "WRITE to" else "administer the cluster"
        elif isinstance(error, errors.GroupAuthorizationFailedError):
            what = f"READ group {group or _named(error)}"
        else:
            what = f"{deed} topic {_named(error)}" + (f" for group {group}" if group else "")
        return Refused(
            f"Kafka: {self._security.who} has no right to {what}; `prelabel topics plan` shows what is needed"
        )

    async def _asked_why(self) -> str | None:
        """Why the brokers refuse us; None where they do not, or are away."""
        try:
            async with asyncio.timeout(self._settings.probe_timeout):
                return await self._security.refusal(self._servers, timeout=self._settings.probe_timeout)
        except TimeoutError:
            return None

    def _producer(self) -> AIOKafkaProducer:
        if self._sender is None:
            raise RuntimeError("the bus is not started")
        return self._sender

    def _admin(self) -> AIOKafkaAdminClient:
        if self._broker is None:
            raise RuntimeError("the bus is not started")
        return self._broker.config.broker_config.admin_client

    def _subscriber(self, *topics: str, group: str | None, **options: Any) -> Any:
        """A FastStream subscriber without a handler: started, it has an AIOKafkaConsumer and runs nothing."""
        if self._broker is None:
            raise RuntimeError("the bus is not started")
        settings = self._settings
        return self._broker.subscriber(
            *topics,
            batch=True,
            group_id=group,
            group_instance_id=self._instance if group else None,
            # The default commits what nobody has handled yet.
            ack_policy=AckPolicy.MANUAL if group else AckPolicy.ACK_FIRST,
            # The default skips what was there before a group's first start.
            auto_offset_reset="earliest",
            partition_assignment_strategy=(StickyPartitionAssignor,),
            session_timeout_ms=_ms(settings.session_timeout),
            heartbeat_interval_ms=_ms(settings.heartbeat_interval),
            rebalance_timeout_ms=_ms(settings.rebalance_timeout),
            max_poll_interval_ms=_ms(settings.max_poll_interval),
            isolation_level="read_committed",
            # How often the client looks around when nothing wakes it; five times a second costs, for each consumer.
            consumer_timeout_ms=1000,
            # A group's member that takes from one partition while it asks for the others waits so long for more.
            fetch_max_wait_ms=500 if group else _ms(settings.reader_wait),
            persistent=False,  # whoever has stopped it may forget it
            **options,
        )

    async def _persist(
        self,
        action: Callable[[], Awaitable[None]],
        trouble: str,
        *,
        deed: str = "CREATE",
        group: str | None = None,
        extra: float = 0.0,
    ) -> None:
        """Repeats an action with growing pauses until it succeeds or `start_limit` is over; then
        `Unavailable`. What is not allowed is `Refused` at once.

        deed, group: what to say that it was.
        extra: seconds beyond the limit that an action which is under way may still take.
        """
        deadline = self._clock.monotonic() + self._start_limit
        pause = 0.1
        while True:
            left = deadline - self._clock.monotonic()
            try:
                async with asyncio.timeout(left + extra):
                    return await action()
            except NOT_ALLOWED as error:
                raise self._denied(error, deed, group) from None
            except (errors.KafkaError, TimeoutError, OSError) as error:
                if self._clock.monotonic() + pause >= deadline:
                    raise Unavailable(f"{trouble}: {type(error).__name__}") from error
                _log.info("waiting for Kafka", extra={"error": type(error).__name__})
            await self._clock.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _part(self, farewell: Awaitable[object]) -> bool:
        """Whether a farewell was said within the stop timeout. What it raises is logged: nobody could act on
        it.

        One that takes longer is not cancelled: a member whose leaving is cut off goes on sending heartbeats,
        and keeps its partitions from the others. It goes on behind the scenes, as long as this process does.
        """
        task = asyncio.ensure_future(farewell)
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)
        await asyncio.wait({task}, timeout=self._settings.stop_timeout)
        if not task.done():
            return False
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.info("a farewell to Kafka failed", extra={"error": type(error).__name__})
        return True


class _Fetched(NamedTuple):
    """What the client handed over, and when that was in the order of all that happened to a consumer."""

    epoch: int
    step: int
    records: Mapping[TopicPartition, Sequence[Any]]


class _Source:
    """What a group's member and a reader share: taking records from an AIOKafkaConsumer without being stuck
    in it.

    getmany() must not be cancelled (that switches the client's watch over max_poll_interval off), and it does
    not return while its group changes, however short its timeout: if a poll waited for it, work that
    `on_revoke` waits for would wait for that poll. So it runs in a task that survives the poll which began
    it, and the next poll takes that task over. Between the two there may have been a seek, a pause, another
    assignment: what it brings is looked at when it is handed out.
    """

    def __init__(self, bus: KafkaBus) -> None:
        self._bus = bus
        self._clock = bus._clock
        self._settings = bus._settings
        self._names = bus._names
        self.polled_at = self._clock.monotonic()
        self._subscriber: Any = None
        self._fetch: asyncio.Task[_Fetched] | None = None
        self._epoch = 0
        self._step = 0
        self._sought: dict[TopicPartition, int] = {}
        self._answer = 0
        self._silent = 0.0
        self._unasked = 0.0
        self._errors: deque[float] = deque(maxlen=self._settings.errors_allowed)
        self._broken: Fatal | Refused | None = None

    @property
    def _client(self) -> AIOKafkaConsumer | None:
        # While start() is still waiting for its group, the listeners have it already.
        return None if self._subscriber is None else self._subscriber.consumer

    def _running(self) -> AIOKafkaConsumer:
        client = self._client
        if client is None:
            raise RuntimeError("this consumer is not started, or stopped")
        return client

    @property
    def _group(self) -> str | None:
        """The group on the broker; None for a reader."""
        return None

    async def _bounded(self, asked: Awaitable[_T], what: str, limit: float) -> _T:
        """The answer to a question. Raises `Unavailable` when there is none within `limit` seconds."""
        try:
            async with asyncio.timeout(limit):
                return await asked
        except TimeoutError:
            raise Unavailable(f"Kafka does not {what}") from None
        except (errors.CommitFailedError, errors.IllegalStateError):
            raise
        except NOT_ALLOWED as error:
            raise self._bus._denied(error, "READ", self._group) from None
        except errors.KafkaError as error:
            raise Unavailable(f"Kafka does not {what}: {type(error).__name__}") from error

    async def _take(self, limit: int, timeout: float) -> list[Record]:
        """At most `limit` records, none after `timeout` seconds. Raises as Consumer.poll."""
        self._raise_if_broken()
        self._running()
        began = self._clock.monotonic()
        records: list[Record] = []
        try:
            while not records and (client := self._client) is not None:
                left = max(0.0, began + timeout - self._clock.monotonic())
                records = self._hand_out(await self._next(client, left, limit), limit)
                self._raise_if_broken()
                if self._clock.monotonic() >= began + timeout:
                    break
            await self._doubt(bool(records), self._clock.monotonic() - began)
        except Unavailable:
            # Polled it was: to wait for a broker is not to be dead.
            self.polled_at = self._clock.monotonic()
            raise
        self.polled_at = self._clock.monotonic()
        return records

    async def _touch(self) -> None:
        """Tells the client that its owner is alive, and takes nothing."""
        self._raise_if_broken()
        fetch = self._fetch
        if fetch is None:
            await self._next(self._running(), 0.0, None, _NOWHERE)
        elif fetch.done() and (fetch.cancelled() or fetch.exception() is not None):
            await self._next(self._running(), 0.0, None)
        self._raise_if_broken()
        self.polled_at = self._clock.monotonic()

    async def _next(
        self, client: AIOKafkaConsumer, timeout: float, limit: int | None, *of: TopicPartition
    ) -> _Fetched | None:
        """What the client has; None if that is not known within `timeout` seconds."""
        fetch = self._fetch
        if fetch is None:
            fetch = self._fetch = asyncio.create_task(self._get(client, timeout, limit, of))
        began = self._clock.monotonic()
        await asyncio.wait({fetch}, timeout=timeout)
        if not fetch.done() or not await self._settled(began + timeout - self._clock.monotonic()):
            return None
        if self._client is not client:
            return None  # stopped meanwhile
        self._fetch = None
        try:
            return fetch.result()
        except asyncio.CancelledError as error:
            # Not this poll: a task of the client was, and says so to whoever asks.
            self._broken = Fatal("this consumer's client has ended")
            raise self._broken from error
        except Exception as error:
            raise self._judge(error) from error

    async def _get(
        self, client: AIOKafkaConsumer, timeout: float, limit: int | None, of: tuple[TopicPartition, ...]
    ) -> _Fetched:
        records = await client.getmany(*of, timeout_ms=_ms(timeout), max_records=limit)
        return _Fetched(self._epoch, self._step, records)

    async def _settled(self, timeout: float) -> bool:
        """Whether what is read may be handed out."""
        return True

    def _hand_out(self, fetched: _Fetched | None, limit: int) -> list[Record]:
        client = self._client
        if client is None or fetched is None or fetched.epoch != self._epoch:
            return []  # of an assignment that has ended: whoever has the partitions now reads them again
        handed: list[Record] = []
        paused = client.paused()
        for place, records in fetched.records.items():
            if self._sought.get(place, 0) > fetched.step:
                continue
            room = 0 if place in paused else limit - len(handed)
            topic, number = self._names.partition_here(place)
            handed += [
                Record(topic, number, it.offset, it.key, it.value, tuple(it.headers), it.timestamp)
                for it in records[:room]
            ]
            if len(records) > room:
                client.seek(place, records[room].offset)
        self._sought.clear()
        return handed

    def _judge(self, error: Exception) -> Unavailable | Fatal | Refused:
        """Tells errors that time may mend from those that it never will.

        When the client's heartbeat or coordination task has ended, every later call is told so, for ever:
        such a member looks alive to everybody and reads nothing.
        """
        name = type(error).__name__
        if not isinstance(error, errors.KafkaError) or isinstance(error, _RECORDS_LOST):
            self._broken = Fatal(f"this consumer has lost its place: {name}")
            return self._broken
        if not error.retriable:
            now = self._clock.monotonic()
            self._errors.append(now)
            if len(self._errors) == self._errors.maxlen and now - self._errors[0] <= self._settings.stuck_after:
                self._broken = (
                    self._bus._denied(error, "READ", self._group)
                    if isinstance(error, NOT_ALLOWED)
                    else Fatal(f"this consumer cannot read any more: {name}")
                )
                return self._broken
        return Unavailable(f"Kafka does not let this consumer read: {name}")

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    async def _doubt(self, got: bool, spent: float) -> None:
        """Nothing came: because nothing is there, because the broker is away, or because this consumer is
        stuck?

        The client tells nobody that its broker is away. But what it asks for it is answered twice a second,
        even where there is nothing, and it remembers when. Only time in which somebody polled counts.
        """
        client = self._client
        if client is None:
            return
        paused = client.paused()
        reading = [place for place in client.assignment() if place not in paused]
        answer = max((client.last_poll_timestamp(place) or 0 for place in reading), default=0)
        if got or (answer and answer != self._answer):
            self._answer, self._silent, self._unasked = answer, 0.0, 0.0
            return
        patience = self._patience(bool(reading))
        self._silent = 0.0 if patience is None else self._silent + spent
        self._unasked += spent
        if self._unasked < self._settings.away_after:
            return
        try:
            await self._bus.check()
        except Unavailable:
            self._silent = 0.0
            if self._bus._refusal is not None:
                # Another password may be in the file by now: a new process reads it.
                self._broken = Refused(self._bus._refusal)
                raise self._broken from None
            raise
        self._unasked = 0.0
        if patience is not None and self._silent > patience:
            self._broken = Fatal("this consumer hears nothing although Kafka answers")
            raise self._broken

    def _patience(self, reading: bool) -> float | None:
        """Seconds of polls without an answer after which this consumer is stuck; None: none is expected."""
        return self._settings.stuck_after if reading else None

    async def _close(self) -> None:
        subscriber, self._subscriber = self._subscriber, None
        fetch, self._fetch = self._fetch, None
        if subscriber is not None and not await self._bus._part(subscriber.stop()):
            _log.warning("Kafka was left without a farewell")
        if fetch is not None:
            fetch.cancel()
            await asyncio.wait({fetch})
            _forget(fetch)


class KafkaConsumer(_Source, Consumer):
    """See Consumer. A change of the group takes every partition from every member and deals them out anew.

    So `on_revoke` names all that were assigned, `on_assign` all that now are, and a pause or a seek ends with
    the assignment.
    """

    def __init__(self, bus: KafkaBus, topics: Sequence[str], group: str) -> None:
        super().__init__(bus)
        self._topics = [bus._names.there(topic) for topic in topics]
        self._named = bus._names.there(group)
        self._mine: frozenset[Partition] = frozenset()
        self._releasing = asyncio.Lock()
        self._assigned = asyncio.Event()
        self._on_assign: Listener | None = None
        self._on_revoke: Listener | None = None

    @property
    def _group(self) -> str:
        return self._named

    async def start(self, *, on_assign: Listener, on_revoke: Listener) -> None:
        self._on_assign, self._on_revoke = on_assign, on_revoke
        # Joining waits for the other members to finish what they hold.
        await self._bus._persist(
            self._join,
            "Kafka lets nobody join the group",
            deed="READ",
            group=self._group,
            extra=self._settings.rebalance_timeout,
        )
        self._raise_if_broken()
        self.polled_at = self._clock.monotonic()

    async def _join(self) -> None:
        self._subscriber = self._bus._subscriber(*self._topics, group=self._group, listener=_Rebalance(self))
        try:
            await self._subscriber.start()
        except BaseException:
            await self._release()
            await self._close()
            raise

    async def stop(self) -> None:
        if self._subscriber is not None:
            await self._release()
            await self._close()

    async def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        return await self._take(limit, timeout)

    async def idle(self) -> None:
        await self._touch()

    def pause(self, partitions: Collection[Partition]) -> None:
        self._running().pause(*self._held(partitions))

    def resume(self, partitions: Collection[Partition]) -> None:
        self._running().resume(*self._held(partitions))
        self._silent = 0.0

    def seek(self, partition: Partition, offset: int) -> None:
        for place in self._held([partition]):
            self._step += 1
            self._sought[place] = self._step
            self._running().seek(place, offset)

    def assignment(self) -> frozenset[Partition]:
        return self._mine

    async def committed(self, partition: Partition) -> Committed | None:
        place = self._names.partition_there(partition)
        # The consumer tells the offset only, the admin client the note as well.
        found = await self._bounded(
            self._bus._admin().list_consumer_group_offsets(self._group, partitions=[place]),
            "tell what is committed",
            self._bus._deadline,
        )
        entry = found.get(place)
        return None if entry is None or entry.offset < 0 else Committed(entry.offset, entry.metadata or "")

    async def commit(self, offsets: Mapping[Partition, Committed]) -> None:
        if not offsets:
            return
        lost = sorted(set(offsets) - self._mine)
        if lost:
            raise NotAssigned(f"{lost[0].topic}/{lost[0].number} is not this member's")
        entries = {
            self._names.partition_there(partition): OffsetAndMetadata(entry.offset, entry.note)
            for partition, entry in offsets.items()
        }
        try:
            await self._bounded(self._running().commit(entries), "acknowledge a commit", self._bus._deadline)
        except (errors.CommitFailedError, errors.IllegalStateError) as error:
            raise NotAssigned("the group has gone on without this member") from error

    async def lag(self) -> Mapping[Partition, int]:
        client = self._running()
        places = {partition: self._names.partition_there(partition) for partition in self._mine}
        if not places:
            return {}

        async def measure() -> dict[Partition, int]:
            # Not the end that the last fetch told: paused partitions are not fetched, and theirs grows old.
            ends = await client.end_offsets(list(places.values()))
            return {
                partition: max(0, ends[place] - await client.position(place)) for partition, place in places.items()
            }

        try:
            return await self._bounded(measure(), "tell the ends", self._settings.probe_timeout)
        except errors.IllegalStateError:
            return {}  # the group changed meanwhile

    def _held(self, partitions: Iterable[Partition]) -> list[TopicPartition]:
        assigned = self._running().assignment()
        places = (self._names.partition_there(partition) for partition in partitions)
        return [place for place in places if place in assigned]

    def _patience(self, reading: bool) -> float | None:
        if self._assigned.is_set():
            return super()._patience(reading)
        return self._settings.stuck_after + 2 * self._settings.rebalance_timeout

    async def _settled(self, timeout: float) -> bool:
        # The client reads on while on_assign is still at work.
        if not self._assigned.is_set():
            try:
                async with asyncio.timeout(max(0.0, timeout)):
                    await self._assigned.wait()
            except TimeoutError:
                return False
        return True

    async def _release(self) -> None:
        """Calls on_revoke for what is assigned, once; after that nothing is."""
        self._assigned.clear()
        self._epoch += 1
        async with self._releasing:
            if self._mine and self._on_revoke is not None:
                await self._tell(self._on_revoke, self._mine)
            self._mine = frozenset()

    async def _receive(self, places: Collection[TopicPartition]) -> None:
        self._mine = frozenset(self._names.partition_here(place) for place in places)
        self._silent = self._unasked = 0.0
        if self._on_assign is not None:
            await self._tell(self._on_assign, self._mine)
        self._assigned.set()

    async def _tell(self, listener: Listener, partitions: frozenset[Partition]) -> None:
        """The client would log what a listener raises, and go on; here the next poll raises it."""
        try:
            async with asyncio.timeout(self._settings.revoke_limit):
                await listener(partitions)
        except TimeoutError:
            _log.warning("group change did not wait any longer for work in flight")
        except Fatal as error:
            self._broken = error
        except Exception as error:
            self._broken = Fatal(f"a listener to group changes failed: {type(error).__name__}")
            self._broken.__cause__ = error


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]
    """Called in the client's coordination task, which waits for it; heartbeats go on meanwhile."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._consumer._release()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self._consumer._receive(assigned)


class KafkaReader(_Source, Reader):
    """See Reader. It reads the partitions that are there when it starts: counts never change in place."""

    def __init__(self, bus: KafkaBus, topics: Sequence[str], start: Literal["beginning", "end"]) -> None:
        super().__init__(bus)
        self._topics = [bus._names.there(topic) for topic in topics]
        self._from_end = start == "end"
        self._positions: dict[Partition, int] = {}

    async def start(self) -> None:
        await self._bus._persist(self._begin, "Kafka has nothing to read", deed="READ")
        self.polled_at = self._clock.monotonic()

    async def _begin(self) -> None:
        places: list[TopicPartition] = []
        for topic in self._topics:
            numbers = await self._bus._producer().partitions_for(topic)
            places += [TopicPartition(topic, number) for number in sorted(numbers)]
        self._subscriber = self._bus._subscriber(
            group=None, partitions=[SubscribedPartition(place.topic, place.partition) for place in places]
        )
        try:
            await self._subscriber.start()
            client = self._running()
            offsets = await (client.end_offsets(places) if self._from_end else client.beginning_offsets(places))
            for place, offset in offsets.items():
                client.seek(place, offset)
                self._positions[self._names.partition_here(place)] = offset
        except BaseException:
            await self._close()
            raise

    async def stop(self) -> None:
        await self._close()

    async def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        records = await self._take(limit, timeout)
        for record in records:
            self._positions[record.place] = record.offset + 1
        client = self._client
        if not records and client is not None and self._fetch is None:
            # Offsets without a record (compacted away, or marks of transactions) are passed over silently.
            for partition in self._positions:
                self._positions[partition] = await client.position(self._names.partition_there(partition))
        return records

    async def ends(self) -> Mapping[Partition, int]:
        places = [self._names.partition_there(partition) for partition in self._positions]
        ends = await self._bounded(self._running().end_offsets(places), "tell the ends", self._settings.probe_timeout)
        return {self._names.partition_here(place): offset for place, offset in ends.items()}

    def position(self, partition: Partition) -> int:
        return self._positions[partition]


class _Lookup:
    """Looks back into partitions: one consumer without a group, which reads one partition at a time.

    After a failure it is closed, and the next question opens a new one: nothing is lost with it.
    """

    def __init__(self, bus: KafkaBus) -> None:
        self._bus = bus
        self._names = bus._names
        self._patience = bus._settings.probe_timeout
        self._turn = asyncio.Lock()
        self._subscriber: Any = None
        self._ends: dict[TopicPartition, int] = {}

    async def close(self) -> None:
        subscriber, self._subscriber = self._subscriber, None
        self._ends.clear()
        if subscriber is not None:
            await self._bus._part(subscriber.stop())

    async def offsets(self, topics: Sequence[str], at: Literal["beginning", "end"] | int) -> Mapping[Partition, int]:
        async def ask() -> Mapping[Partition, int]:
            places: list[TopicPartition] = []
            for name, numbers in (await self._bus._find(self._bus._producer(), set(topics))).items():
                places += [TopicPartition(self._names.there(name), number) for number in numbers]
            client = await self._opened(places)
            if at == "beginning":
                found = await client.beginning_offsets(places)
            else:
                found = await client.end_offsets(places)
            if not isinstance(at, str):
                since = await client.offsets_for_times(dict.fromkeys(places, at))
                found |= {place: moment.offset for place, moment in since.items() if moment is not None}
            return {self._names.partition_here(place): offset for place, offset in found.items()}

        return await self._answered(ask)

    async def fetch(self, partition: Partition, offset: int, limit: int) -> Sequence[Record]:
        place = self._names.partition_there(partition)

        async def ask() -> Sequence[Record]:
            client = await self._opened([place])
            if offset >= self._ends.get(place, 0):
                self._ends |= await client.end_offsets([place])
            if offset >= self._ends[place]:
                return ()
            client.seek(place, offset)
            client.resume(place)
            try:
                while True:
                    found = (await client.getmany(place, timeout_ms=500, max_records=limit)).get(place)
                    if found:
                        return [
                            Record(*partition, it.offset, it.key, it.value, tuple(it.headers), it.timestamp)
                            for it in found
                        ]
                    if await client.position(place) >= self._ends[place]:
                        return ()  # marks of transactions, or compacted away
            finally:
                client.pause(place)

        return await self._answered(ask)

    async def _opened(self, places: Sequence[TopicPartition]) -> AIOKafkaConsumer:
        """The client, with all of these partitions assigned and paused."""
        known = set() if self._subscriber is None else self._subscriber.consumer.assignment()
        if self._subscriber is None or not known.issuperset(places):
            await self.close()
            wanted = [SubscribedPartition(place.topic, place.partition) for place in {*known, *places}]
            subscriber = self._bus._subscriber(group=None, partitions=wanted)
            await subscriber.start()
            self._subscriber = subscriber
            subscriber.consumer.pause(*subscriber.consumer.assignment())
        client: AIOKafkaConsumer = self._subscriber.consumer
        return client

    async def _answered(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """The answer. Raises `Unavailable` when there is none in time."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._patience):
                    return await ask()
            except (TimeoutError, errors.KafkaError, OSError) as error:
                await self.close()
                raise Unavailable(f"Kafka does not look back: {type(error).__name__}") from error


def _forget(future: "asyncio.Future[Any]") -> None:
    """Nobody asks for it any more, and that is no mistake."""
    if not future.done():
        future.cancel()
    elif not future.cancelled():
        future.exception()


def _named(error: Exception) -> str:
    """The topics or the group that an error of the client names."""
    what = error.args[0] if error.args else "of that name"
    return ", ".join(sorted(map(str, what))) if isinstance(what, (set, frozenset, list, tuple)) else str(what)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
