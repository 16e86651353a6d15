"""One request, handed to a service while it comes, and its answer handed back while it comes. Nothing is kept."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from prelabel_runtime import log
from prelabel_runtime.egress import EgressError, NotSent, Streamed, TooSlow
from prelabel_runtime.http.problems import Problem
from prelabel_runtime.metrics import Metrics
from starlette.types import Message, Receive, Scope, Send

from .headers import REQUEST_ID, Headers, end_to_end, first, has_body
from .routes import Route
from .upstreams import Upstream

_log = log.get("prelabel.gateway")


class Gone(Exception):
    """The caller has hung up."""


class Body:
    """What a caller sends, read only as fast as the service takes it."""

    def __init__(self, receive: Receive, idle_seconds: float) -> None:
        self._receive = receive
        self._idle_seconds = idle_seconds
        self._over = asyncio.Event()

    def let_go(self) -> None:
        """Nobody reads the body any more: from here on `hung_up` does."""
        self._over.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, part by part. Raises `Gone`, and a 408 for a caller who says no more."""
        more = True
        while more:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    message = await self._receive()
            except TimeoutError:
                raise Problem(408, "too_slow", f"nothing more of the body came for {self._idle_seconds:g} s") from None
            if message["type"] == "http.disconnect":
                raise Gone
            more = message.get("more_body", False)
            if chunk := message.get("body", b""):
                yield chunk
        self.let_go()

    async def hung_up(self) -> None:
        """Returns when the caller hangs up."""
        await self._over.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way."""

    route: Route
    upstream: Upstream
    headers: Headers
    """As the service gets them."""
    id: bytes
    """What it is called in logs, here and there."""
    closing: asyncio.Event
    """Set when this process is to end: whoever follows something is to follow it elsewhere."""


async def forward(call: Call, scope: Scope, receive: Receive, send: Send, metrics: Metrics) -> None:
    """Returns when the answer is out, or the caller gone. Raises the problem that is to be answered instead."""
    body = Body(receive, call.upstream.idle_seconds)
    content = body.chunks() if has_body(scope["headers"]) else None
    if content is None:
        body.let_go()
    answering = asyncio.create_task(_answer(call, scope, body, content, send, metrics))
    watching = asyncio.create_task(body.hung_up())
    try:
        await asyncio.wait((answering, watching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (answering, watching):
            task.cancel()
        await asyncio.wait((answering, watching))
    if not answering.cancelled():
        answering.result()


async def _answer(
    call: Call, scope: Scope, body: Body, content: AsyncIterator[bytes] | None, send: Send, metrics: Metrics
) -> None:
    target: bytes = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    started = False
    try:
        async with contextlib.AsyncExitStack() as stack:
            answer = await call.upstream.open(stack, call.route.method, target, call.headers, content or b"")
            body.let_go()
            started = True
            await send(_start(answer, call.id))
            async for chunk in _until(call.closing, answer) if _is_followed(answer) else answer.chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
    except Gone:
        return
    except EgressError as error:
        metrics.gateway_failures.labels(call.route.service, error.result).inc()
        _log.warning(
            "a service failed a request",
            service=call.route.service,
            route=call.route.path,
            request=call.id.decode(),
            error=type(error).__name__,
            detail=str(error),
            answered=started,
        )
        if not started:
            raise _problem(call.route.service, error) from None
        # What is out cannot be taken back: the answer is left unfinished, and the server closes the connection.


def _is_followed(answer: Streamed) -> bool:
    kind = next((value for name, value in answer.headers if name.lower() == b"content-type"), b"")
    return kind.startswith(b"text/event-stream")


async def _until(closing: asyncio.Event, answer: Streamed) -> AsyncIterator[bytes]:
    """What comes before the process is to end: an answer without an end would hold it up."""
    ending = asyncio.create_task(closing.wait())
    try:
        while not closing.is_set():
            coming = asyncio.ensure_future(anext(answer.chunks, None))
            try:
                await asyncio.wait((coming, ending), return_when=asyncio.FIRST_COMPLETED)
                if not coming.done() or (chunk := coming.result()) is None:
                    return
            finally:
                coming.cancel()
            yield chunk
    finally:
        ending.cancel()


def _start(answer: Streamed, id_: bytes) -> Message:
    # The date is ours: our server says it.
    headers = [(name.lower(), value) for name, value in end_to_end(answer.headers, without=(b"date",))]
    if not first(headers, REQUEST_ID):
        headers.append((REQUEST_ID, id_))
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


def _problem(service: str, error: EgressError) -> Problem:
    again = {"Retry-After": "1"}
    if isinstance(error, NotSent):
        return Problem(503, "unavailable", f"{service} does not answer; nothing was taken, try again", headers=again)
    unknown = "it may have taken the request; send it again under the same Idempotency-Key"
    if isinstance(error, TooSlow):
        return Problem(504, "too_slow", f"{service} took too long; {unknown}", headers=again)
    return Problem(502, "no_answer", f"{service} broke off; {unknown}", headers=again)
