"""Dead letters, replays, rebuilds, traces."""

from typing import Any

from .models import Result


class DeadLetter(Result):
    """A record that a group could not handle."""

    id: str
    group: str
    reason: str
    detail: str | None = None
    state: str
    """open, replayed or discarded"""
    at_ms: int | None = None
    attempts: int | None = None
    position: dict[str, Any] = {}
    original: dict[str, Any] = {}
    """Where the record was: topic, partition, offset, timestamp_ms, size."""
    project: str | None = None
    task: str | None = None
    type: str | None = None
    result: str | None = None
    """What a replay came to: succeeded, dead_lettered_again."""
    record: dict[str, Any] | None = None
    """The record as its sender wrote it; of one that was asked for by its id."""


class Work(Result):
    """Long work: a replay or a rebuild."""

    state: str
    """running, completed or failed"""
    done: int = 0
    total: int | None = None
    error: Any = None

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.state != "running"


class Replay(Work):
    """Dead letters that are handed to the groups that failed, again."""

    replay: str
    replayed: int = 0
    skipped: int = 0
    failed: int = 0
    succeeded: int = 0
    dead_lettered_again: int = 0
    waiting: int = 0
    """Handed over, and not handled yet."""


class Rebuild(Work):
    """A projection that is built anew from the log, beside the live one."""

    rebuild: str
    step: str = ""
    """reading, comparing, following or done"""
    mode: str = "switch"
    rate: float | None = None
    """Records a second."""
    equal: bool | None = None
    """Whether the two say the same; None until they were compared."""
    differences: dict[str, Any] = {}


class Hop(Result):
    """One step of a task."""

    hop: str
    """submitted, accepted, annotated, or the outcome of a model: created, failed, cancelled, expired."""
    at_ms: int
    after_ms: int | None = None
    """Since the hop before."""
    model: str | None = None


class Waiting(Result):
    """A model that has not answered."""

    model: str
    provider: str
    lane: str | None = None
    group: str | None = None
    since_ms: int
    behind: int | None = None
    """Records that the group has not handled."""


class Trace(Result):
    """The way of a task at its newest revision."""

    task: str
    id: str | None = None
    revision: int
    now_ms: int
    hops: tuple[Hop, ...] = ()
    waiting: tuple[Waiting, ...] = ()
