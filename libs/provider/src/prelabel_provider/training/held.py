"""A training that this process holds: its record, renewed while it works, and written under its fence alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable

from .trainings import TrainingProgress, TrainingRecord, Trainings, TrainingState

_AGAIN_SECONDS = 0.5
"""Until a store that does not answer is asked again."""


class Lost(Exception):
    """The training is somebody else's by now, or may be."""


class Cancelled(Exception):
    """Somebody asked for the training's end."""


class Held:
    """A held training. What is noted is written with the next renewal."""

    def __init__(
        self, trainings: Trainings, record: TrainingRecord, clock: Clock, *, lease: float, renew: float, since: float
    ) -> None:
        """`lease`, `renew`: seconds; `since`: when it was taken, by the monotonic clock, or before that."""
        self._trainings = trainings
        self._clock = clock
        self._lease = lease
        self._renew = renew
        self._writing = asyncio.Lock()
        self._lines: list[tuple[int, str]] = []
        self._progress: TrainingProgress | None = None
        self._on_renewal: Callable[[float], None] = lambda until: None
        self._looked = asyncio.Event()
        self.record = record
        self.until = since + lease
        """When the lease ends, by the monotonic clock."""

    def note(self, *lines: str) -> None:
        """Put lines into its log."""
        self._lines += ((self._clock.now_ms(), one) for one in lines)

    def progressed(self, progress: TrainingProgress) -> None:
        """It is that far."""
        self._progress = progress

    def look(self) -> None:
        """Look at the record now: it may have been cancelled."""
        self._looked.set()

    @contextlib.contextmanager
    def telling(self, on_renewal: Callable[[float], None]) -> Iterator[None]:
        """Tell somebody until when it may go on, at each renewal."""
        self._on_renewal = on_renewal
        try:
            yield
        finally:
            self._on_renewal = lambda until: None

    @asynccontextmanager
    async def kept(self) -> "AsyncIterator[None]":
        """Renew the lease while the block works. Raises `Lost` and `Cancelled` into the block, by ending it."""
        work = asyncio.current_task()
        assert work is not None  # noqa: S101 - it runs
        why: list[Exception] = []

        async def keep() -> None:
            try:
                await self._keep()
            except (Lost, Cancelled) as error:
                why.append(error)
                work.cancel()

        keeper = asyncio.create_task(keep())
        try:
            yield
        except asyncio.CancelledError:
            if why and work.uncancel() == 0:
                raise why[0] from None
            raise
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])

    async def _keep(self) -> None:
        while True:
            await self._due()
            with contextlib.suppress(Unavailable):
                await self.save()
            if self._clock.monotonic() + self._renew >= self.until:
                raise Lost("it could not be renewed in time")

    async def _due(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._renew):
                await self._looked.wait()
        self._looked.clear()

    async def save(self, **changes: Any) -> TrainingRecord:
        """Write what is known, and hold it for longer. Raises `Lost`, `Cancelled` and `Unavailable`."""
        async with self._writing:
            lines, since = list(self._lines), self._clock.monotonic()
            wanted = self.record.but(**({"progress": self._progress} if self._progress else {}) | changes)
            for at_ms, one in lines:
                wanted = wanted.told(at_ms, one)
            stored = await self._trainings.renew(wanted, self._lease)
            if stored is None:
                raise Lost("somebody else holds it")
            self.record = stored
            self.until = since + self._lease
            del self._lines[: len(lines)]
        if stored.cancel and not stored.state.final:
            raise Cancelled
        self._on_renewal(self.until)
        return stored

    async def settled(self, **changes: Any) -> TrainingRecord:
        """Write something that must be written, however long the store takes. Raises `Lost` and `Cancelled`."""
        while True:
            try:
                return await self.save(**changes)
            except Unavailable:
                if self._clock.monotonic() >= self.until:
                    raise Lost("the store did not answer for too long") from None
                await self._clock.sleep(_AGAIN_SECONDS)

    async def end(self, state: TrainingState, reason: str = "", detail: str = "", **changes: Any) -> TrainingRecord:
        """Write its end. Raises `Lost`."""
        self.note(f"{state}: {detail}" if detail else str(state))
        return await self.settled(state=state, reason=reason, detail=detail[:1000], **changes)

    async def let_go(self) -> None:
        """Leave it to whoever comes next; where the store does not answer, once the lease has ended."""
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(self._renew), self._writing:
                await self._trainings.release(self.record)
