"""Counting deaths: how a record that kills its process is found.

A process that dies leaves its records uncommitted, so the next one reads them again, and dies again. What survives is
the note that a bus keeps with a committed offset. Before a member handles its first record of a partition it notes one
more attempt at that offset; progress clears the note. From the third attempt on records run one by one, each marked in
the note before it begins: if that process dies as well, the marked record is the culprit.

Graceful ends clear nothing and count nothing: they leave no uncommitted record in progress.
"""

from dataclasses import dataclass, replace
from typing import Self

import orjson

LIMIT = 3
"""The attempt from which on records run one by one."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """The note of one partition. `alone` records more run one by one; `marked`: the next one was begun that way."""

    count: int = 0
    alone: int = 0
    marked: bool = False

    @classmethod
    def read(cls, note: str) -> Self:
        """From a note; one that is not ours counts as none."""
        try:
            count, alone, marked = orjson.loads(note) if note else (0, 0, 0)
            return cls(int(count), int(alone), bool(marked))
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
        """Whether the next record has killed a process while it ran alone."""
        return self.one_by_one and self.marked

    def mark(self) -> Self:
        """The next record begins, alone."""
        return replace(self, marked=True)

    def withdrawn(self) -> Self:
        """This process was not ended by what it handles: it waits for something else."""
        return replace(self, count=self.count - 1, marked=False) if self.count else self

    def passed(self) -> "Attempts":
        """That record is done."""
        return Attempts() if self.alone <= 1 else replace(self, alone=self.alone - 1, marked=False)
