"""What the webhooks service keeps: where each endpoint stands in the log, what is still owed to it, what was sent.

Same promises as in `base`; one suite (prelabel_runtime.testing.deliveries) proves them on every implementation. Two
things differ, since only one process at a time may deliver to an endpoint:

* An endpoint's document is held under a lease. `claim` is a compare-and-set and counts an epoch up; `save` names the
  epoch, and writes nothing once somebody else has claimed. Times are those of the callers: their clocks must agree to
  within a few seconds, or two of them deliver the same for a while (which receivers must bear anyway).
* A delivery is kept as it was at its latest attempt: the greatest (at_ms, rank of state) wins.

No payload is kept: a delivery names the place of its event in the log.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .paging import PageKey


class DeliveryState(StrEnum):
    """How far a delivery is. The last two are final, until somebody asks for it again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"


DELIVERY_RANK: Mapping[str, int] = {
    DeliveryState.PENDING: 0,
    DeliveryState.EXHAUSTED: 1,
    DeliveryState.DELIVERED: 2,
}


@dataclass(frozen=True, slots=True)
class StoredEndpoint:
    """Where an endpoint stands. `body` is its owner's JSON; `until_ms` is when the owner's lease ends."""

    subscription: str
    owner: str
    epoch: int
    until_ms: int
    body: str


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """One event to one endpoint, as of its latest attempt."""

    id: str
    """The webhook-id: derived from event and endpoint, the same for every attempt."""
    subscription: str
    event: str
    type: str
    project: str
    task: str | None
    topic: str
    partition: int
    offset: int
    event_ms: int
    """When the event happened: the order of listings."""
    state: DeliveryState
    attempts: int
    at_ms: int
    """The latest attempt."""
    next_ms: int
    """The next one, if pending."""
    body: str = "[]"
    """JSON: the attempts, oldest first."""


class RecoveryState(StrEnum):
    """How far a recovery is. The last two are final."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StoredRecovery:
    """Events since a moment, to be delivered again. `body` is its worker's JSON."""

    id: str
    subscription: str
    since_ms: int
    until_ms: int
    created_ms: int
    state: RecoveryState
    done: int
    body: str = "{}"
    error: str = ""


@dataclass(frozen=True, slots=True)
class Owed:
    """What is pending for an endpoint."""

    count: int
    oldest_ms: int
    """When the oldest of the events happened."""


class Endpoints(ABC):
    """Endpoints, one document each, held by one owner at a time."""

    @abstractmethod
    async def create(self, subscription: str, body: str) -> None:
        """There is such an endpoint, and nobody's. One that exists stays as it is."""

    @abstractmethod
    async def claim(self, subscription: str, owner: str, now_ms: int, until_ms: int) -> StoredEndpoint | None:
        """Take it if it is nobody's, ours, or its lease has ended; its epoch counts up. None if held, or unknown."""

    @abstractmethod
    async def renew(self, owner: str, epochs: Mapping[str, int], until_ms: int) -> frozenset[str]:
        """Hold on to endpoints, by subscription; those that are still ours under that epoch."""

    @abstractmethod
    async def save(self, subscription: str, epoch: int, body: str) -> bool:
        """Write its body. False, and nothing is written, if it was claimed since, or is gone."""

    @abstractmethod
    async def release(self, subscription: str, epoch: int) -> None:
        """Nobody's from now on, if it is still ours."""

    @abstractmethod
    async def delete(self, subscription: str) -> None:
        """Forget it."""

    @abstractmethod
    async def all(self) -> Mapping[str, StoredEndpoint]:
        """All of them."""


class Deliveries(ABC):
    """Deliveries that have failed so far, and a bounded number of those that are over."""

    @abstractmethod
    async def put(self, deliveries: Sequence[StoredDelivery]) -> None:
        """Write them."""

    @abstractmethod
    async def get(self, subscription: str, delivery: str) -> StoredDelivery | None:
        """One."""

    @abstractmethod
    async def get_many(self, deliveries: Sequence[str]) -> Mapping[str, StoredDelivery]:
        """Those that are known."""

    @abstractmethod
    async def due(self, subscription: str, before_ms: int, *, limit: int) -> Sequence[StoredDelivery]:
        """Pending ones whose next attempt is due at `before_ms` or earlier, the earliest first."""

    @abstractmethod
    async def owed(self) -> Mapping[str, Owed]:
        """What is pending, by subscription."""

    @abstractmethod
    async def page(
        self,
        subscription: str,
        *,
        limit: int,
        after: PageKey | None = None,
        state: DeliveryState | None = None,
        since_ms: int = 0,
        type: str | None = None,  # noqa: A002 - the event's
        task: str | None = None,
        projects: Sequence[str] | None = None,
    ) -> Sequence[StoredDelivery]:
        """Deliveries of events since a moment, the newest event first; `after` is (event_ms, id) of the last one.

        With `projects`: of events of these only.
        """

    @abstractmethod
    async def requeue(self, subscription: str, since_ms: int, until_ms: int, now_ms: int) -> int:
        """Make exhausted deliveries of events in [since_ms, until_ms) due now; how many. They begin a new schedule."""

    @abstractmethod
    async def trim(self, subscription: str, state: DeliveryState, *, keep: int, since_ms: int) -> None:
        """Forget those in a final state that are older (by attempt) than since_ms or than the newest `keep`."""

    @abstractmethod
    async def delete_of(self, subscription: str) -> None:
        """Forget all of an endpoint."""


class Recoveries(ABC):
    """Recoveries, one document each; a final state is final."""

    @abstractmethod
    async def put(self, recovery: StoredRecovery) -> None:
        """Write it, unless it is there in a final state."""

    @abstractmethod
    async def get(self, subscription: str, recovery: str) -> StoredRecovery | None:
        """One."""

    @abstractmethod
    async def running(self) -> Sequence[StoredRecovery]:
        """Those of all endpoints that have not ended, oldest first."""

    @abstractmethod
    async def delete_of(self, subscription: str) -> None:
        """Forget all of an endpoint."""
