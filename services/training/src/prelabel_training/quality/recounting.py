"""Quality for all who look: counted once for those who wait at the same moment, and not again at once.

Counting reads everything that was ever said of a project. What was counted is shown again for some times as long as
counting took: whoever asks, and however often, a large project costs a part of the time, and a small one is fresh.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from prelabel_contract.projects import Project
from prelabel_runtime.clock import Clock

from .quality import Quality

FRESH_SECONDS: Final = 1.0
"""It is shown again for so long at least."""
STALE_SECONDS: Final = 60.0
"""And at most."""
_TIMES: Final = 10
"""As long as counting took, so often."""
_REMEMBERED: Final = 200
"""Projects."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The quality of a project at some moment."""

    quality: Quality
    of: Project
    """As it was then."""
    at_ms: int
    until: float
    """It is shown until then, by the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Recounting:
    """Counts when it is time to."""

    count: Callable[[Project], Awaitable[Quality]]
    clock: Clock
    _known: OrderedDict[str, Counted] = field(default_factory=OrderedDict)
    _running: dict[str, tuple[Project, asyncio.Task[Counted]]] = field(default_factory=dict)

    async def of(self, project: Project) -> Counted:
        """What was counted last, or is now; a count that fails fails for all who wait for it."""
        known = self._known.get(project.id)
        if known is not None and known.of == project and self.clock.monotonic() < known.until:
            return known
        asked, counting = self._running.get(project.id, (None, None))
        if counting is None or asked != project:
            counting = asyncio.create_task(self._count(project))
            self._running[project.id] = project, counting  # kept here, since whoever waits may leave
            counting.add_done_callback(partial(self._counted, project.id))
        return await asyncio.shield(counting)

    async def _count(self, project: Project) -> Counted:
        at_ms, began = self.clock.now_ms(), self.clock.monotonic()
        quality = await self.count(project)
        ended = self.clock.monotonic()
        shown = min(max(FRESH_SECONDS, _TIMES * (ended - began)), STALE_SECONDS)
        counted = self._known[project.id] = Counted(quality, project, at_ms, ended + shown)
        self._known.move_to_end(project.id)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return counted

    def _counted(self, project: str, done: asyncio.Task[Counted]) -> None:
        if self._running[project][1] is done:
            del self._running[project]
        if not done.cancelled():
            done.exception()  # told to those who still wait; there may be none
