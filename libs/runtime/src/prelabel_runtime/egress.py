"""Every outbound HTTP call of Prelabel's services.

`Egress` calls what somebody configured over the API: a webhook's target, an issuer of tokens. What is judged is the
address that is dialled, at each dial (`egress_policy`), so an answer of DNS that changes between registration and call
changes nothing. Host, TLS name and the pool's key stay the host's name: two names never share a connection.

`Upstreams` streams to and from the few origins that the operator configured, wherever they are.

Neither follows redirects, keeps cookies, reads proxies from the environment, or speaks anything but HTTP/1.1.
"""

import asyncio
import contextlib
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, cast

import httpcore
import httpx

from . import log
from .clock import Clock, SystemClock
from .egress_policy import (
    EgressError,
    EgressPolicy,
    EgressSettings,
    Forbidden,
    Target,
    check_headers,
    check_url,
)
from .egress_pool import ON_LINE, Answered, Pool
from .errors import Refused
from .metrics import Metrics
from .settings import RuntimeSettings

__all__ = [
    "Answer",
    "BadAnswer",
    "Egress",
    "EgressError",
    "EgressPolicy",
    "EgressSettings",
    "Forbidden",
    "NotSent",
    "Streamed",
    "Target",
    "TooSlow",
    "Unreachable",
    "Upstreams",
    "check_headers",
    "check_url",
]

_log = log.get("prelabel.egress")

MAX_HEADER_BYTES = 64 * 1024
"""Names and values of an answer's headers."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses of a host. Raises OSError where there are none."""


class Unreachable(EgressError):
    """No answer: DNS, connecting, TLS or the connection failed. The same call may do better later."""

    result = "unreachable"


class NotSent(Unreachable):
    """No connection: nothing of the call has left this machine."""


class TooSlow(EgressError):
    """No whole answer within the deadline. The same call may do better later."""

    result = "too_slow"


class BadAnswer(EgressError):
    """Something answered, but not in HTTP that we take. The same call may do better later."""

    result = "bad_answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a target answered."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case; values of the same name are joined by commas."""
    body: bytes
    """Inflated, at most as long as was asked for."""
    truncated: bool
    """There was more of it, or it was compressed in a way that we do not read."""
    seconds: float
    """From the call to the last byte that was read."""


# --------------------------------------------------------------------------------------------------------- dialling


class _Guard(httpcore.AsyncNetworkBackend):
    """Resolves, judges, and connects to what was judged."""

    def __init__(self, policy: EgressPolicy, resolve: Resolve, dialler: httpcore.AsyncNetworkBackend) -> None:
        self._policy = policy
        self._resolve = resolve
        self._dialler = dialler

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # the whole attempt has a deadline
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers. Raises `Forbidden`."""
        self._policy.judge(host, port, ())  # what is forbidden by name is not even resolved
        try:
            resolved = await self._resolve(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"the host has no address: {error.strerror or error}") from error
        failure: Exception = httpcore.ConnectError("the host has no address")
        for address in self._policy.judge(host, port, resolved):
            try:
                return await self._dialler.connect_tcp(str(address), port, timeout=_CONNECT_SECONDS)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise Forbidden("a socket of this machine is no target")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


_CONNECT_SECONDS = 5.0
"""Per address: the next one gets its chance before the deadline."""


class _Resolver:
    """The machine's resolver, on threads of its own: a name server that hangs holds up no other work."""

    def __init__(self, threads: int = 16) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """All addresses of a host."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _getaddrinfo, host, port)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _getaddrinfo(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(name[0]) + ("%scope" if family == socket.AF_INET6 and name[-1] else "") for family, *_, name in found]


class _Transport(httpx.AsyncHTTPTransport):
    """httpx on a pool that dials through a backend of ours. A transport, not a client: no cookies, no redirects."""

    def __init__(
        self, context: ssl.SSLContext, connections: int, idle_seconds: float, backend: httpcore.AsyncNetworkBackend
    ) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = Pool(  # type: ignore[assignment]
            ssl_context=context, connections=connections, idle_seconds=idle_seconds, network_backend=backend
        )


def _tls(settings: EgressSettings) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Refused(f"PRELABEL_EGRESS_CA_FILE cannot be read: {error.strerror or 'no certificates'}") from None
    return context


@contextlib.contextmanager
def _named(deadline: str) -> Any:
    """Errors of the libraries by what the caller does next."""
    try:
        yield
    except EgressError:
        raise
    except (TimeoutError, httpx.TimeoutException, httpcore.TimeoutException):
        raise TooSlow(deadline) from None
    except (httpx.ProtocolError, httpx.DecodingError, httpcore.ProtocolError) as error:
        raise BadAnswer(str(error)[:300]) from None
    except (httpx.TransportError, httpcore.NetworkError, ssl.SSLError, OSError) as error:
        raise Unreachable(str(error)[:300] or type(error).__name__) from None


# ------------------------------------------------------------------------------------------------------------ calls


class Egress:
    """Calls to targets that somebody configured over the API. One per process and purpose; close it."""

    def __init__(
        self,
        policy: EgressPolicy,
        settings: EgressSettings,
        *,
        purpose: str,
        metrics: Metrics,
        clock: Clock | None = None,
        resolve: Resolve | None = None,
        context: ssl.SSLContext | None = None,
        dialler: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        """`purpose` is a word for metrics. The other parameters are what tests replace. Raises `Refused`."""
        self.policy = policy
        self._purpose = purpose
        self._metrics = metrics
        self._clock = clock or SystemClock()
        self._resolver = None if resolve else _Resolver()
        guard = _Guard(policy, resolve or cast(Resolve, self._resolver), dialler or httpcore.AnyIOBackend())
        # Shorter than most servers keep a connection, so that few calls are sent into one that is being closed.
        self._transport = _Transport(context or _tls(settings), settings.connections, 4.0, guard)

    @classmethod
    def of(cls, settings: RuntimeSettings, *, purpose: str, metrics: Metrics, clock: Clock) -> Self:
        """For a service with these settings; what it may call comes from the environment. Raises `Refused`."""
        outbound = EgressSettings()
        policy = EgressPolicy.of(outbound, loopback=settings.one_process)
        return cls(policy, outbound, purpose=purpose, metrics=metrics, clock=clock)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Collection[tuple[str, str]] = (),
        content: bytes = b"",
        deadline: float = 20.0,
        max_bytes: int = 64 * 1024,
    ) -> Answer:
        """Call a target and read at most `max_bytes` of what it answers, all within `deadline` seconds.

        A redirect is an answer like any other. Raises `Forbidden`, `Unreachable`, `TooSlow`, `BadAnswer`.
        """
        started = self._clock.monotonic()
        result = "answered"
        try:
            with _named(f"no whole answer within {deadline:g} s"):
                target = check_url(url, self.policy)
                check_headers(headers)
                async with asyncio.timeout(deadline):
                    status, got, body, truncated = await self._attempt(method, target, headers, content, max_bytes)
        except EgressError as error:
            result = error.result
            if isinstance(error, Forbidden):
                _log.warning("outbound call forbidden", purpose=self._purpose, reason=error.detail)
            raise
        finally:
            seconds = self._clock.monotonic() - started
            self._metrics.egress_requests.labels(self._purpose, result).inc()
            self._metrics.egress_seconds.labels(self._purpose).observe(seconds)
        return Answer(status, got, body, truncated, seconds)

    async def _attempt(
        self, method: str, target: Target, headers: Collection[tuple[str, str]], content: bytes, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes, bool]:
        # Not by httpx, whose own request, response and headers would double what a call costs.
        length = [(b"content-length", b"%d" % len(content))] if content or method in _WITH_BODY else []
        request = httpcore.Request(
            method,
            target.origin,
            headers=[
                (b"host", target.origin.partition("://")[2].encode()),
                (b"accept-encoding", b"identity"),
                *length,
                *((name.encode(), value.encode()) for name, value in headers),
            ],
            content=content,
            extensions={"target": target.path.encode()},
        )
        response = await self._transport._pool.handle_async_request(request)
        try:
            if sum(len(name) + len(value) for name, value in response.headers) > MAX_HEADER_BYTES:
                raise BadAnswer(f"the headers are longer than {MAX_HEADER_BYTES} bytes")
            got: dict[str, str] = {}
            for raw_name, raw_value in response.headers:
                name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
                got[name] = f"{got[name]}, {value}" if name in got else value
            body, truncated = await _read(response, got.get("content-encoding", ""), max_bytes)
            return response.status, got, body, truncated
        finally:
            await response.aclose()  # closes the connection where there is more

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()
        if self._resolver is not None:
            self._resolver.close()


_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


async def _read(response: httpcore.Response, coding: str, max_bytes: int) -> tuple[bytes, bool]:
    """A body, at most `max_bytes` of it, over the wire and inflated; and whether there is more."""
    take = _decoder(coding.strip().lower())
    if take is None:
        return b"", True
    body = bytearray()
    wire = 0
    async for chunk in response.aiter_stream():
        wire += len(chunk)
        body += take(chunk, max_bytes + 1 - len(body))
        if len(body) > max_bytes or wire > max_bytes:
            return bytes(body[:max_bytes]), True
    return bytes(body), False


def _decoder(coding: str) -> Callable[[bytes, int], bytes] | None:
    """How a chunk is decoded to at most so many bytes. Identity was asked for, but not everybody listens."""
    if coding in ("", "identity"):
        return lambda chunk, _: chunk
    if coding not in ("gzip", "x-gzip", "deflate"):
        return None
    inflater = zlib.decompressobj(zlib.MAX_WBITS if coding == "deflate" else zlib.MAX_WBITS | 16)

    def inflate(chunk: bytes, most: int) -> bytes:
        try:
            return inflater.decompress(chunk, most)
        except zlib.error:
            raise BadAnswer("the body is not compressed as it says") from None

    return inflate


# -------------------------------------------------------------------------------------------------- upstreams


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer whose body is still to come."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    """As they came."""
    chunks: AsyncIterator[bytes]
    """The body as it comes over the wire, not decoded. Raises `Unreachable`, `TooSlow`, `BadAnswer`."""


_SCHEMES = ("http", "https")


class Upstreams:
    """Streaming calls to a fixed set of the operator's own origins, and no others. No address is judged."""

    def __init__(
        self, origins: Iterable[str], *, connections: int = 1000, context: ssl.SSLContext | None = None
    ) -> None:
        """`origins`: "http://HOST:PORT" or "https://HOST:PORT". Raises `Refused`."""
        self._origins: dict[str, httpx.URL] = {}
        for origin in origins:
            try:
                url = httpx.URL(origin)
            except httpx.InvalidURL:
                url = httpx.URL("")
            if url.scheme not in _SCHEMES or not url.host or url.path != "/" or url.userinfo or url.query:
                raise Refused(f"{origin!r} is no origin like http://HOST:PORT")
            self._origins[origin] = url
        # Shorter than uvicorn keeps a connection (5 s), so that no request is sent into one that is being closed.
        self._transport = _Transport(context or _tls(EgressSettings()), connections, 3.0, httpcore.AnyIOBackend())

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        origin: str,
        target: bytes,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        content: AsyncIterator[bytes] | bytes = b"",
        connect_seconds: float = 5.0,
        idle_seconds: float = 60.0,
    ) -> AsyncIterator[Streamed]:
        """Send a request, body and all, and hand on the answer while it comes.

        `target` is the path with its query, as it is to be sent. Headers are sent as they are; without Host the
        origin's is, and without Content-Length a body that is a stream goes in chunks. `idle_seconds` is the longest
        wait for the next bytes. Leaving the block early closes the connection. Of a body that is a stream no more is
        taken once the other end has answered.
        Raises `NotSent`, `Unreachable`, `TooSlow`, `BadAnswer`.
        """
        body = content if isinstance(content, bytes) else _Sending(content)
        request = httpx.Request(
            method,
            self._origins[origin],
            headers=headers,
            content=body,
            extensions={
                **({} if isinstance(body, bytes) else {ON_LINE: body.on_line}),
                "target": target,
                "timeout": {
                    "connect": connect_seconds,
                    "read": idle_seconds,
                    "write": idle_seconds,
                    "pool": connect_seconds,
                },
            },
        )
        late = f"nothing came for {idle_seconds:g} s"
        with _named(late):
            try:
                response = await self._transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                raise NotSent(str(error)[:300] or type(error).__name__) from None
        try:
            yield Streamed(response.status_code, response.headers.raw, _chunks(response, late))
        finally:
            await response.stream.aclose()  # type: ignore[union-attr]

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


class _Sending:
    """A body that is sent while it comes, until the other end has answered: it wants no more of it then."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._answered: Answered = lambda: False

    def on_line(self, answered: Answered) -> None:
        """The connection that it goes over is known."""
        self._answered = answered

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._next()) is not None:
            yield chunk

    async def _next(self) -> bytes | None:
        coming: asyncio.Task[bytes | None] = asyncio.ensure_future(anext(self._chunks, None))
        try:
            while not coming.done():
                await asyncio.wait({coming}, timeout=_LOOK_SECONDS)
                if self._answered():
                    # What httpcore takes for the other end having closed: it goes on to read what that has said.
                    raise httpcore.WriteError("answered before the body was through")
            return coming.result()
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.wait({coming})


_LOOK_SECONDS = 0.25


async def _chunks(response: httpx.Response, late: str) -> AsyncIterator[bytes]:
    with _named(late):
        async for chunk in response.stream:  # type: ignore[union-attr]
            yield chunk
