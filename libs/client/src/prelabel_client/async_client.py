"""The asynchronous client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from .api import Operations
from .lines import Lines
from .profiles import Connection, connection
from .retry import Retries, exchange
from .streams import Many
from .transport import LOST, lost, options, reply_of, timeout_of
from .wire import Call, Close, Give, Open, Read, Send, Step, Wait

T = TypeVar("T")


class AsyncClient(Operations):
    """Prelabel's API for asyncio. Close it, or use it as a context."""

    def __init__(
        self,
        address: str | None = None,
        key: str | None = None,
        *,
        profile: str | None = None,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Address and key: these, else PRELABEL_ADDRESS and PRELABEL_KEY, else the profile. Raises `Refused`."""
        self.connection: Connection = connection(address, key, profile)
        self.retries = retries or Retries()
        self._http = httpx.AsyncClient(**options(self.connection), transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def do(self, call: Call[T]) -> T:
        """One call; those of `prelabel_client.calls`, or your own. Raises `PrelabelError`."""
        steps = exchange(call, self.retries)
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._sent(step))
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            if isinstance(call.request.body, Lines):
                call.request.body.close()

    async def each(self, many: Many[T]) -> AsyncIterator[T]:
        """Items, one after the other. Raises `PrelabelError`."""
        steps = many.flow(self.retries)
        reading: _Reading | None = None
        async with AsyncExitStack() as open_now:
            try:
                step = next(steps)
                while True:
                    got: Any = None
                    match step:
                        case Give(item):
                            yield item
                        case Open():
                            reading = await open_now.enter_async_context(_Reading(self._http, step))
                            got = reading.reply
                        case Read() if reading is not None:
                            got = await reading.read()
                        case Close():
                            await open_now.pop_all().aclose()
                        case _:
                            got = await self._sent(step)
                    step = steps.send(got)
            except StopIteration:
                return

    async def _sent(self, step: Step) -> Any:
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            return None
        assert isinstance(step, Send)  # noqa: S101 - all there is beside streams
        try:
            return reply_of(answer := await self._http.send(_request(self._http, step)), answer.content)
        except LOST as error:
            return lost(error, self.connection.address)


class _Reading:
    """An answer that is read piece by piece."""

    def __init__(self, http: httpx.AsyncClient, step: Open) -> None:
        self._http = http
        self._step = step
        self._response: httpx.Response | None = None

    async def __aenter__(self) -> Self:
        try:
            response = self._response = await self._http.send(
                _request(self._http, Send(self._step.request)), stream=True
            )
            if response.status_code >= 400:
                await response.aread()
                self.reply: Any = reply_of(response, response.content)
            else:
                self.reply = reply_of(response)
                self._pieces = response.aiter_bytes()
        except LOST as error:
            self.reply = lost(error, str(self._http.base_url))
        return self

    async def read(self) -> Any:
        try:
            return await anext(self._pieces, None)
        except LOST as error:
            return lost(error, "the connection")

    async def __aexit__(self, *_: object) -> None:
        if self._response is not None:
            await self._response.aclose()


def _request(http: httpx.AsyncClient, step: Send) -> httpx.Request:
    request = step.request
    body = request.body.pieces_async() if isinstance(request.body, Lines) else request.body
    return http.build_request(
        request.method,
        request.path,
        params=request.query,
        headers=request.headers,
        content=body,
        timeout=timeout_of(request),
    )
