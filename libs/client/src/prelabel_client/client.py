"""The blocking client."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
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


class Client(Operations):
    """Prelabel's API, blocking. Safe to share between threads; close it, or use it as a context."""

    def __init__(
        self,
        address: str | None = None,
        key: str | None = None,
        *,
        profile: str | None = None,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Address and key: these, else PRELABEL_ADDRESS and PRELABEL_KEY, else the profile. Raises `Refused`."""
        self.connection: Connection = connection(address, key, profile)
        self.retries = retries or Retries()
        self._http = httpx.Client(**options(self.connection), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def do(self, call: Call[T]) -> T:
        """One call; those of `prelabel_client.calls`, or your own. Raises `PrelabelError`."""
        steps = exchange(call, self.retries)
        try:
            step = next(steps)
            while True:
                step = steps.send(self._sent(step))
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            if isinstance(call.request.body, Lines):
                call.request.body.close()

    def each(self, many: Many[T]) -> Iterator[T]:
        """Items, one after the other. Raises `PrelabelError`."""
        steps = many.flow(self.retries)
        reading: _Reading | None = None
        with ExitStack() as open_now:
            try:
                step = next(steps)
                while True:
                    got: Any = None
                    match step:
                        case Give(item):
                            yield item
                        case Open():
                            reading = open_now.enter_context(_Reading(self._http, step))
                            got = reading.reply
                        case Read() if reading is not None:
                            got = reading.read()
                        case Close():
                            open_now.pop_all().close()
                        case _:
                            got = self._sent(step)
                    step = steps.send(got)
            except StopIteration:
                return

    def _sent(self, step: Step) -> Any:
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            return None
        assert isinstance(step, Send)  # noqa: S101 - all there is beside streams
        try:
            return reply_of(answer := self._http.send(_request(self._http, step)), answer.content)
        except LOST as error:
            return lost(error, self.connection.address)


class _Reading:
    """An answer that is read piece by piece."""

    def __init__(self, http: httpx.Client, step: Open) -> None:
        self._response: httpx.Response | None = None
        try:
            response = self._response = http.send(_request(http, Send(step.request)), stream=True)
            if response.status_code >= 400:
                response.read()
                self.reply: Any = reply_of(response, response.content)
            else:
                self.reply = reply_of(response)
                self._pieces = response.iter_bytes()
        except LOST as error:
            self.reply = lost(error, str(http.base_url))

    def read(self) -> Any:
        try:
            return next(self._pieces, None)
        except LOST as error:
            return lost(error, "the connection")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._response is not None:
            self._response.close()


def _request(http: httpx.Client, step: Send) -> httpx.Request:
    request = step.request
    body = request.body.pieces() if isinstance(request.body, Lines) else request.body
    return http.build_request(
        request.method,
        request.path,
        params=request.query,
        headers=request.headers,
        content=body,
        timeout=timeout_of(request),
    )
