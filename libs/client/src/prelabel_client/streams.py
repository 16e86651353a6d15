"""Answers that come in many parts: pages, exports, runs that are followed. Generators of steps: see `wire`."""

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from .errors import Defect, NotFound, TryLater, Unreachable
from .retry import Retries, opened
from .retry import exchange as once
from .sse import EventParser, ServerEvent
from .wire import Call, Close, Give, Lost, Read, Request, Step, Wait

T = TypeVar("T")
Flow = Callable[[Retries], Generator[Step, Any, None]]
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes of one exported task, at most."""
_LOOK_EVERY = 0.5
_LONG_ENOUGH = 5.0
"""Seconds that a stream must last to count as one that worked."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and where the rest begins."""

    items: Sequence[T]
    next: str | None


@dataclass(frozen=True, slots=True)
class Many(Generic[T]):
    """Items that come one after the other."""

    flow: Flow


def pages(call: Call[Page[T]], *, cursor: str = "cursor", limit: int | None = None) -> Many[T]:
    """The items of every page, at most `limit` of them; the next page is asked for when it is needed."""

    def flow(retries: Retries) -> Generator[Step, Any, None]:
        page_call, left = call, limit
        while left is None or left > 0:
            page = yield from once(page_call, retries)
            for item in page.items if left is None else page.items[:left]:
                yield Give(item)
            if page.next is None:
                return
            left = None if left is None else left - len(page.items)
            page_call = page_call.on(**{cursor: page.next})

    return Many(flow)


def ndjson(request: Request, read: Callable[[Any], T]) -> Many[T]:
    """The lines of a streamed answer. One that breaks off raises `Unreachable`: nothing is left out in silence."""

    def flow(retries: Retries) -> Generator[Step, Any, None]:
        yield from opened(request, retries)
        rest = b""
        while (piece := (yield Read())) is not None:
            if isinstance(piece, Lost):
                raise Unreachable(f"the answer broke off ({piece.why}): ask again")
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > LONGEST_LINE:
                raise Defect("an endless line was sent")
            for line in lines:
                yield Give(read(json.loads(line)))
        yield Close()
        if rest:
            raise Unreachable("the answer broke off in the middle of a line: ask again")

    return Many(flow)


def events(
    request: Request,
    read: Callable[[ServerEvent], T | None],
    over: Callable[[T], bool],
    *,
    appear: float = 0.0,
) -> Many[T]:
    """What a stream of server-sent events says, until `over`; a lost connection is taken up where it was lost.

    `appear`: seconds that what is followed may take to be known there, at first.
    """

    def flow(retries: Retries) -> Generator[Step, Any, None]:
        parser = EventParser()
        waits = retries.waits()
        next(waits)
        while True:
            headers = {**request.headers, "Accept": "text/event-stream"}
            if parser.last_id:
                headers["Last-Event-ID"] = parser.last_id
            yield from _appeared(replace(request, headers=headers), retries, 0.0 if parser.last_id else appear)
            parser.restart()
            opened_at = retries.now()
            while (piece := (yield Read())) is not None and not isinstance(piece, Lost):
                for event in parser.feed(piece):
                    item = read(event)
                    if item is None:
                        continue
                    waits = retries.waits()  # it goes on: patience begins anew
                    next(waits)
                    yield Give(item)
                    if over(item):
                        yield Close()
                        return
            yield Close()
            if retries.now() - opened_at > _LONG_ENOUGH:  # servers end long streams: that is no failure
                waits = retries.waits()
                next(waits)
            try:
                wait = waits.send(parser.retry_seconds)
            except StopIteration:
                raise TryLater("the stream of events breaks off again and again") from None
            yield Wait(wait)

    return Many(flow)


def _appeared(request: Request, retries: Retries, within: float) -> Generator[Step, Any, None]:
    waited = 0.0
    while True:
        try:
            yield from opened(request, retries)
        except NotFound:
            if waited >= within:
                raise
        else:
            return
        yield Wait(_LOOK_EVERY)
        waited += _LOOK_EVERY
