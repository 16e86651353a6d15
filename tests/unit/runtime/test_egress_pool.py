"""Connections to origins: used again, bounded, and closed where an answer was not read to its end."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import httpcore
import pytest
import pytest_asyncio
from prelabel_runtime.egress_pool import Pool

from .egress_scene import ok, server


class Counter:
    """A server that counts connections, and may keep answers back."""

    def __init__(self) -> None:
        self.opened = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.body = b"thanks"

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        while await reader.readuntil(b"\r\n\r\n"):
            await self.answering.wait()
            writer.write(ok(self.body))


@pytest_asyncio.fixture
async def counter() -> Counter:
    return Counter()


@pytest_asyncio.fixture
async def port(counter: Counter) -> AsyncIterator[int]:
    async with server(counter) as port:
        yield port


def pool(connections: int = 4, idle_seconds: float = 30.0) -> Pool:
    return Pool(
        ssl_context=ssl.create_default_context(),
        connections=connections,
        idle_seconds=idle_seconds,
        network_backend=httpcore.AnyIOBackend(),
    )


def request(port: int, *, name: str = "127.0.0.1", wait: float = 60.0) -> httpcore.Request:
    return httpcore.Request(
        "GET", f"http://{name}:{port}/", headers=[("host", "x")], extensions={"timeout": {"pool": wait}}
    )


async def call(calls: Pool, port: int, **more: object) -> bytes:
    response = await calls.handle_async_request(request(port, **more))  # type: ignore[arg-type]
    try:
        return b"".join([chunk async for chunk in response.aiter_stream()])
    finally:
        await response.aclose()


async def test_a_connection_is_used_again(counter: Counter, port: int) -> None:
    calls = pool()
    for _ in range(5):
        assert await call(calls, port) == b"thanks"
    assert counter.opened == 1
    await calls.aclose()


async def test_calls_at_a_time_have_connections_of_their_own_and_find_them_again(counter: Counter, port: int) -> None:
    calls = pool()
    for _ in range(3):
        counter.answering.clear()
        waiting = [asyncio.create_task(call(calls, port)) for _ in range(4)]
        await asyncio.sleep(0)
        counter.answering.set()
        await asyncio.gather(*waiting)
    assert counter.opened == 4
    await calls.aclose()


async def test_one_that_was_idle_for_too_long_is_not_used_again(counter: Counter, port: int) -> None:
    calls = pool(idle_seconds=0.0)
    await call(calls, port)
    await call(calls, port)
    assert counter.opened == 2
    await calls.aclose()


async def test_an_answer_that_was_not_read_to_its_end_closes_its_connection(counter: Counter, port: int) -> None:
    counter.body = b"x" * 1_000_000
    calls = pool()
    response = await calls.handle_async_request(request(port))
    await response.aclose()
    assert len(await call(calls, port)) == 1_000_000
    assert counter.opened == 2
    await calls.aclose()


async def test_who_finds_no_room_waits_so_long_and_then_is_told(counter: Counter, port: int) -> None:
    calls = pool(connections=2)
    counter.answering.clear()
    waiting = [asyncio.create_task(call(calls, port)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(httpcore.PoolTimeout):
        await call(calls, port, wait=0.01)
    late = asyncio.create_task(call(calls, port))
    await asyncio.sleep(0)
    counter.answering.set()
    assert await asyncio.gather(*waiting, late) == [b"thanks"] * 3
    assert counter.opened == 2
    await calls.aclose()


async def test_a_call_that_was_given_up_gives_its_room_back(counter: Counter, port: int) -> None:
    calls = pool(connections=1)
    counter.answering.clear()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await call(calls, port)
    counter.answering.set()
    assert await call(calls, port) == b"thanks"
    await calls.aclose()


async def test_an_idle_connection_makes_room_for_another_origin(counter: Counter, port: int) -> None:
    calls = pool(connections=1)
    for name in ("127.0.0.1", "localhost", "127.0.0.1"):
        assert await call(calls, port, name=name) == b"thanks"
    assert counter.opened == 3
    await calls.aclose()
