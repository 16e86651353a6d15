"""Connections to origins, kept for a while after use.

httpcore's own pool looks, for each request, at all of its connections, and for each of these at all of them again: with
fifty in use that costs more than everything else about a call. Here each origin has its own idle ones, and nobody looks
at any other. What a connection is, and what it does, stays httpcore's.
"""

import asyncio
import contextlib
import ssl
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable

import httpcore

__all__ = ["ON_LINE", "Pool"]

ON_LINE = "on_line"
"""Extension of a request: called with a function that says whether its connection has something to read."""

Answered = Callable[[], bool]

_Key = tuple[bytes, bytes, int]
"""An origin's scheme, host and port."""


class Pool:
    """At most `connections` at a time; one that was idle for `idle_seconds` is not used again."""

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext,
        connections: int,
        idle_seconds: float,
        network_backend: httpcore.AsyncNetworkBackend,
    ) -> None:
        self._context = ssl_context
        self._limit = connections
        self._idle_seconds = idle_seconds
        self._network_backend = network_backend
        self._idle: dict[_Key, deque[_Connection]] = {}
        self._order: OrderedDict[_Connection, _Key] = OrderedDict()
        """The idle ones, the one that was used longest ago first."""
        self._room = asyncio.Semaphore(connections)
        self._in_use: set[_Connection] = set()

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request; its response must be closed. Raises as httpcore: `PoolTimeout` where there is no room."""
        origin = request.url.origin
        key = origin.scheme, origin.host, origin.port
        await self._wait_for_room(request.extensions.get("timeout", {}).get("pool"))
        try:
            connection = await self._take(origin, key)
        except BaseException:
            self._room.release()
            raise
        self._in_use.add(connection)
        if (on_line := request.extensions.get(ON_LINE)) is not None and origin.scheme == b"http":
            on_line(connection.answered)  # over TLS, what can be read need not be an answer
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self.give_back(connection, key)
            raise
        body = _Body(response, self, connection, key)
        return httpcore.Response(
            response.status, headers=response.headers, content=body, extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close every connection."""
        connections = [*self._order, *self._in_use]
        self._idle.clear()
        self._order.clear()
        for connection in connections:
            with contextlib.suppress(httpcore.NetworkError, OSError):
                await connection.aclose()

    async def _wait_for_room(self, seconds: float | None) -> None:
        if not self._room.locked():
            await self._room.acquire()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._room.acquire()
        except TimeoutError:
            raise httpcore.PoolTimeout("all connections are in use") from None

    async def _take(self, origin: httpcore.Origin, key: _Key) -> "_Connection":
        """An idle connection that still stands, or a new one."""
        idle = self._idle.get(key, deque())
        while idle:
            connection = idle.pop()
            del self._order[connection]
            if not connection.has_expired() and connection.is_available():
                return connection
            await self._close(connection)
        self._idle.pop(key, None)
        while self._order and len(self._order) + len(self._in_use) >= self._limit:
            await self._close_oldest()
        return _Connection(_Line(self._network_backend), origin, self._context, self._idle_seconds)

    async def give_back(self, connection: "_Connection", key: _Key) -> None:
        """It is not in use any more; kept if it can be used again. A second time changes nothing."""
        if connection not in self._in_use:
            return
        self._in_use.discard(connection)
        self._room.release()
        if connection.is_closed() or not connection.is_idle():
            await asyncio.shield(self._close(connection))
            return
        self._idle.setdefault(key, deque()).append(connection)
        self._order[connection] = key
        if next(iter(self._order)).has_expired():
            await asyncio.shield(self._close_oldest())

    async def _close_oldest(self) -> None:
        connection, key = self._order.popitem(last=False)
        idle = self._idle[key]
        idle.remove(connection)
        if not idle:
            del self._idle[key]
        await self._close(connection)

    @staticmethod
    async def _close(connection: "_Connection") -> None:
        with contextlib.suppress(httpcore.NetworkError, OSError):
            await connection.aclose()


class _Line(httpcore.AsyncNetworkBackend):
    """Dials for one connection, and knows what it dialled."""

    def __init__(self, dialler: httpcore.AsyncNetworkBackend) -> None:
        self._dialler = dialler
        self.stream: httpcore.AsyncNetworkStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """As the dialler does it."""
        self.stream = await self._dialler.connect_tcp(
            host, port, timeout=timeout, local_address=local_address, socket_options=socket_options
        )
        return self.stream


class _Connection(httpcore.AsyncHTTPConnection):
    """One to an origin."""

    def __init__(self, line: _Line, origin: httpcore.Origin, context: ssl.SSLContext, idle_seconds: float) -> None:
        super().__init__(
            origin=origin,
            ssl_context=context,
            keepalive_expiry=idle_seconds,
            http1=True,
            http2=False,
            network_backend=line,
        )
        self._line = line

    def answered(self) -> bool:
        """Whether there is something to read: what the other end says before it has all of a request."""
        return self._line.stream is not None and bool(self._line.stream.get_extra_info("is_readable"))


class _Body:
    """A response's body, whose end gives the connection back."""

    def __init__(
        self,
        response: httpcore.Response,
        pool: Pool,
        connection: "_Connection",
        key: _Key,
    ) -> None:
        self._response = response
        self._pool = pool
        self._connection = connection
        self._key = key

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_stream():
                yield chunk
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close it. A connection whose body was not read to its end closes, too."""
        try:
            await self._response.aclose()
        finally:
            await self._pool.give_back(self._connection, self._key)
