"""Connections to origins, kept for a while after use.

httpcore's own pool looks, for each request, at all of its connections, and for each of these at all of them again: with
fifty in use that costs more than everything else about a call. Here each origin has its own idle ones, and nobody looks
at any other. What a connection is, and what it does, stays httpcore's.
"""

import asyncio
import contextlib
import ssl
from collections import OrderedDict, deque
from collections.abc import AsyncIterator

import httpcore

__all__ = ["Pool"]

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
        self._idle: dict[_Key, deque[httpcore.AsyncHTTPConnection]] = {}
        self._order: OrderedDict[httpcore.AsyncHTTPConnection, _Key] = OrderedDict()
        """The idle ones, the one that was used longest ago first."""
        self._room = asyncio.Semaphore(connections)
        self._in_use: set[httpcore.AsyncHTTPConnection] = set()

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

    async def _take(self, origin: httpcore.Origin, key: _Key) -> httpcore.AsyncHTTPConnection:
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
        return httpcore.AsyncHTTPConnection(
            origin=origin,
            ssl_context=self._context,
            keepalive_expiry=self._idle_seconds,
            http1=True,
            http2=False,
            network_backend=self._network_backend,
        )

    async def give_back(self, connection: httpcore.AsyncHTTPConnection, key: _Key) -> None:
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
    async def _close(connection: httpcore.AsyncHTTPConnection) -> None:
        with contextlib.suppress(httpcore.NetworkError, OSError):
            await connection.aclose()


class _Body:
    """A response's body, whose end gives the connection back."""

    def __init__(
        self,
        response: httpcore.Response,
        pool: Pool,
        connection: httpcore.AsyncHTTPConnection,
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
