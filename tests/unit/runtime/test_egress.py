"""Outbound calls on real sockets: bounded in time and memory, no redirects, no connection shared between two names."""

import asyncio
import gzip
import ssl
import tracemalloc
import zlib
from pathlib import Path

import httpcore
import pytest
import trustme
from prelabel_runtime.egress import (
    BadAnswer,
    Egress,
    EgressError,
    EgressPolicy,
    EgressSettings,
    Forbidden,
    TooSlow,
    Unreachable,
)
from prelabel_runtime.errors import Refused
from prelabel_runtime.metrics import Metrics

from .egress_scene import Connected, Dialler, Names, egress, nobody, ok, says, server

LOCAL = EgressPolicy.of(EgressSettings(http=True), loopback=True)
MIB = 1 << 20


def onto_the_machine(*hosts: str) -> Names:
    return Names({host: [["127.0.0.1"]] for host in hosts})


def real() -> Dialler:
    return Dialler(httpcore.AnyIOBackend())


# ------------------------------------------------------------------------------------------------------- the answer


async def test_an_answer_comes_with_its_status_headers_and_body() -> None:
    heard: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        heard.append(await reader.readexactly(2))
        writer.write(ok(b"thanks", "Retry-After: 7", "X-A: 1", "x-a: 2", status="429 Slow"))
        await writer.drain()

    async with server(connected) as port, egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, _):
        url = f"http://target.example:{port}/a%2Fb/../c?q=%20"
        answer = await guarded.request("POST", url, headers=[("X-Mine", "yes")], content=b"{}")
    assert (answer.status, answer.body, answer.truncated) == (429, b"thanks", False)
    assert (answer.headers["retry-after"], answer.headers["x-a"]) == ("7", "1, 2")
    head = heard[0].decode().lower()
    assert head.startswith("post /a%2fb/../c?q=%20 http/1.1\r\n"), "sent as it was judged"
    assert f"host: target.example:{port}\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert "x-mine: yes\r\n" in head
    assert "cookie" not in head
    assert "user-agent" not in head
    assert heard[1] == b"{}"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_an_answer_and_is_not_followed(status: str) -> None:
    visits: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            visits.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(ok(b"", "location: /elsewhere", status=status))

    async with server(connected) as port, egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, dialler):
        answer = await guarded.request("GET", f"http://target.example:{port}/")
    assert answer.status == int(status[:3])
    assert answer.headers["location"] == "/elsewhere"
    assert len(visits) == 1
    assert dialler.dialled == ["127.0.0.1"]


async def test_a_cookie_is_not_kept() -> None:
    heads: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(ok(b"", "set-cookie: session=abc; Path=/"))

    async with server(connected) as port, egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, _):
        for _ in range(2):
            await guarded.request("GET", f"http://target.example:{port}/")
    assert len(heads) == 2
    assert not any(b"session=abc" in head for head in heads)


# ------------------------------------------------------------------------------------------------------- connections


async def test_two_names_on_one_address_do_not_share_a_connection() -> None:
    opened = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await says(ok())(reader, writer)

    async with (
        server(connected) as port,
        egress(LOCAL, names=onto_the_machine("a.example", "b.example"), dialler=real()) as (guarded, _),
    ):
        for host in ("a.example", "b.example", "a.example", "b.example"):
            await guarded.request("GET", f"http://{host}:{port}/")
    assert opened == 2, "one each, used again"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_server(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_the_certificate_must_be_the_host_s_not_the_address_s(authority: trustme.CA) -> None:
    asked: list[str | None] = []
    context = tls_server(authority, "a.example")
    context.sni_callback = lambda _, name, __: asked.append(name)
    names = onto_the_machine("a.example", "b.example")
    async with (
        server(says(ok(b"hello")), ssl=context) as port,
        egress(LOCAL, names=names, dialler=real(), context=trusting(authority)) as (guarded, _),
    ):
        answer = await guarded.request("GET", f"https://a.example:{port}/")
        with pytest.raises(Unreachable) as failed:
            await guarded.request("GET", f"https://b.example:{port}/")
    assert answer.body == b"hello"
    assert asked == ["a.example", "b.example"]
    assert "certificate" in failed.value.detail


async def test_a_certificate_of_an_unknown_authority_is_not_taken(authority: trustme.CA) -> None:
    async with (
        server(says(ok()), ssl=tls_server(authority, "a.example")) as port,
        egress(LOCAL, names=onto_the_machine("a.example"), dialler=real()) as (guarded, _),
    ):
        with pytest.raises(Unreachable) as failed:
            await guarded.request("GET", f"https://a.example:{port}/")
    assert "certificate" in failed.value.detail


async def test_an_authority_of_one_s_own_is_a_setting(authority: trustme.CA, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    settings = EgressSettings(ca_file=file)
    names = onto_the_machine("a.example")
    async with server(says(ok()), ssl=tls_server(authority, "a.example")) as port:
        guarded = Egress(LOCAL, settings, purpose="test", metrics=Metrics(), resolve=names)
        assert (await guarded.request("GET", f"https://a.example:{port}/")).status == 200
        await guarded.aclose()
    with pytest.raises(Refused, match="PRELABEL_EGRESS_CA_FILE"):
        Egress(LOCAL, EgressSettings(ca_file=file.parent / "none"), purpose="test", metrics=Metrics())


# ----------------------------------------------------------------------------------------------------------- bounds


async def test_a_body_that_drips_is_given_up_at_the_deadline() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        finally:
            gone.set()

    async with server(connected) as port, egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, _):
        dripping = False
        while not dripping:  # a machine that stands still may give up before it is connected
            with pytest.raises(TooSlow) as late:
                await guarded.request("GET", f"http://target.example:{port}/", deadline=0.3)
            dripping = asked.is_set()
        await asyncio.wait_for(gone.wait(), 60)
    assert "0.3 s" in late.value.detail


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nx: y\r\n"])
async def test_headers_that_never_end_are_given_up_at_the_deadline(said: bytes) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        await reader.read()

    async with server(connected) as port, egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, _):
        with pytest.raises(TooSlow):
            await guarded.request("GET", f"http://target.example:{port}/", deadline=0.2)


async def test_a_name_server_that_hangs_is_given_up_at_the_deadline() -> None:
    class Hanging(Names):
        async def __call__(self, host: str, port: int) -> list[str]:
            await asyncio.Event().wait()
            return []

    async with egress(LOCAL, names=Hanging({})) as (guarded, dialler):
        with pytest.raises(TooSlow):
            await guarded.request("GET", "https://target.example/", deadline=0.1)
    assert dialler.dialled == []


def endless(*, chunked: bool, sent: list[int]) -> Connected:
    """A body of 1 GB, as fast as it is taken."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = "transfer-encoding: chunked" if chunked else "content-length: 1000000000"
        writer.write(f"HTTP/1.1 200 OK\r\n{length}\r\n\r\n".encode())
        piece = b"x" * 65536
        for _ in range(1_000_000_000 // len(piece)):
            writer.write(b"10000\r\n" + piece + b"\r\n" if chunked else piece)
            await writer.drain()
            sent[0] += len(piece)

    return connected


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_a_gigabyte_costs_little_memory_and_little_of_it_is_read(chunked: bool) -> None:
    sent = [0]
    async with (
        server(endless(chunked=chunked, sent=sent)) as port,
        egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, _),
    ):
        tracemalloc.start()
        answer = await guarded.request("GET", f"http://target.example:{port}/", max_bytes=100_000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (answer.status, len(answer.body), answer.truncated) == (200, 100_000, True)
    assert peak < 4 * MIB
    assert sent[0] < 64 * MIB, "the connection was closed"


async def test_a_body_of_exactly_the_limit_is_whole() -> None:
    async with server(says(ok(b"x" * 1000))) as port, egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, _):
        for limit, truncated in ((1000, False), (999, True)):
            answer = await guarded.request("GET", f"http://target.example:{port}/", max_bytes=limit)
            assert (len(answer.body), answer.truncated) == (limit, truncated)


@pytest.mark.parametrize(
    ("coding", "body", "read", "truncated"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0), b"hello", False),
        ("x-gzip", gzip.compress(b"hello", mtime=0), b"hello", False),
        ("deflate", zlib.compress(b"hello"), b"hello", False),
        ("identity", b"hello", b"hello", False),
        ("br", b"\x0b\x02\x80hello\x03", b"", True),
        ("gzip, gzip", gzip.compress(gzip.compress(b"hello", mtime=0), mtime=0), b"", True),
    ],
)
async def test_a_compressed_body_is_inflated_or_left(coding: str, body: bytes, read: bytes, truncated: bool) -> None:
    answers = says(ok(body, f"content-encoding: {coding}"))
    async with server(answers) as port, egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, _):
        answer = await guarded.request("GET", f"http://target.example:{port}/")
    assert (answer.status, answer.body, answer.truncated) == (200, read, truncated)


@pytest.mark.parametrize(("coding", "window"), [("gzip", zlib.MAX_WBITS | 16), ("deflate", zlib.MAX_WBITS)])
async def test_a_small_body_that_inflates_to_256_megabytes_costs_little_memory(coding: str, window: int) -> None:
    packer = zlib.compressobj(9, wbits=window)
    bomb = b"".join([packer.compress(b"\0" * MIB) for _ in range(256)]) + packer.flush()
    answers = says(ok(bomb, f"content-encoding: {coding}"))
    async with server(answers) as port, egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, _):
        tracemalloc.start()
        answer = await guarded.request("GET", f"http://target.example:{port}/", max_bytes=MIB)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(bomb) < MIB
    assert (answer.body, answer.truncated) == (b"\0" * MIB, True)
    assert peak < 6 * MIB


# -------------------------------------------------------------------------------------------------------- bad answers


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"+PONG\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40_000 + b"\r\n",
        b"",
    ],
)
async def test_what_is_no_http_that_we_take_is_a_bad_answer(said: bytes) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    async with server(connected) as port, egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, _):
        with pytest.raises(BadAnswer) as bad:
            await guarded.request("GET", f"http://target.example:{port}/", deadline=60)
    assert len(bad.value.detail) <= 300


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    async with egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, _):
        with nobody() as port, pytest.raises(Unreachable):
            await guarded.request("GET", f"http://target.example:{port}/")


async def test_no_outsider_learns_from_an_error_what_answers_on_our_network() -> None:
    told = set()
    async with server(says(b"SSH-2.0\r\n")) as port, egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, _):
        for url in (f"http://target.example:{port}/", "https://10.0.0.1/", "https://nowhere.example/", "gopher://x"):
            with pytest.raises(EgressError) as error:
                await guarded.request("GET", url, deadline=0.5)
            told.add(str(error.value))
    assert len(told) == 1


async def test_every_call_is_counted_by_what_came_of_it() -> None:
    metrics = Metrics()
    async with (
        server(says(ok())) as port,
        egress(LOCAL, ["127.0.0.1"], dialler=real(), metrics=metrics) as (guarded, _),
    ):
        await guarded.request("GET", f"http://target.example:{port}/")
        for url, error in (("https://10.0.0.1/", Forbidden), ("https://nowhere.example/", Unreachable)):
            with pytest.raises(error):
                await guarded.request("GET", url)
    for result in ("answered", "forbidden", "unreachable"):
        assert f'prelabel_egress_requests_total{{purpose="test",result="{result}"}} 1.0' in metrics.expose().decode()


async def test_a_call_that_is_cancelled_leaves_no_connection_behind() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        gone.set()

    async with server(connected) as port, egress(LOCAL, ["127.0.0.1"], dialler=real()) as (guarded, _):
        call = asyncio.create_task(guarded.request("GET", f"http://target.example:{port}/"))
        await asyncio.wait_for(asked.wait(), 60)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(gone.wait(), 60)
