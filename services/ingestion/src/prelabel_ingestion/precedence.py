"""Who goes first where all lanes share one event loop: the dispatcher of a lane that may wait works in small portions.

Dispatching costs far less than predicting, so it runs ahead of every model: without this, whoever submits a hundred
thousand tasks has the loop to himself until the last of them is dispatched.

    bulk       hands the loop on after each portion
    backfill   waits, before each, until the loop has nothing else to do, for at most `PATIENCE` times as long as a
               portion takes: where everything is busy it still gets a fifth, where nothing is it waits for nothing
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from prelabel_runtime.service import Handler, Reply

PORTION = 64
"""Tasks, some ten milliseconds."""
PATIENCE = 4.0
IDLE_SECONDS = 0.0005
"""A loop that comes round sooner has nothing to do."""


def in_portions(handle: Handler) -> Handler:
    """Handles a batch bit by bit, and everybody else gets on between."""

    async def handle_batch(batch: Sequence[Any]) -> Sequence[Reply]:
        replies: list[Reply] = []
        for start in range(0, len(batch), PORTION):
            if start:
                await asyncio.sleep(0)
            replies += await handle(batch[start : start + PORTION])
        return replies

    return handle_batch


def after_everybody(handle: Handler, monotonic: Callable[[], float]) -> Handler:
    """Handles a batch bit by bit, each when nobody else has anything to do, or has had the loop for long."""
    took = 0.0

    async def handle_batch(batch: Sequence[Any]) -> Sequence[Reply]:
        nonlocal took
        replies: list[Reply] = []
        for start in range(0, len(batch), PORTION):
            await _until_idle(PATIENCE * took, monotonic)
            began = monotonic()
            replies += await handle(batch[start : start + PORTION])
            took = monotonic() - began
        return replies

    return handle_batch


class Apart:
    """Handles what is about one task one after the other, whichever groups it comes through: what one of them writes
    down about it, the next one sees."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._under_way: dict[str, asyncio.Future[None]] = {}

    async def __call__(self, batch: Sequence[Any]) -> Sequence[Reply]:
        """As the handler does, once nobody else is at one of the batch's tasks."""
        uids = {e.data.task for e in batch}
        while others := {self._under_way[uid] for uid in uids if uid in self._under_way}:
            await asyncio.wait(others)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way |= dict.fromkeys(uids, done)
        try:
            return await self._handle(batch)
        finally:
            for uid in uids:
                del self._under_way[uid]
            done.set_result(None)


async def _until_idle(seconds: float, monotonic: Callable[[], float]) -> None:
    """Return when the loop comes round at once, or after some time."""
    now = monotonic()
    end = now + seconds
    while now < end:
        await asyncio.sleep(0)
        before, now = now, monotonic()
        if now - before < IDLE_SECONDS:
            return
