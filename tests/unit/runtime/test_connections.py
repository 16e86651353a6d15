"""Connections on which nothing whole comes end; those on which something is answered go on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from prelabel_runtime.connections import Connection
from prelabel_runtime.process import listen, server
from starlette.types import Receive, Scope, Send

from deploy.local.ports import free_port


class Impatient(Connection):
    seconds = 0.3


class Patient(Connection):
    seconds = 1000.0


class Hours:
    """The time of the loop that runs, which can be put forward."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._time = loop.time
        self._ahead = 0.0
        loop.time = self  # type: ignore[method-assign]

    def __call__(self) -> float:
        return self._time() + self._ahead

    async def passed(self, seconds: float) -> None:
        """Put it forward, and let come what was due meanwhile."""
        self._ahead += seconds
        for _ in range(3):
            await asyncio.sleep(0)


async def refusing(_: Scope, __: Receive, send: Send) -> None:
    """Answers without a look at the body."""
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def connected(
    app: object = refusing, http: type[Connection] = Impatient
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    port = free_port()
    serving = server(app, http=http)  # type: ignore[arg-type]
    with contextlib.closing(listen("127.0.0.1", port, "")) as socket:
        task = asyncio.create_task(serving.serve([socket]))
        while not serving.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        yield reader, writer
        writer.close()
        serving.force_exit = serving.should_exit = True
        await asyncio.wait({task})


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"", b""),
        (b"", b"\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n"),
    ],
)
async def test_who_sends_nothing_whole_is_let_go_of(begin: bytes, drip: bytes) -> None:
    async with connected() as (reader, writer), asyncio.timeout(60):
        writer.write(begin)

        async def keep_dripping() -> None:
            while True:
                writer.write(drip)
                await asyncio.sleep(0.05)

        dropping = asyncio.create_task(keep_dripping())
        with contextlib.suppress(ConnectionError):
            await reader.read(-1)
        dropping.cancel()
        await asyncio.wait({dropping})


async def test_an_answer_may_take_its_time_and_so_may_a_body_that_is_read() -> None:
    hours, came = Hours(), asyncio.Event()

    async def slow(_: Scope, receive: Receive, send: Send) -> None:
        came.set()
        while (await receive()).get("more_body"):
            came.set()
        await hours.passed(2 * Patient.seconds)
        await refusing(_, receive, send)

    async with connected(slow, Patient) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
        for byte in (b"a", b"b", b"c", b"d"):
            await came.wait()
            came.clear()
            await hours.passed(Patient.seconds / 2)
            writer.write(byte)
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
