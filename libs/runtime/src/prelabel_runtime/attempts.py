"""Counting deaths: how a record that kills its process is found.

A process that dies leaves its records uncommitted, so the next one reads them again, and dies again. What survives is
the note that a bus keeps with a committed offset. Before a member handles its first record of a partition it notes one
more attempt at that offset; progress clears the note. From the third attempt on records run one by one, each marked in
the note before it begins. If that process dies, the marked record is the culprit, provided that nothing else was at
work in its process (`Mark.ALONE`, see floor.py). If other groups were (`Mark.AMONG`), each of them may have left such
a mark: the record runs once more, alone.

Graceful ends clear nothing and count nothing: they leave no uncommitted record in progress.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Self

import orjson

LIMIT = 3
"""The attempt from which on records run one by one."""


class Mark(IntEnum):
    """How the next record was begun, when records run one by one."""

    NOT_BEGUN = 0
    ALONE = 1
    AMONG = 2
    """Other groups of its process were at work meanwhile."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """The note of one partition. `alone` records more run one by one; `marked`: how the next one was begun."""

    count: int = 0
    alone: int = 0
    marked: Mark = Mark.NOT_BEGUN

    @classmethod
    def read(cls, note: str) -> Self:
        """From a note; one that is not ours counts as none."""
        try:
            count, alone, marked = orjson.loads(note) if note else (0, 0, 0)
            return cls(int(count), int(alone), Mark(int(marked)))
        except (orjson.JSONDecodeError, TypeError, ValueError):
            return cls()

    def note(self) -> str:
        """For the bus to keep; empty when there is nothing to say."""
        return orjson.dumps([self.count, self.alone, int(self.marked)]).decode() if self.count else ""

    def begun(self, batch_records: int) -> Self:
        """One more process begins at this offset."""
        count = self.count + 1
        return replace(self, count=count, alone=max(self.alone, batch_records) if count >= LIMIT else 0)

    @property
    def one_by_one(self) -> bool:
        """Whether the next record runs alone."""
        return self.count >= LIMIT and self.alone > 0

    @property
    def culprit(self) -> bool:
        """Whether the next record has killed a process in which nothing else was at work."""
        return self.one_by_one and self.marked is Mark.ALONE

    @property
    def suspect(self) -> bool:
        """Whether the next record, or another group's, has killed a process."""
        return self.one_by_one and self.marked is Mark.AMONG

    def mark(self, how: Mark) -> Self:
        """The next record begins."""
        return replace(self, marked=how)

    def withdrawn(self) -> Self:
        """This process was not ended by what it handles: it waits for something else."""
        return replace(self, count=self.count - 1, marked=Mark.NOT_BEGUN) if self.count else self

    def passed(self) -> "Attempts":
        """That record is done."""
        return Attempts() if self.alone <= 1 else replace(self, alone=self.alone - 1, marked=Mark.NOT_BEGUN)
