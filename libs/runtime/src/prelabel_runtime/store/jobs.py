"""Long work that outlives the process that does it: what was asked for, how far it is, and who is at it.

A job is held under a lease: `take` is a compare-and-set, and `save` writes nothing once somebody else holds it. Jobs of
one kind run one after the other, the oldest first. Times are those of the callers: their clocks must agree to within a
few seconds, or two of them do the same step twice (which every step bears).

One suite (prelabel_runtime.testing.jobs) proves it on every implementation.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """How far a job is. The last two are final."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job."""

    job: str
    kind: str
    created_ms: int
    spec: str
    """JSON: what was asked for."""
    state: JobState = JobState.RUNNING
    done: int = 0
    total: int | None = None
    progress: str = "{}"
    """JSON: where to go on, and what came of it so far."""
    error: str = ""
    """JSON: the problem that ended it; empty without one."""
    holder: str = ""
    until_ms: int = 0
    """When the holder's lease ends."""


class Jobs(ABC):
    """Jobs, one per id."""

    @abstractmethod
    async def create(self, job: StoredJob) -> bool:
        """Insert it; False if there is one of that id."""

    @abstractmethod
    async def get(self, kind: str, job: str) -> StoredJob | None:
        """One job."""

    @abstractmethod
    async def take(self, kind: str, holder: str, *, now_ms: int, until_ms: int) -> StoredJob | None:
        """The oldest running job of a kind, if nobody else holds it; it is held until `until_ms` then."""

    @abstractmethod
    async def save(self, job: StoredJob) -> bool:
        """Write state, counts, progress, error and lease. False, and nothing written, if `job.holder` has lost it."""

    @abstractmethod
    async def running(self, kind: str) -> Sequence[StoredJob]:
        """Those that are not at their end, oldest first."""
