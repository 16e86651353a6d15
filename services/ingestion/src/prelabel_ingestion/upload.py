"""Uploads: many tasks in one request, streamed, in bounded memory, safe to send again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prelabel_contract import names
from prelabel_contract.errors import FieldError, InvalidEvent
from prelabel_contract.events import AnyEvent, RunOpened, RunSealed, event
from prelabel_contract.limits import MAX_LINE_BYTES
from prelabel_contract.names import Lane
from prelabel_runtime.bus.base import Bus, Message
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.store.base import Submissions

from .submission import REUSED, Door, reuses_key

CHUNK_LINES = 500
"""Lines that are published, and acknowledged, together."""
LOOK_SECONDS = 0.1
LOOK_BYTES = 1 << 20
"""So long and so far an upload is looked at before its lane is decided."""
MAX_TOLD = 100
"""Errors that the answer itself lists."""


@dataclass(slots=True)
class Receipt:
    """What an upload came to."""

    run: str
    accepted: int = 0
    rejected: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    """Uids, in order, as far as they are kept."""


class TooLongLine:
    """Stands for a line that was too long to keep."""


Line = tuple[int, bytes | TooLongLine]
Taken = tuple[AnyEvent, Message, dict[str, Any] | None]
"""A line's event, its message, and what is wrong with the line."""


async def lines(stream: AsyncIterator[bytes]) -> AsyncIterator[list[Line]]:
    """The lines of a stream, numbered from 1, as they come; blank ones are left out, endless ones are not kept."""
    rest = bytearray()
    number = 0
    dropping = False
    async for chunk in stream:
        rest += chunk
        found: list[Line] = []
        if b"\n" in chunk:
            *whole, last = rest.split(b"\n")
            rest = last
            for line in whole:
                number += 1
                if dropping or len(line) > MAX_LINE_BYTES:
                    found.append((number, TooLongLine()))
                elif stripped := bytes(line).strip():
                    found.append((number, stripped))
                dropping = False
        if len(rest) > MAX_LINE_BYTES:
            rest.clear()
            dropping = True
        if found:
            yield found
    if dropping:
        yield [(number + 1, TooLongLine())]
    elif stripped := bytes(rest).strip():
        yield [(number + 1, stripped)]


async def first_together(batches: AsyncIterator[list[Line]], wanted: int) -> AsyncIterator[list[Line]]:
    """The same lines; the first batch has at least `wanted` of them, or all that came within a moment."""
    now = asyncio.get_running_loop().time
    end = now() + LOOK_SECONDS
    held: list[Line] = []
    size = 0
    coming: asyncio.Future[list[Line] | None] | None = None
    try:
        while len(held) < wanted and size < LOOK_BYTES:
            coming = asyncio.ensure_future(anext(batches, None))
            done, _ = await asyncio.wait({coming}, timeout=max(0.0, end - now()))
            if not done:
                break
            batch, coming = coming.result(), None
            if batch is None:
                break
            held += batch
            size += sum(len(line) for _, line in batch if isinstance(line, bytes))
        if held:
            yield held
        if coming is not None and (batch := await coming) is not None:
            yield batch
        async for batch in batches:
            yield batch
    finally:
        if coming is not None:
            coming.cancel()


class Upload:
    """One upload: a run that is opened, filled line by line and sealed with its total."""

    def __init__(
        self, bus: Bus, door: Door, submissions: Submissions, metrics: Metrics, *, keep_uids: bool = False
    ) -> None:
        assert door.run is not None  # noqa: S101 - an upload is a run
        self._bus = bus
        self._submissions = submissions
        self._door = door
        self._metrics = metrics
        self._keep_uids = keep_uids
        self._turned = False
        self.receipt = Receipt(door.run)

    async def open(self) -> None:
        """There is a run from here on, also if the rest never comes."""
        data = RunOpened(project=self._door.project, run=self.receipt.run)
        await self._publish([self._event(data, names.derived("run.opened", data.run))])

    def _choose_lane(self, tasks: int) -> None:
        """What does not fit into its project's share goes into backfill, from there on all of it."""
        if self._door.lane is Lane.BULK and tasks > self._door.shares.room(self._door.project):
            self._door = replace(self._door, lane=Lane.BACKFILL)
            self._turned = True

    async def take_lines(self, batch: Sequence[Line]) -> None:
        """Publish some lines of NDJSON; returns when they are acknowledged. Raises `Unavailable`."""
        self._choose_lane(len(batch))
        for start in range(0, len(batch), CHUNK_LINES):
            await self._take(batch[start : start + CHUNK_LINES], self._task_of_line)

    async def take_values(self, values: Sequence[Any]) -> None:
        """Publish the items of a JSON array; the first has number 1."""
        self._choose_lane(len(values))
        numbered = list(enumerate(values, 1))
        for start in range(0, len(numbered), CHUNK_LINES):
            await self._take(numbered[start : start + CHUNK_LINES], self._door.parse)

    async def seal(self) -> Receipt:
        """The upload is complete."""
        total = self.receipt.accepted + self.receipt.rejected
        data = RunSealed(project=self._door.project, run=self.receipt.run, total=total)
        await self._publish([self._event(data, names.derived("run.sealed", data.run, total))])
        return self.receipt

    async def _take(self, batch: Sequence[tuple[int, Any]], parse: Callable[[Any], Any]) -> None:
        taken: list[Taken] = []
        for number, value in batch:
            taken.append(self._small(number, parse, value) or await self._taken(number, parse, value))
        taken = await self._without_reused(taken)
        await self._bus.publish([message for _, message, _ in taken])
        for published, _, error in taken:
            if error is None:
                self.receipt.accepted += 1
                if self._keep_uids:
                    self.receipt.tasks.append(published.key)
            else:
                self.receipt.rejected += 1
                if len(self.receipt.errors) < MAX_TOLD:
                    self.receipt.errors.append(error)
        door = self._door.name
        refused = sum(1 for *_, error in taken if error is not None)
        self._metrics.submitted.labels(door).inc(len(taken) - refused)
        if self._turned:
            self._metrics.over_share.inc(len(taken) - refused)
        self._metrics.refused.labels(door, "invalid").inc(refused)

    def _small(self, number: int, parse: Callable[[Any], Any], value: Any) -> Taken | None:
        """A line that needs nothing but a look, as most; None for one of which something must be stored."""
        try:
            made = self._door.submit_small(parse(value), number)
            return None if made is None else (made, messages([made])[0], None)
        except InvalidEvent as error:
            return self._refused(error, number)

    async def _taken(self, number: int, parse: Callable[[Any], Any], value: Any) -> Taken:
        try:
            made = await self._door.submit(parse(value), number)
            return made, messages([made])[0], None
        except InvalidEvent as error:
            return self._refused(error, number)

    async def _without_reused(self, taken: list[Taken]) -> list[Taken]:
        """A key that was sent with another content before must not overwrite it."""
        if self._door.idempotency_key is None:
            return taken
        unnamed = [made.data.task for made, _, wrong in taken if wrong is None and made.data.id is None]
        known = await self._submissions.get_many(unnamed)
        return [
            self._refused(REUSED, made.data.line)
            if wrong is None and reuses_key(made.data, known.get(made.data.task))
            else (made, message, wrong)
            for made, message, wrong in taken
        ]

    def _refused(self, error: InvalidEvent, number: int) -> Taken:
        wrong = [e.model_dump() for e in error.errors] or [{"pointer": "", "detail": error.detail}]
        made = self._door.refuse(error, number)
        return made, messages([made])[0], {"line": number, "reason": error.reason, "errors": wrong}

    def _task_of_line(self, line: bytes | TooLongLine) -> Any:
        if isinstance(line, TooLongLine):
            detail = f"the line is longer than {MAX_LINE_BYTES} bytes"
            raise InvalidEvent("too_large", detail, [FieldError(pointer="", detail=detail)])
        try:
            return self._door.parse(line, json=True)
        except InvalidEvent as error:
            raise _within_line(error) from None

    async def _publish(self, events: Sequence[AnyEvent]) -> None:
        await self._bus.publish(messages(events))

    def _event(self, data: RunOpened | RunSealed, event_id: str) -> AnyEvent:
        return event(data, id=event_id, source=self._door.source, time_ms=self._door.now_ms())


def _within_line(error: InvalidEvent) -> InvalidEvent:
    """The same without the parser's number of the line, which it counts within the line: it is always the first."""
    said = [FieldError(pointer=e.pointer, detail=_columns_only(e.detail)) for e in error.errors]
    return InvalidEvent(error.reason, _columns_only(error.detail), said)


def _columns_only(detail: str) -> str:
    return detail.replace(" at line 1 column ", " at column ")
