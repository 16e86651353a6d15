"""Waiting for outcomes: what is published on `replies` under a correlation id reaches the request that waits for it."""

import asyncio
import contextlib
import random
from collections.abc import Iterator

from prelabel_contract import cloudevents, names
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import AnyEvent
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.retry import backoff
from prelabel_runtime.service import Part


class Replies(Part):
    """Follows `replies` from the end, without a group: every replica sees all and keeps what it waits for."""

    def __init__(self, bus: Bus, rng: random.Random) -> None:
        self._reader = bus.reader((names.REPLIES,), start="end")
        self._rng = rng
        self._waiting: dict[str, asyncio.Queue[AnyEvent]] = {}

    async def start(self) -> None:
        """From here on nothing is missed."""
        await self._reader.start()

    async def stop(self) -> None:
        """Close."""
        await self._reader.stop()

    async def run(self) -> None:
        """Hand replies to those who wait."""
        waits = backoff(0.2, 5.0, self._rng)
        while True:
            try:
                records = await self._reader.poll(500, 1.0)
            except Unavailable:
                await asyncio.sleep(next(waits))
                continue
            for record in records:
                key = record.key.decode(errors="replace") if record.key else ""
                if (queue := self._waiting.get(key)) is not None:
                    with contextlib.suppress(InvalidEvent):
                        if reply := cloudevents.decode(
                            record.headers, record.value, topic=record.topic, key=record.key
                        ):
                            queue.put_nowait(reply)

    @contextlib.contextmanager
    def expect(self, correlation: str) -> Iterator["asyncio.Queue[AnyEvent]"]:
        """The replies under a correlation id, from now until the block ends."""
        queue = self._waiting[correlation] = asyncio.Queue()
        try:
            yield queue
        finally:
            del self._waiting[correlation]
