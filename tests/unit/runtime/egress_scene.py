"""An egress whose DNS and dialling are ours: what it resolves is written down, what it dials is counted."""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

import httpcore
import httpx
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.egress import Egress, EgressPolicy, EgressSettings
from prelabel_runtime.metrics import Metrics

HOST = "target.example"
Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Dialler(httpcore.AsyncNetworkBackend):
    """Writes down what is dialled; without `onto`, nothing answers."""

    def __init__(self, onto: httpcore.AsyncNetworkBackend | None = None) -> None:
        self.dialled: list[str] = []
        self._onto = onto

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append(host)
        if self._onto is None:
            raise httpcore.ConnectError("nobody is there")
        return await self._onto.connect_tcp(host, port, timeout)


class Names:
    """DNS that answers what is written down, one answer after the other, the last one for ever."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {host: list(found) for host, found in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self._answers:
            raise OSError("no such host")
        left = self._answers[host]
        return left.pop(0) if len(left) > 1 else left[0]


@functools.cache  # reading the public authorities takes 50 ms
def public_authorities() -> ssl.SSLContext:
    """The TLS of every egress that needs no other."""
    return httpx.create_ssl_context(trust_env=False)


@contextlib.asynccontextmanager
async def egress(
    policy: EgressPolicy,
    *answers: Sequence[str],
    host: str = HOST,
    dialler: Dialler | None = None,
    names: Names | None = None,
    metrics: Metrics | None = None,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[Egress, Dialler]]:
    """An egress, and what it dials. `answers` are DNS's for `host`, one after the other."""
    dialler = dialler or Dialler()
    opened = Egress(
        policy,
        EgressSettings(),
        purpose="test",
        metrics=metrics or Metrics(),
        clock=SystemClock(),
        resolve=names or Names({host: answers or [()]}),
        dialler=dialler,
        context=context or public_authorities(),
    )
    try:
        yield opened, dialler
    finally:
        await opened.aclose()


@contextlib.asynccontextmanager
async def server(connected: Connected, **options: object) -> AsyncIterator[int]:
    """A server on loopback that does with a connection what a test says; gives its port."""
    alive: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        alive.add(task)
        try:
            await connected(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            alive.discard(task)
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, **options)  # type: ignore[arg-type]
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in list(alive):
            task.cancel()
        await asyncio.gather(*alive, return_exceptions=True)


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """A port where nobody listens, nor comes to listen meanwhile: it is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def says(answer: bytes) -> Connected:
    """Answers every request of a connection with these bytes."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

    return connected


def ok(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
