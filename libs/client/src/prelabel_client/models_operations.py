"""Dead letters, replays, rebuilds, traces."""

from typing import Any

from .models import Result


class DeadLetter(Result):
    """A record that a group could not handle."""

    id: str
    group: str
    reason: str
    detail: str | None = None
    state: str = "open"
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    at_ms: int | None = None


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


class Rebuild(Work):
    """A projection that is built anew from the log, beside the live one."""

    rebuild: str


class Hop(Result):
    """One step in a task's life."""

    hop: str
    at_ms: int | None = None


class Trace(Result):
    """The hops of a task."""

    task: str
    hops: tuple[Hop, ...] = ()
