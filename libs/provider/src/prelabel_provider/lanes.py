"""One model, several lanes: whose turn it is."""

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator
from itertools import count

from prelabel_contract.names import Lane

URGENCY = {Lane.INTERACTIVE: 0, Lane.BULK: 1, Lane.BACKFILL: 2}


class Turns:
    """A lock that goes to the most urgent lane first: an interactive batch waits for at most one running batch."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    @contextlib.asynccontextmanager
    async def turn(self, lane: Lane) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the block."""
        if self._taken:
            mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (URGENCY[lane], next(self._order), mine))
            try:
                await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled():
                    self._pass_on()
                raise
        self._taken = True
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            _, _, next_one = heapq.heappop(self._waiting)
            if not next_one.cancelled():
                next_one.set_result(None)
                return
        self._taken = False
