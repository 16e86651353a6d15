"""What a bus promises. One suite (prelabel_runtime.testing.bus) proves it on every implementation.

Topics are append-only logs, split into partitions. A record's key decides its partition for ever, so records of one
key are read in the order in which they were acknowledged. A topic is never created by reading or writing it:
`provision` does that.

Publishing. `publish` returns when every record is durable (Kafka: acks=all; SQLite: committed and synced) and raises
`Unavailable` when that is not known within the delivery deadline. Then each record may or may not be there: the caller
repeats the same events under the same ids, or tells its own caller to. Records of one call with the same key keep
their order. What can never be published raises `ValueError`, and nothing of that call is: a record that is too large, a
topic that was not provisioned, a record without a key on a compacted topic.

Consuming. Each record of a topic goes to one member of each consumer group, at least once, from the earliest record on
for a new group. Nothing is taken as read until `commit` says so: a member that dies leaves everything behind its
last commit to another. Offsets are committed explicitly per partition: the next offset to read, and a short note that
survives with it (the delivery loop keeps its count of attempts there).

Group changes. Before a partition goes to another member, `on_revoke` is called and awaited (bounded by the rebalance
time): finish or drop what is in flight there and commit. After that, committing for it raises `NotAssigned`.
`on_assign` is called before the first record of a partition is handed out. A change may take all partitions and deal
them out anew; pauses and seeks end with the assignment.

Long work. Whoever holds records for long calls `idle` now and then instead of `poll`: it keeps the membership alive and
hands nothing out. Being polled is also what liveness means: `polled_at` is the time of the last completed poll or idle;
one that found the broker away counts, since a new process would not find it either.

Readers have no group and commit nothing: they follow topics from the beginning (compacted state) or from the end
(replies), and can say when they have caught up with what was there when asked.

Looking back. `offsets` says where a topic begins, ends, or was at a moment; `fetch` hands out records once more from
any place, to whoever keeps places of its own. `topics` says which topics there are, `committed` how far a group is that
may be somebody else's. None of them moves a group or a reader.

Starting. `start` waits for the broker with back-off until its own limit, then raises `Unavailable`. Nothing is opened
before. `stop` finishes what was handed to `publish`, closes, and is bounded in time even when the broker is away.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Headers = tuple[tuple[str, bytes], ...]


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int


class Committed(NamedTuple):
    """What a group has committed for a partition: the next offset to read, and its note."""

    offset: int
    note: str = ""


class Message(NamedTuple):
    """A record to be published. A tuple, as Record: one is made for every event, in a third of the time."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Record(NamedTuple):
    """A record as it was read: bytes, untouched."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int

    @property
    def place(self) -> Partition:
        """The partition it was read from."""
        return Partition(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic to be there. Partition counts never change in place."""

    name: str
    partitions: int = 12
    compacted: bool = False
    retention_ms: int | None = None
    """None: unlimited. Does not apply to compacted topics."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A topic that cannot be used: because it is not there, or because we may not."""

    topic: str
    allowed: bool
    said: str
    """The same as a phrase, with the names that the bus knows."""


class NotAssigned(Exception):
    """The partition has gone to another member: what was done there will be done again."""


Listener = Callable[[Collection[Partition]], Awaitable[None]]


class Consumer(ABC):
    """One member of a consumer group."""

    polled_at: float
    """Monotonic seconds of the last completed `poll` or `idle`; the age of it is this consumer's liveness."""

    @abstractmethod
    async def start(self, *, on_assign: Listener, on_revoke: Listener) -> None:
        """Join the group."""

    @abstractmethod
    async def stop(self) -> None:
        """Leave the group, after `on_revoke` for what is still assigned. Commits nothing by itself."""

    @abstractmethod
    async def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        """At most `limit` records of partitions that are assigned and not paused; none after `timeout` seconds.

        Returns as soon as anything is there. Raises `Unavailable` while the broker is away, `Fatal` when this member
        can never read again.
        """

    @abstractmethod
    async def idle(self) -> None:
        """Keep the membership alive without taking records. May be called during `on_revoke`."""

    @abstractmethod
    def pause(self, partitions: Collection[Partition]) -> None:
        """Hand out nothing of these partitions until `resume`. Unknown ones are ignored."""

    @abstractmethod
    def resume(self, partitions: Collection[Partition]) -> None:
        """Hand them out again."""

    @abstractmethod
    def seek(self, partition: Partition, offset: int) -> None:
        """The next record of the partition to be handed out is the one at `offset`. Ignored if it is not ours."""

    @abstractmethod
    def assignment(self) -> frozenset[Partition]:
        """The partitions that are this member's now."""

    @abstractmethod
    async def committed(self, partition: Partition) -> Committed | None:
        """What the group has committed there; None if nothing yet."""

    @abstractmethod
    async def commit(self, offsets: Mapping[Partition, Committed]) -> None:
        """Commit. Raises `NotAssigned`, and commits nothing, if any of the partitions is not this member's."""

    @abstractmethod
    async def lag(self) -> Mapping[Partition, int]:
        """Records that are there and have not been handed out, per assigned partition; holes of compaction count."""

    async def complete(self, bus: "Bus", messages: Sequence[Message], offsets: Mapping[Partition, Committed]) -> None:
        """Publish, then commit: what came of some records, and that they are done.

        A bus that can do both at once, does.
        """
        if messages:
            await bus.publish(messages)
        await self.commit(offsets)


class Reader(ABC):
    """Follows topics without a group."""

    @abstractmethod
    async def start(self) -> None:
        """Go to the place to start from. With start="end", what is published after this returns will be read."""

    @abstractmethod
    async def stop(self) -> None:
        """Close."""

    @abstractmethod
    async def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        """The next records, in order per partition; none after `timeout` seconds. Raises as `Consumer.poll`."""

    @abstractmethod
    async def ends(self) -> Mapping[Partition, int]:
        """The end of each partition now: the offset that the next record would get."""

    @abstractmethod
    def position(self, partition: Partition) -> int:
        """The offset of the next record that `poll` will return there."""

    async def behind(self, ends: Mapping[Partition, int]) -> bool:
        """Whether something before `ends` has still to be read."""
        return any(self.position(partition) < end for partition, end in ends.items())


class Bus(ABC):
    """A message bus. Names of topics and groups are given without the deployment's prefix."""

    @abstractmethod
    async def start(self) -> None:
        """Connect; waits with back-off, then raises `Unavailable`."""

    @abstractmethod
    async def stop(self) -> None:
        """Finish what was handed to `publish` if it can be, and close. Bounded in time."""

    @abstractmethod
    async def provision(self, topics: Sequence[TopicSpec]) -> None:
        """Create the topics that are missing; leave the others as they are."""

    @abstractmethod
    async def publish(self, messages: Sequence[Message]) -> None:
        """Make all of them durable. Raises `Unavailable` (unknown: repeat), `ValueError` (never), `Fatal`."""

    @abstractmethod
    def consumer(self, topics: Sequence[str], *, group: str) -> Consumer:
        """A new member of a group, not started yet."""

    @abstractmethod
    def reader(self, topics: Sequence[str], *, start: Literal["beginning", "end"]) -> Reader:
        """A reader of topics, not started yet."""

    @abstractmethod
    async def offsets(self, topics: Sequence[str], at: Literal["beginning", "end"] | int) -> Mapping[Partition, int]:
        """Per partition the offset of its first record, its end, or its first record since a moment (ms since 1970).

        The end where there is none since then. On a bus that writes several records at once it may name one that was
        written a little earlier, never a later one.
        """

    @abstractmethod
    async def fetch(self, partition: Partition, offset: int, limit: int) -> Sequence[Record]:
        """At most `limit` records from `offset` on, in order; none at the end.

        What retention or compaction has removed is passed over: the offsets of the records tell. May hand out fewer
        than there are. Raises `Unavailable`.
        """

    @abstractmethod
    async def topics(self) -> frozenset[str]:
        """The topics of this deployment that are there now and that we may see. Raises `Unavailable`."""

    @abstractmethod
    async def committed(self, group: str, topics: Sequence[str]) -> Mapping[Partition, int]:
        """How far a group is, whoever its members are: the next offset it will read; partitions it has no word of are
        left out. Raises `Unavailable`.
        """

    async def missing(self, *, reads: Collection[str], writes: Collection[str]) -> Sequence[Missing]:
        """What is not there, or not allowed, of the topics that somebody wants to read and write.

        Raises `Unavailable`. A bus without rights says nothing: what is not there, publishing and reading tell.
        """
        return ()

    @abstractmethod
    async def check(self) -> None:
        """Raises `Unavailable` if nothing could be published now."""
