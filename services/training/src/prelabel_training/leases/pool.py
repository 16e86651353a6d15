"""The open pool: tasks of a project that nobody annotated, with what their newest predictions leave in doubt.

A bounded look. A project of up to `STEP` tasks is seen whole; of a larger one so many are looked at from each of some
moments that are drawn between its first task and its last, until enough are open. Only where that finds too few, tasks
are walked through in their order, `MOST` of them at most. No body is read, and no table is scanned: the price is that
of the places in an index that were looked at, whatever the project holds.

Read from the live generation of the projection, whichever process this is.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from prelabel_runtime.store.base import Doubt, Projected, Store
from prelabel_runtime.store.paging import PageKey

STEP: Final = 5_000
"""Tasks that are looked at in one step; a project of no more is seen whole."""
WINDOWS: Final = 4
"""Steps at drawn moments."""
MOST: Final = 100_000
"""Tasks that are looked at, at most."""
POOL: Final = 5_000
"""Open tasks that are taken into account; of more they are drawn."""


@dataclass(frozen=True, slots=True)
class Open:
    """A task that nobody annotated."""

    task: str
    """Its uid."""
    newest: tuple[Doubt, ...] = ()
    """The newest prediction of each model that has one, by model."""

    def uncertainty(self, model: str | None = None) -> float | None:
        """How much that model doubts; without one, the model that doubts most. None: not known."""
        told = [one.uncertainty for one in self.newest if model in (None, one.model)]
        return max((one for one in told if one is not None), default=None)


@dataclass(frozen=True, slots=True)
class Pool:
    """What was found open."""

    tasks: tuple[Open, ...]
    """By uid."""
    seen: int
    """Tasks that were looked at."""
    whole: bool
    """These are all the tasks of the project: what is not here is not open."""


@dataclass(slots=True)
class _Found:
    """What has been seen so far."""

    uids: set[str] = field(default_factory=set)
    seen: int = 0


class Pools:
    """Reads the open tasks of projects."""

    def __init__(self, store: Store, rng: random.Random) -> None:
        self._store = store
        self._rng = rng
        self._live: Projected | None = None

    async def live(self) -> Projected:
        """The projection that is live now. Held for the length of a call."""
        number = await self._store.generations.current()
        if self._live is None or self._live.generation != number:
            self._live = await self._store.generation(number)
        return self._live

    async def read(self, project: str, models: Iterable[str], *, wanted: int) -> Pool:
        """Open tasks: `wanted` of them at least, if so many are found by looking at `MOST` tasks.

        `models`: those whose predictions count, the project's as it is now.
        """
        live = await self.live()
        found, whole = await self._look(live, project, wanted)
        uids = sorted(found.uids)
        if len(uids) > POOL:
            uids = sorted(self._rng.sample(uids, POOL))
        doubts = await live.outcomes.doubts(uids)
        of = frozenset(models)
        return Pool(tuple(Open(uid, newest(doubts.get(uid, ()), of)) for uid in uids), found.seen, whole)

    async def _look(self, live: Projected, project: str, wanted: int) -> tuple[_Found, bool]:
        first, after = await live.tasks.unannotated(project, scan=STEP)
        if after is None:
            return _Found(set(first), STEP), True
        drawn = await self._drawn(live, project)
        if len(drawn.uids) >= wanted:
            return drawn, False
        drawn.uids.update(first)
        drawn.seen += STEP
        while after is not None and drawn.seen < MOST and len(drawn.uids) < wanted:
            step, after = await live.tasks.unannotated(project, scan=STEP, after=after)
            drawn.uids.update(step)
            drawn.seen += STEP
        return drawn, after is None

    async def _drawn(self, live: Projected, project: str) -> _Found:
        found = _Found()
        oldest = await live.tasks.page(project, limit=1)
        latest = await live.tasks.newest(project, limit=1)
        for _ in range(WINDOWS if oldest and latest else 0):
            moment = self._rng.randint(oldest[0][0].ms, max(oldest[0][0].ms, latest[0].first_ms))
            step, _ = await live.tasks.unannotated(project, scan=STEP, after=PageKey(moment, ""))
            found.uids.update(step)
            found.seen += STEP
        return found


def newest(doubts: Sequence[Doubt], models: frozenset[str]) -> tuple[Doubt, ...]:
    """Of each of the models the prediction that stands: of the newest revision, last in the log, not replaced."""
    standing = {one.model: one for one in doubts if one.model in models and one.superseded_by is None}
    return tuple(standing[model] for model in sorted(standing))
