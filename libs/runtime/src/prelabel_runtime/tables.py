"""State that travels on compacted topics, kept in memory by whoever needs it: the newest value per key."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from prelabel_contract import cloudevents
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import AnyEvent, Event, EventData

from . import log
from .bus.base import Bus, Partition, Record
from .errors import Unavailable
from .retry import backoff
from .service import Part

T = TypeVar("T", bound=EventData)
_log = log.get("prelabel.tables")


class Table(Part, Generic[T]):
    """The newest event of one type per key of a compacted topic."""

    def __init__(self, bus: Bus, topic: str, kind: type[T], *, rng: random.Random) -> None:
        self._bus = bus
        self._topic = topic
        self._kind = kind
        self._rng = rng
        self._rows: dict[str, T] = {}
        self._moved = asyncio.Condition()
        self._reader = bus.reader((topic,), start="beginning")

    async def start(self) -> None:
        """Read what is there; returns when caught up."""
        await self._reader.start()
        ends = await self._reader.ends()
        while await self._reader.behind(ends):
            self._take(await self._reader.poll(1000, 0.5))

    async def stop(self) -> None:
        """Close."""
        await self._reader.stop()

    async def run(self) -> None:
        """Follow the topic."""
        waits = backoff(0.2, 10.0, self._rng)
        while True:
            try:
                records = await self._reader.poll(1000, 1.0)
            except Unavailable:
                await asyncio.sleep(next(waits))
                continue
            waits = backoff(0.2, 10.0, self._rng)
            if records:
                self._take(records)
            async with self._moved:
                self._moved.notify_all()

    def get(self, key: str) -> T | None:
        """The newest value of a key that has been read."""
        return self._rows.get(key)

    def rows(self) -> Mapping[str, T]:
        """All of them."""
        return self._rows

    async def find(self, key: str, *, timeout: float = 10.0) -> T | None:
        """The value of a key, after reading everything that is in the topic now if it is not known yet.

        Raises `Unavailable` if the topic cannot be read to its end within `timeout` seconds.
        """
        if (known := self._rows.get(key)) is not None:
            return known
        await self.catch_up(timeout=timeout)
        return self._rows.get(key)

    async def catch_up(self, *, timeout: float = 10.0) -> None:
        """Wait until everything that is in the topic now has been read."""
        ends = await self._reader.ends()
        try:
            async with asyncio.timeout(timeout):
                await self._until(ends)
        except TimeoutError:
            raise Unavailable(f"topic {self._topic}") from None

    async def _until(self, ends: Mapping[Partition, int]) -> None:
        async with self._moved:
            while await self._reader.behind(ends):
                await self._moved.wait()

    def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.value is None:
                self.drop((record.key or b"").decode(errors="replace"))
                continue
            try:
                event: AnyEvent | None = cloudevents.decode(
                    record.headers, record.value, topic=record.topic, key=record.key, offset=record.offset
                )
            except InvalidEvent as error:
                _log.warning("state record skipped", topic=record.topic, offset=record.offset, reason=error.reason)
                continue
            if event is not None and isinstance(event.data, self._kind):
                self.accept(event)

    def accept(self, read: Event[T]) -> None:
        """Keep what was read."""
        self._rows[read.key] = read.data

    def drop(self, key: str) -> None:
        """Forget a key that was taken back."""
        self._rows.pop(key, None)
