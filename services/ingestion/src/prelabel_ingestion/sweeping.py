"""Blobs of tasks that nobody knows: a door that died between storing a blob and publishing its task leaves such.

They harm nobody, and their sender sends again; they only take room. What is deleted here is looked at twice: it is old,
and its task was never dispatched or is deleted. And never much at once: if many tasks seem to be unknown, then it is
the store that has forgotten them, and their blobs are all that is left.
"""

import contextlib
from collections.abc import Sequence

from prelabel_runtime import log
from prelabel_runtime.blobs import Blobs, Kept
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.service import Part
from prelabel_runtime.store.base import DELETED, Submissions

EVERY_SECONDS = 6 * 3600.0
AT_ONCE = 500
ALWAYS_FEW = 100
MOST = 0.1
"""Of the tasks with old blobs: more unknown ones than this, and more than ALWAYS_FEW, are left alone."""
_log = log.get("prelabel.ingestion.sweeping")


class Sweeper(Part):
    """Deletes blobs of unknown tasks that are older than so many days."""

    def __init__(self, blobs: Blobs, submissions: Submissions, clock: Clock, *, days: float) -> None:
        self._blobs = blobs
        self._submissions = submissions
        self._clock = clock
        self._days = days

    async def start(self) -> None:
        """Nothing to get ready."""

    async def stop(self) -> None:
        """Nothing to let go."""

    async def run(self) -> None:
        """Look every six hours, the first time when what was submitted before has been dispatched."""
        while self._days > 0:
            await self._clock.sleep(EVERY_SECONDS)
            with contextlib.suppress(Unavailable):
                await self.sweep()

    async def sweep(self) -> int:
        """Delete what may go; returns the number of tasks whose blobs went."""
        before = self._clock.now_ms() - int(self._days * 86_400_000)
        old = await self._blobs.tasks_older_than(before)
        unknown = [kept for start in range(0, len(old), AT_ONCE) for kept in await self._unknown(old, start)]
        if len(unknown) > max(ALWAYS_FEW, MOST * len(old)):
            _log.error("too many tasks with blobs are unknown, nothing was swept", old=len(old), unknown=len(unknown))
            return 0
        for kept in unknown:
            await self._blobs.delete_of_task(kept.project, kept.task)
        if unknown:
            _log.info("blobs of unknown tasks deleted", tasks=len(unknown))
        return len(unknown)

    async def _unknown(self, old: Sequence[Kept], start: int) -> Sequence[Kept]:
        some = old[start : start + AT_ONCE]
        known = await self._submissions.get_many([kept.task for kept in some])
        return [kept for kept in some if kept.task not in known or known[kept.task].content == DELETED]
