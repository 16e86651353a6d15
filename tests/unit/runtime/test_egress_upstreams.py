"""Streaming to origins of the operator's own: what comes is handed on at once, and no other origin is called."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from prelabel_runtime.egress import BadAnswer, TooSlow, Unreachable, Upstreams
from prelabel_runtime.errors import Refused

from .egress_scene import nobody, ok, server


@contextlib.asynccontextmanager
async def upstreams(port: int) -> AsyncIterator[tuple[Upstreams, str]]:
    origin = f"http://127.0.0.1:{port}"
    opened = Upstreams([origin])
    try:
        yield opened, origin
    finally:
        await opened.aclose()


async def test_both_bodies_flow_while_they_come() -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        pieces: list[bytes] = []
        while (size := int(await reader.readline(), 16)) > 0:
            pieces.append(b"%x\r\n" % size + await reader.readexactly(size + 2))
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in (*pieces, b"0\r\n\r\n"):
            writer.write(piece)
            await writer.drain()

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with (
        server(connected) as port,
        upstreams(port) as (client, origin),
        client.stream("POST", origin, b"/x", content=body()) as answer,
    ):
        assert b"".join([chunk async for chunk in answer.chunks]) == b"onetwo"


async def test_no_more_of_a_body_is_taken_once_the_answer_has_begun() -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"one\r\n")
        writer.write(ok(b"enough"))
        await reader.read()

    async def endless() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.Event().wait()

    async with (
        server(connected) as port,
        upstreams(port) as (client, origin),
        client.stream("POST", origin, b"/x", content=endless(), idle_seconds=5) as answer,
    ):
        assert b"".join([chunk async for chunk in answer.chunks]) == b"enough"


async def test_the_first_bytes_come_before_the_last_are_sent() -> None:
    more = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n")
        await more.wait()
        writer.write(b"data: 2\n\n")

    async with (
        server(connected) as port,
        upstreams(port) as (client, origin),
        client.stream("GET", origin, b"/events") as answer,
    ):
        assert await anext(answer.chunks) == b"data: 1\n\n"
        more.set()
        assert await anext(answer.chunks) == b"data: 2\n\n"


async def test_a_request_goes_as_it_is_with_the_host_that_was_given() -> None:
    heads: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(ok(b"", "Set-Cookie: a=1", "Set-Cookie: b=2", status="302 Found"))
        await writer.drain()

    headers = [(b"Host", b"prelabel.example"), (b"X-A", b"1"), (b"X-A", b"2"), (b"Content-Length", b"0")]
    async with (
        server(connected) as port,
        upstreams(port) as (client, origin),
        client.stream("PUT", origin, b"/a%2Fb/../c?x=%zz", headers=headers) as answer,
    ):
        assert answer.status == 302
        assert list(answer.headers)[1:] == [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")]
    assert heads[0].startswith(b"PUT /a%2Fb/../c?x=%zz HTTP/1.1\r\n")
    assert b"Host: prelabel.example\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 0\r\n\r\n" in heads[0]


async def test_no_other_origin_is_called() -> None:
    async with upstreams(1) as (client, _):
        with pytest.raises(KeyError):
            async with client.stream("GET", "http://127.0.0.1:2", b"/"):
                pass


@pytest.mark.parametrize(
    "origin", ["", "127.0.0.1:80", "ftp://x", "http://x/path", "http://u:p@x", "http://", "http://x?y", "http://x:y"]
)
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(Refused, match="origin"):
        Upstreams([origin])


async def test_an_upstream_that_is_down_or_silent_or_breaks_off_is_told_apart() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab")
        await reader.read()

    async with (
        server(silent) as port,
        upstreams(port) as (client, origin),
        client.stream("GET", origin, b"/", idle_seconds=1.0) as answer,
    ):
        assert await anext(answer.chunks) == b"ab"
        with pytest.raises(TooSlow):
            await anext(answer.chunks)
    with nobody() as port:
        async with upstreams(port) as (client, origin):
            with pytest.raises(Unreachable):
                async with client.stream("GET", origin, b"/"):
                    pass

    async def breaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab")

    async with server(breaking) as port, upstreams(port) as (client, origin):
        with pytest.raises(BadAnswer):
            async with client.stream("GET", origin, b"/") as answer:
                assert [chunk async for chunk in answer.chunks] == []


async def test_leaving_early_closes_the_connection() -> None:
    gone = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab")
        await reader.read()
        gone.set()

    async with server(connected) as port, upstreams(port) as (client, origin):
        async with client.stream("GET", origin, b"/") as answer:
            await anext(answer.chunks)
        await asyncio.wait_for(gone.wait(), 60)
