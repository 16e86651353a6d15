"""The index of dead letters: what was set aside for a person to look at, what was decided, and what came of it.

The letters themselves lie in the groups' topics; this is what can be listed and searched. It is projected from those
topics and from the audit, so every write bears repetition and any order, as all of `base`'s do: a letter is inserted
once, the earliest decision about it stays, its end is the earliest that was heard of. A decision may be written before
its letter; nobody finds it until that is there.

Claims are no projection: they say who may decide about a letter now, and nothing but this process's kin writes them.
One suite (prelabel_runtime.testing.dead_letters) proves all of it on every implementation.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .paging import PageKey


class LetterState(StrEnum):
    """What was decided about a letter."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter as it was written."""

    letter: str
    """Derived from group, partition and offset."""
    group: str
    partition: int
    offset: int
    """Its place in the group's dead letters."""
    at_ms: int
    """When it was given up: the order of listings."""
    reason: str
    detail: str
    topic: str
    """Where the record first stood, with the three that follow."""
    origin_partition: int
    origin_offset: int
    origin_ms: int
    attempts: int
    follows: str | None = None
    """The letter that this one is a replay of."""
    project: str | None = None
    task: str | None = None
    type: str | None = None
    """What the record says it is about, where that can be read."""
    size: int = 0
    """Bytes of the original value."""
    whole: bool = True
    """Whether `record` holds all of it; if not, the log does."""
    record: str = "{}"
    """JSON: key, value and headers of the original, in base64."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decided about a letter."""

    letter: str
    state: LetterState
    at_ms: int
    actor: str
    replay: str | None = None
    """The replay that it was part of."""
    why: str = ""
    """The reason given for discarding it."""


@dataclass(frozen=True, slots=True)
class KnownLetter:
    """A letter and all that became of it."""

    letter: StoredLetter
    decision: Decision | None = None
    resolved_ms: int | None = None
    """When its group handled it after all."""
    again: str | None = None
    """The letter it became when its replay failed, too."""

    @property
    def state(self) -> LetterState:
        """What was decided."""
        return self.decision.state if self.decision is not None else LetterState.OPEN


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant; None does not narrow."""

    group: str | None = None
    reason: str | None = None
    state: LetterState | None = None
    replay: str | None = None
    projects: frozenset[str] | None = None
    """Only letters that are known to be of one of these."""


@dataclass(frozen=True, slots=True)
class ReplayResults:
    """What became of the letters of a replay, so far."""

    succeeded: int
    again: int
    """Dead letters once more."""
    waiting: int


class DeadLetters(ABC):
    """The index, one row per letter."""

    @abstractmethod
    async def put(self, letters: Sequence[StoredLetter]) -> None:
        """Insert those that are not there; a letter of a deleted task is left out."""

    @abstractmethod
    async def decide(self, decisions: Sequence[Decision]) -> None:
        """Write decisions; of several about one letter the earliest stays."""

    @abstractmethod
    async def resolve(self, letters: Mapping[str, int]) -> None:
        """Letters that their group handled after all, and when (ms)."""

    @abstractmethod
    async def delete_of_tasks(self, tasks: Sequence[str]) -> None:
        """Forget the letters that are known to be about tasks, also against what comes late."""

    @abstractmethod
    async def get_many(self, letters: Sequence[str]) -> Mapping[str, KnownLetter]:
        """Those that are known."""

    @abstractmethod
    async def page(self, wanted: LetterFilter, *, limit: int, after: PageKey | None = None) -> Sequence[KnownLetter]:
        """Newest first; `after` is (at_ms, letter) of the last one seen."""

    @abstractmethod
    async def backlog(
        self, wanted: LetterFilter, *, until_ms: int, limit: int, after: PageKey | None = None
    ) -> Sequence[KnownLetter]:
        """Those given up at or before a moment, oldest first."""

    @abstractmethod
    async def count(self, wanted: LetterFilter, *, until_ms: int | None = None) -> int:
        """How many; with `until_ms` only those given up at or before that moment."""

    @abstractmethod
    async def counts(self) -> Mapping[str, Mapping[LetterState, int]]:
        """Letters per group and state."""

    @abstractmethod
    async def results(self, replay: str) -> ReplayResults:
        """What became of the letters of a replay."""

    @abstractmethod
    async def of_task(self, task: str) -> Sequence[KnownLetter]:
        """Letters that are known to be about a task, oldest first."""

    async def get(self, letter: str) -> KnownLetter | None:
        """One letter."""
        return (await self.get_many([letter])).get(letter)


class LetterClaims(ABC):
    """Who may decide about a letter: the first to ask, until it lets go."""

    @abstractmethod
    async def claim(self, letters: Sequence[str], by: str) -> Mapping[str, str]:
        """Claim what nobody holds; returns who holds each of them now. A compare-and-set per letter."""

    @abstractmethod
    async def release(self, letters: Sequence[str], by: str) -> None:
        """Let go of what `by` holds."""
