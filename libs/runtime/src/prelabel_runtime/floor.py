"""Who is at work in a process at the same time: batches together, a record under suspicion alone.

The loops of one process die together, so a death says nothing about which of them caused it. Whoever is to be blamed
for one must have had the floor to itself.
"""

import asyncio
from collections.abc import Callable


class Place:
    """A place on the floor, until it is left."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave: Callable[[], None] | None = leave

    def leave(self) -> None:
        """Leave it; once is enough, and more does no harm."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


class Floor:
    """Shared by all loops of a process."""

    def __init__(self) -> None:
        self._together = 0
        self._suspects = 0
        """Those who have it to themselves, or wait for that: nobody begins while there are any."""
        self._taken = False
        self._changed = asyncio.Event()

    async def together(self) -> Place:
        """Wait until nobody is, or wants to be, alone."""
        while (place := self.together_now()) is None:
            await self._changed.wait()
        return place

    def together_now(self) -> Place | None:
        """A place if nobody is, or wants to be, alone."""
        if self._suspects:
            return None
        self._together += 1
        return Place(self._leave)

    async def alone(self) -> Place:
        """Wait until nobody else is at work; then nobody begins until this place is left."""
        self._suspects += 1
        try:
            while self._together or self._taken:
                await self._changed.wait()
        except asyncio.CancelledError:
            self._suspects -= 1
            self._tell()
            raise
        self._taken = True
        return Place(self._leave_alone)

    def alone_now(self) -> Place | None:
        """The floor to itself if it is empty; None if it is not."""
        if self._together or self._suspects:
            return None
        self._suspects, self._taken = 1, True
        return Place(self._leave_alone)

    def _leave(self) -> None:
        self._together -= 1
        self._tell()

    def _leave_alone(self) -> None:
        self._taken = False
        self._suspects -= 1
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
