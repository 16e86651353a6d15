"""A service is a table: which events it handles, which routes it answers, what it keeps running meanwhile.

Handlers are plain async functions from events to events. A handler gets a batch and answers each event of it with the
events that follow, or with the error that says what happens to this record:

    async def handle(batch: Sequence[Event[TaskAccepted]]) -> Sequence[Reply]: ...

Raising `Unavailable` pauses the whole batch and repeats it. Handlers of one subscription may be called in any order
within a batch, and again after a crash: their effects must commute and bear repetition. Where the order of two types
matters, one handler takes both.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import EVENTS, AnyEvent, EventData

from .bus.base import Record
from .errors import TryAgain

if TYPE_CHECKING:  # most services answer over HTTP, those of models do not, and should not import what it takes
    from fastapi import APIRouter

Reply = Sequence[AnyEvent] | InvalidEvent | TryAgain
Handler = Callable[[Sequence[Any]], Awaitable[Sequence[Reply]]]


def each(handle: Callable[[Any], Awaitable[Sequence[AnyEvent]]]) -> Handler:
    """A batch handler from one for a single event, whose InvalidEvent or TryAgain concerns that event only."""

    async def handle_batch(batch: Sequence[Any]) -> Sequence[Reply]:
        replies: list[Reply] = []
        for event in batch:
            try:
                replies.append(await handle(event))
            except (InvalidEvent, TryAgain) as error:
                replies.append(error)
        return replies

    return handle_batch


@dataclass(frozen=True, slots=True)
class Batching:
    """How records become batches: as soon as there are `records`, or `linger` seconds after the first."""

    records: int = 256
    linger: float = 0.01
    ahead: int = 1
    """Batches being handled at the same time; they are still committed in order."""
    bytes: int = 32 << 20
    """A batch holds no more, unless it is one record: what bounds a consumer's memory, times `ahead`."""
    weigh: Callable[[Record], int] | None = None
    """Bytes that a record stands for, where it names more than it holds; else those that it holds. Asked more than once
    for each record."""
    alone: int | None = None
    """A record of more bytes makes a batch by itself: what came before it is done without waiting for it."""
    pace: float = 0.0
    """Seconds from one batch to the next while records only trickle in: what comes meanwhile is handled together. The
    first after a silence does not wait, nor does a batch that is full at once."""
    worth: Callable[[], int] | None = None
    """Records that are worth a batch just now, where that changes: fewer than `records` make one then."""

    @property
    def full(self) -> int:
        """Records of the next batch."""
        return self.records if self.worth is None else max(1, min(self.records, self.worth()))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What TryAgain means: at most so many attempts, waiting longer each time."""

    attempts: int = 5
    longest: float = 300.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One consumer group and what it does with what it reads."""

    group: str
    topics: tuple[str, ...]
    on: Mapping[type[EventData], Handler]
    types: Mapping[str, type[EventData]] = field(default_factory=lambda: EVENTS)
    batching: Batching = Batching()
    retry: RetryPolicy = RetryPolicy()
    only: Callable[[Record], bool] | None = None
    """Which records are this group's, where several share the work of a topic; the others are passed over unread."""
    dead_letters_in_a_row: int | None = 100
    """More stop the process: not that many records are wrong, the consumer is. None for topics that others write."""


class Part(ABC):
    """Something a service keeps running: started before its first record, stopped after its last."""

    @abstractmethod
    async def start(self) -> None:
        """Get ready; returns when ready."""

    @abstractmethod
    async def stop(self) -> None:
        """Let go."""

    async def run(self) -> None:
        """What it does between start and stop; returning is fine, raising stops the process."""
        return


@dataclass(frozen=True, slots=True)
class Service:
    """A service, complete."""

    name: str
    subscriptions: tuple[Subscription, ...] = ()
    routers: "tuple[APIRouter, ...]" = ()
    parts: tuple[Part, ...] = ()
