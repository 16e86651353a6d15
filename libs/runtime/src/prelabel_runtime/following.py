"""A consumer group over all topics of a kind, those that come later included, for who wants records as they are.

The delivery loop reads topics that its table names and decodes what it reads. What follows every group's dead letters
can do neither: nobody tells it the groups, and a dead letter may well be one because it cannot be decoded.

Records are handed over in batches, as read, and committed when `handle` returns: at least once, as everywhere.
`handle` must take any bytes; what it raises (but `Unavailable`, which is waited for) is a defect, and the same records
come again.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence

from . import log
from .bus.base import Bus, Committed, Consumer, NotAssigned, Partition, Record
from .clock import Clock
from .errors import Fatal, Unavailable
from .metrics import Metrics
from .retry import backoff
from .service import Part

__all__ = ["Following"]

_log = log.get("prelabel.following")


class Following(Part):
    """One member of the group.

    wanted        whether a topic, by its name, is one to be read
    handle        takes a batch of records
    look_seconds  how often new topics are looked for
    """

    def __init__(
        self,
        bus: Bus,
        *,
        group: str,
        wanted: Callable[[str], bool],
        handle: Callable[[Sequence[Record]], Awaitable[None]],
        clock: Clock,
        metrics: Metrics,
        rng: random.Random,
        look_seconds: float = 10.0,
        batch: int = 200,
    ) -> None:
        self._bus = bus
        self._group = group
        self._wanted = wanted
        self._handle = handle
        self._clock = clock
        self._metrics = metrics
        self._rng = rng
        self._look_seconds = look_seconds
        self._batch = batch

    async def start(self) -> None:
        """Nothing to get ready: what is followed may not be there yet."""

    async def stop(self) -> None:
        """Nothing to let go: `run` leaves the group when it is cancelled."""

    async def run(self) -> None:
        """Read until cancelled; after a defect begin anew."""
        waits = backoff(0.5, 30.0, self._rng)
        while True:
            began = self._clock.monotonic()
            try:
                await self._follow(await self._topics())
                continue
            except Unavailable as error:
                _log.warning("waiting for a dependency", group=self._group, dependency=error.what)
            except Fatal:
                raise
            except Exception as error:
                self._metrics.restarts.labels(self._group).inc()
                _log.error(
                    "following ended by a defect, starting anew",
                    group=self._group, error=type(error).__name__, exc_info=error,
                )  # fmt: skip
            if self._clock.monotonic() - began > 60:
                waits = backoff(0.5, 30.0, self._rng)
            await self._clock.sleep(next(waits))

    async def _topics(self) -> frozenset[str]:
        return frozenset(name for name in await self._bus.topics() if self._wanted(name))

    async def _follow(self, topics: frozenset[str]) -> None:
        """Read these topics until there are others."""
        if not topics:
            await self._clock.sleep(self._look_seconds)
            return
        consumer = self._bus.consumer(sorted(topics), group=self._group)
        await consumer.start(on_assign=_nothing, on_revoke=_nothing)
        try:
            looked = self._clock.monotonic()
            while True:
                await self._take(consumer)
                if self._clock.monotonic() - looked >= self._look_seconds:
                    looked = self._clock.monotonic()
                    if await self._topics() != topics:
                        return
        finally:
            await consumer.stop()

    async def _take(self, consumer: Consumer) -> None:
        records = await consumer.poll(self._batch, min(1.0, self._look_seconds))
        if not records:
            return
        handling = asyncio.ensure_future(self._handle(records))
        try:
            while not (await asyncio.wait({handling}, timeout=1.0))[0]:
                await consumer.idle()
            handling.result()
        finally:
            handling.cancel()
        ends = {record.place: Committed(record.offset + 1) for record in records}
        try:
            await consumer.commit(ends)
        except NotAssigned:
            _log.info("partition lost before its commit, it will be read again", group=self._group)


async def _nothing(_: Collection[Partition]) -> None:
    """A batch is committed or lost as a whole: `commit` says which."""
