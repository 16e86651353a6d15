"""What there is to learn from, derived from what is stored each time that somebody asks.

Nothing is counted up along the way, so no redelivery and no crash can change a count. It is made cheap by remembering
how each task looked through each lens: a task is read and hashed again only when its revision or its annotations
change. What remains of a look is reading the rows.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from prelabel_contract.projects import Project
from prelabel_runtime.store.base import Store, StoredAnnotation, StoredTask

from ..triggers.triggers import Facts
from .fingerprint import fingerprint
from .holdout import in_holdout
from .lens import Left, Lens, Seen
from .live import live_tasks
from .shares import Shares

PAGE: Final = 500
"""Annotations read at once."""
_AT_ONCE: Final = 10
"""Tasks that are looked at before others have their turn: texts may be long, and models many."""
REMEMBERED: Final = 200_000
"""Tasks whose look is kept, in all: some 300 bytes each."""

Row = tuple[str, StoredTask | None, Sequence[StoredAnnotation]]
"""A task by its uid, itself, and what was said about it, oldest first."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What one model could learn from now."""

    facts: Facts
    held_out: int
    """Usable examples that no model learns from."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Tasks with annotations that are no examples, by reason (`Left`)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who asks: a model's lens, and the cut of its last training (-1: none), after which examples are new."""

    lens: Lens
    since: int = -1


async def annotated_tasks(store: Store, project: str) -> AsyncIterator[Sequence[Row]]:
    """Every task of a project that something was said about, a few at a time, in the order of the uids."""
    after: str | None = None
    while page := await store.examples.annotations(project, limit=PAGE, after=after):
        by_task = {task: list(some) for task, some in groupby(page, key=lambda one: one.task)}
        found = await live_tasks(store, list(by_task))
        rows: list[Row] = [
            (uid, task if (task := found.get(uid)) is not None and task.project == project else None, said)
            for uid, said in by_task.items()
        ]
        for first in range(0, len(rows), _AT_ONCE):
            yield rows[first : first + _AT_ONCE]
            await asyncio.sleep(0)
        after = page[-1].task


class Survey:
    """Looks at a store."""

    def __init__(self, store: Store, shares: Shares, *, remembered: int = REMEMBERED) -> None:
        self._store = store
        self._shares = shares
        self._looks = _Looks(remembered)

    async def of(self, project: Project, wanted: Mapping[str, Wanted]) -> Mapping[str, Surveyed]:
        """What each of these models of a project could learn from now."""
        share = await self._shares.of(project)
        tallies = {name: _Tally(one) for name, one in wanted.items()}
        async for rows in annotated_tasks(self._store, project.id):
            for row in rows:
                held_out = in_holdout(project.id, row[0], share)
                for tally in tallies.values():
                    tally.add(row, held_out, self._looks.at(row, tally.wanted.lens))
        return {name: await tally.done() for name, tally in tallies.items()}


class _Tally:
    """What was found for one model so far."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._examples: list[tuple[str, str]] = []
        self._left: Counter[str] = Counter()
        self._held_out = 0
        self._new = 0
        self._cut = -1

    def add(self, row: Row, held_out: bool, look: Seen | Left) -> None:
        uid, _, said = row
        self._cut = max(self._cut, *(one.offset for one in said))
        if isinstance(look, Left):
            self._left[str(look)] += 1
        elif held_out:
            self._held_out += 1
        else:
            self._examples.append((uid, look.content))
            self._new += look.offset > self.wanted.since

    async def done(self) -> Surveyed:
        named = await asyncio.to_thread(fingerprint, self._examples)
        return Surveyed(Facts(len(self._examples), named, self._cut, self._new), self._held_out, dict(self._left))


class _Looks:
    """How tasks looked, those that were asked about last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: OrderedDict[tuple[str, str], tuple[tuple[int, ...], Seen | Left]] = OrderedDict()

    def at(self, row: Row, lens: Lens) -> Seen | Left:
        uid, task, said = row
        # An offset is one version of one annotation of the project: its annotations lie in one partition.
        stamp = (-1 if task is None else task.revision, *(one.offset for one in said))
        key = (lens.name, uid)
        known = self._known.get(key)
        if known is not None and known[0] == stamp:
            self._known.move_to_end(key)
            return known[1]
        lesson = lens.lesson(said, task)
        look = lesson if isinstance(lesson, Left) else lesson.seen
        self._known[key] = stamp, look
        self._known.move_to_end(key)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
        return look
