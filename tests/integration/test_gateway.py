"""The gateway: what the documents name reaches its service and streams both ways; nothing else passes."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from prelabel_gateway.documents import load, merge
from prelabel_gateway.routes import Route, Routes
from prelabel_gateway.service import serve
from prelabel_gateway.settings import GatewaySettings
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Refused
from prelabel_runtime.process import listen, server
from prelabel_runtime.settings import ProcessSettings
from starlette.types import Receive, Scope, Send

from deploy.local.ports import free_port
from tests.rig.in_process import eventually
from tests.rig.processes import Prelabel, PrelabelProcess
from tests.rig.servers import ServerHandle

ROOT = Path(__file__).parents[2]
OPENAPI = ROOT / "docs" / "openapi"
SERVICES = sorted(path.stem for path in OPENAPI.glob("*.json") if path.stem != "all_in_one")
ROUTES = Routes(load(SERVICES))
PATIENCE = 60.0
TASKS = "/v1/projects/mails/tasks"
EVENTS = "/v1/projects/mails/runs/1/events"
MIB = 1024 * 1024

Say = Callable[[Scope, Receive, Send], Awaitable[None]]


# ------------------------------------------------------------------------------------------------ services and gateways


@dataclass
class Stand:
    """A server that stands where a service would be, and does to connections what no service of ours does."""

    name: str
    say: Say | None = None
    """What it does instead of telling what it got."""
    port: int = field(default_factory=free_port)
    got: list[Scope] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/openapi.json":  # the gateway asks whether anybody is there
            await answer(send, 401)
            return
        self.got.append(scope)
        if self.say is not None:
            await self.say(scope, receive, send)
            return
        body = await whole(receive)
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        told = {
            "service": self.name,
            "method": scope["method"],
            "target": (scope["raw_path"] + query).decode(),
            "headers": [(name.decode(), value.decode()) for name, value in scope["headers"]],
            "body": body.decode(),
        }
        await answer(send, 200, [(b"content-type", b"application/json")], orjson.dumps(told))


async def chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def whole(receive: Receive) -> bytes:
    return b"".join([chunk async for chunk in chunks(receive)])


async def answer(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]] = (), body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def standing(*stands: Stand) -> AsyncIterator[None]:
    """The servers, up."""
    up = [server(stand, ws="none") for stand in stands]
    with contextlib.ExitStack() as sockets:
        serving = [
            asyncio.create_task(one.serve([sockets.enter_context(listen("127.0.0.1", stand.port, ""))]))
            for one, stand in zip(up, stands, strict=True)
        ]
        while not all(one.started for one in up):  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            for one in up:
                one.force_exit = one.should_exit = True
            await asyncio.wait(serving)


@dataclass
class Running:
    """A gateway of the test's own."""

    client: httpx.AsyncClient
    port: int
    health_port: int

    async def readiness(self) -> httpx.Response:
        return await self.client.get(f"http://127.0.0.1:{self.health_port}/readyz")


@contextlib.asynccontextmanager
async def gateway(
    services: Mapping[str, str | Sequence[str]], *, ready: bool = True, **settings: Any
) -> AsyncIterator[Running]:
    """A gateway in front of some addresses."""
    process = ProcessSettings(port=free_port(), health_port=free_port())
    stopping = asyncio.Event()
    serving = asyncio.create_task(
        serve(process, GatewaySettings(services=dict(services), **settings), SystemClock(), stopping=stopping)
    )
    address = f"http://127.0.0.1:{process.port}"
    try:
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=PATIENCE) as client:
            running = Running(client, process.port, process.health_port)
            async with asyncio.timeout(PATIENCE):
                while not serving.done():
                    with contextlib.suppress(httpx.ConnectError):
                        if (await running.readiness()).status_code == 200 or not ready:
                            break
                    await asyncio.sleep(0.02)
            yield running
    finally:
        stopping.set()
        await asyncio.wait_for(serving, PATIENCE + 10)


@contextlib.asynccontextmanager
async def before(say: Say | None = None, **settings: Any) -> AsyncIterator[tuple[Running, Stand]]:
    """A gateway in front of one server that stands for every service."""
    stand = Stand("any", say)
    async with standing(stand), gateway(dict.fromkeys(SERVICES, stand.address), **settings) as running:
        yield running, stand


async def raw(port: int, text: bytes) -> bytes:
    """Everything that is answered to bytes on a connection, until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    said = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            while part := await reader.read(65536):
                said += part
    writer.close()
    return said


# ----------------------------------------------------------------------------------------------------------- documents


def test_the_one_document_says_what_all_in_one_says() -> None:
    merged = merge(load(SERVICES))
    everything = json.loads((OPENAPI / "all_in_one.json").read_text())
    assert {**merged, "info": None} == {**everything, "info": None}


def test_the_documents_that_are_carried_are_those_that_are_committed() -> None:
    for name, document in load(SERVICES).items():
        assert document == json.loads((OPENAPI / f"{name}.json").read_text())


def test_a_service_without_a_document_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="console"):
        load(["console"])


def test_two_services_on_one_path_are_refused() -> None:
    document = load(["training"])["training"]
    with pytest.raises(Refused, match="both training and other"):
        Routes({"training": document, "other": document})


def test_documents_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(Refused, match="/components/schemas/Task"):
        merge(
            {
                name: {"paths": {}, "components": {"schemas": {"Task": {"type": kind}}}}
                for name, kind in (("a", "object"), ("b", "string"))
            }
        )


async def test_a_folder_of_documents_may_be_named_instead(tmp_path: Path) -> None:
    (tmp_path / "clock.json").write_text(json.dumps({"openapi": "3.1.0", "paths": {"/v1/time": {"get": {}}}}))
    stand = Stand("clock")
    async with standing(stand), gateway({"clock": stand.address}, documents=tmp_path) as running:
        assert (await running.client.get("/v1/time")).json()["service"] == "clock"
        assert (await running.client.get("/v1/projects")).status_code == 404


# ------------------------------------------------------------------------------------------------------------- routing


async def test_every_documented_route_reaches_its_service_as_it_was_sent() -> None:
    stands = {name: Stand(name) for name in SERVICES}
    async with (
        standing(*stands.values()),
        gateway({name: stand.address for name, stand in stands.items()}) as running,
    ):
        document = (await running.client.get("/openapi.json")).json()
        assert document["paths"].keys() == {route.path for route in ROUTES}
        for route in ROUTES:
            target = _filled(route) + "?limit=7&cursor=a%2Fb%20c"
            got = (await running.client.request(route.method, target)).json()
            assert (got["service"], got["method"], got["target"]) == (route.service, route.method, target)


def _filled(route: Route) -> str:
    """A path of a route, with values that a careless proxy would change."""
    return "/".join("a%20b%C3%A4;+,%25" if "{" in part else part for part in route.path.split("/"))


async def test_a_service_that_is_not_named_is_not_offered() -> None:
    stand = Stand("training")
    async with standing(stand), gateway({"training": stand.address}) as running:
        assert (await running.client.get("/v1/projects/mails/examples")).status_code == 200
        refused = await running.client.get(TASKS)
        assert (refused.status_code, refused.json()["type"]) == (404, "urn:prelabel:problem:not_found")


async def test_a_wrong_method_is_told_which_are_right() -> None:
    async with before() as (running, stand):
        refused = await running.client.patch(TASKS)
        assert refused.status_code == 405
        assert refused.headers["allow"] == "GET, POST"
        assert refused.headers["content-type"] == "application/problem+json"
        assert stand.got == []


@pytest.mark.parametrize(
    "target",
    [
        "/v1/projects/../projects",
        "/v1/projects/%2e%2e/projects",
        "/v1/projects/x/../../projects",
        "/v1/projects/./mails",
        "/v1/projects/mails/%2E",
        "/v1/projects%2Fmails",
        "/v1/projects/a%2fb/tasks",
        "//v1/projects",
        "/v1//projects",
        "/v1/projects/",
        "/v1/projects//tasks",
        "/v1/projects/mails%00",
        "/v1/projects/mails%0d%0aX-Evil:%201/tasks",
        "http://127.0.0.1:1/v1/projects",
        "http://169.254.169.254/latest/meta-data",
        "127.0.0.1:1",
        "*",
        "/livez",
        "/metrics",
        "/v1/projects/mails/examples/../../../metrics",
    ],
)
async def test_a_path_that_somebody_could_read_as_another_goes_nowhere(target: str) -> None:
    async with before() as (running, stand):
        said = await raw(running.port, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert said.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), said
        assert stand.got == []


async def test_an_absolute_target_to_connect_to_somebody_else_is_refused() -> None:
    async with before() as (running, stand):
        said = await raw(running.port, b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " not in said.partition(b"\r\n")[0]
        assert stand.got == []


# ------------------------------------------------------------------------------------------------------------- headers


async def test_what_is_between_caller_and_service_passes_and_what_is_of_one_connection_does_not() -> None:
    sent = [
        ("Host", "prelabel.example:8443"),
        ("Authorization", "Bearer pl_secret"),
        ("Cookie", "prelabel_session=1"),
        ("Cookie", "other=2"),
        ("Origin", "https://prelabel.example"),
        ("If-Match", '"3"'),
        ("Connection", "keep-alive, X-Only-Here"),
        ("X-Only-Here", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic x"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
    ]
    async with before() as (running, _):
        got = (await running.client.get(TASKS, headers=sent)).json()["headers"]
    names = [name for name, _ in got]
    for name, value in sent[:6]:
        assert [name.lower(), value] in got
    assert not {"x-only-here", "keep-alive", "proxy-authorization", "te", "upgrade"} & set(names)
    assert names.count("host") == 1


async def test_the_answer_passes_as_it_is() -> None:
    compressed = zlib.compress(b"text " * 100)

    async def say(_: Scope, __: Receive, send: Send) -> None:
        headers = [
            (b"Content-Type", b"text/plain"),
            (b"Content-Encoding", b"deflate"),
            (b"Set-Cookie", b"a=1; HttpOnly"),
            (b"Set-Cookie", b"b=2"),
            (b"ETag", b'"7"'),
            (b"Location", b"/v1/projects/mails"),
            (b"Connection", b"X-Only-Here"),
            (b"X-Only-Here", b"1"),
            (b"Content-Length", str(len(compressed)).encode()),
        ]
        await answer(send, 418, headers, compressed)

    async with before(say) as (running, _), running.client.stream("GET", TASKS) as got:
        assert b"".join([part async for part in got.aiter_raw()]) == compressed
    assert got.status_code == 418
    assert got.headers.get_list("set-cookie") == ["a=1; HttpOnly", "b=2"]
    assert (got.headers["etag"], got.headers["location"]) == ('"7"', "/v1/projects/mails")
    assert got.headers["content-length"] == str(len(compressed))
    assert "x-only-here" not in got.headers
    assert len(got.headers.get_list("date")) == 1


async def test_the_gateway_keeps_no_cookie() -> None:
    async def say(scope: Scope, __: Receive, send: Send) -> None:
        await answer(send, 200, [(b"set-cookie", b"prelabel_session=of-somebody; Path=/")])

    async with before(say) as (running, stand):
        for _ in range(3):
            running.client.cookies.clear()
            await running.client.get(TASKS)
        assert all(name != b"cookie" for scope in stand.got for name, _ in scope["headers"])


async def test_who_called_is_told_and_nobody_else_is_believed() -> None:
    lie = {
        "X-Forwarded-For": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
        "X-Forwarded-Proto": "gopher",
        "X-Forwarded-Host": "evil",
        "X-Real-IP": "6.6.6.6",
    }
    async with before() as (running, _):
        got = dict((await running.client.get(TASKS, headers=lie)).json()["headers"])
    assert got["x-forwarded-for"] == "127.0.0.1"
    assert got["x-forwarded-proto"] == "http"
    assert got["x-forwarded-host"] == f"127.0.0.1:{running.port}"
    assert got["forwarded"] == f'for=127.0.0.1;proto=http;host="127.0.0.1:{running.port}"'
    assert "6.6.6.6" not in str(got)


async def test_a_trusted_proxy_is_believed() -> None:
    told = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "prelabel.example"}
    async with before(trusted=("127.0.0.0/8",)) as (running, _):
        got = (await running.client.get(TASKS, headers=told)).json()["headers"]
    assert [value for name, value in got if name == "x-forwarded-for"] == ["203.0.113.7", "127.0.0.1"]
    assert [value for name, value in got if name == "x-forwarded-proto"] == ["https"]
    assert [value for name, value in got if name == "x-forwarded-host"] == ["prelabel.example"]


async def test_a_request_has_one_name_in_every_log() -> None:
    async with before() as (running, _):
        named = await running.client.get(TASKS, headers={"X-Request-Id": "mine-1"})
        assert named.headers["x-request-id"] == dict(named.json()["headers"])["x-request-id"] == "mine-1"
        for bad in ("two words", "a" * 129, '{"$ne": 1}'):
            got = await running.client.get(TASKS, headers={"X-Request-Id": bad})
            assert got.headers["x-request-id"] == dict(got.json()["headers"])["x-request-id"] != bad
        assert "x-request-id" in (await running.client.get("/v1/nothing")).headers


# ----------------------------------------------------------------------------------------------------------- smuggling


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Content-Length: 5\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding:\x0bchunked",
    ],
)
async def test_a_body_whose_length_is_said_in_two_ways_reaches_nobody(head: str) -> None:
    smuggled = b"0\r\n\r\nGET /v1/projects/secret HTTP/1.1\r\nHost: x\r\n\r\n"
    async with before() as (running, stand):
        sent = f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n\r\n"
        said = await raw(running.port, sent.encode() + smuggled)
    assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), said
    assert said.count(b"HTTP/1.1 ") == 1
    assert stand.got == []


async def test_requests_in_one_packet_stay_apart() -> None:
    one = f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc".encode()
    two = f"GET {TASKS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    async with before() as (running, stand):
        said = await raw(running.port, one + two)
    assert said.count(b"HTTP/1.1 200") == 2
    assert [scope["method"] for scope in stand.got] == ["POST", "GET"]
    assert b'"body":"abc"' in said


# ------------------------------------------------------------------------------------------------------------- streams


async def test_an_event_is_handed_on_before_the_next_one_is_there() -> None:
    more = asyncio.Event()

    async def say(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await more.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    async with before(say) as (running, _), running.client.stream("GET", EVENTS) as got:
        parts = got.aiter_raw()
        assert await asyncio.wait_for(anext(parts), PATIENCE) == b"data: 1\n\n"
        more.set()
        assert await asyncio.wait_for(anext(parts), PATIENCE) == b"data: 2\n\n"


async def test_whoever_follows_something_is_let_go_when_the_gateway_stops() -> None:
    async def say(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await whole(receive)
        await receive()

    got: list[bytes] = []
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client, contextlib.AsyncExitStack() as stack:
        async with before(say) as (running, _):
            address = f"http://127.0.0.1:{running.port}{EVENTS}"
            answer = await stack.enter_async_context(client.stream("GET", address))
            parts = answer.aiter_raw()
            got.append(await anext(parts))
        # A whole answer: one that the gateway gives up on, because it will not end, breaks off.
        assert [*got, *[part async for part in parts]] == [b"data: 1\n\n"]


async def test_a_line_is_handed_on_before_the_next_one_is_sent() -> None:
    arrived = asyncio.Event()

    async def say(_: Scope, receive: Receive, send: Send) -> None:
        body = b""
        async for chunk in chunks(receive):
            body += chunk
            arrived.set()
        await answer(send, 202, (), body)

    async def lines() -> AsyncIterator[bytes]:
        yield b"one\n"
        await asyncio.wait_for(arrived.wait(), PATIENCE)
        yield b"two\n"

    async with before(say) as (running, _):
        assert (await running.client.post(TASKS, content=lines())).content == b"one\ntwo\n"


@pytest.mark.parametrize("length", [{}, {"Content-Length": "1000"}])
async def test_a_body_that_a_service_has_answered_holds_nothing_of_the_service(length: dict[str, str]) -> None:
    async def say(_: Scope, __: Receive, send: Send) -> None:
        await answer(send, 401, [(b"content-type", b"application/json")], b"{}")

    async with before(say, connections=1) as (running, _):
        async with asyncio.timeout(PATIENCE), running.client.stream("GET", "/v1/me") as got:
            assert got.status_code == 401
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        head = "".join(f"{name}: {value}\r\n" for name, value in (length or {"Transfer-Encoding": "chunked"}).items())
        writer.write(f"POST {TASKS} HTTP/1.1\r\nHost: x\r\n{head}\r\n4\r\none\n\r\n".encode())
        assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 401")
        assert (await running.client.get("/v1/me")).status_code == 401
        writer.close()


async def test_a_caller_who_stops_in_the_middle_of_a_body_is_given_up() -> None:
    noticed = asyncio.Event()

    async def say(_: Scope, receive: Receive, __: Send) -> None:
        with contextlib.suppress(ConnectionError):
            await whole(receive)
        noticed.set()

    async with before(say, idle_seconds=2.0) as (running, _):
        head = f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\none"
        assert (await raw(running.port, head.encode())).startswith(b"HTTP/1.1 408")
        await asyncio.wait_for(noticed.wait(), PATIENCE)


async def test_a_caller_who_hangs_up_is_hung_up_for_at_the_service() -> None:
    followed, noticed = asyncio.Event(), asyncio.Event()

    async def say(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        followed.set()
        await whole(receive)
        assert (await receive())["type"] == "http.disconnect"
        noticed.set()

    async with before(say) as (running, _):
        async with running.client.stream("GET", EVENTS) as got:
            await anext(got.aiter_raw())
            assert not noticed.is_set()
        await asyncio.wait_for(noticed.wait(), PATIENCE)


async def test_a_caller_who_hangs_up_before_the_answer_is_hung_up_for_too() -> None:
    asked, noticed = asyncio.Event(), asyncio.Event()

    async def say(_: Scope, receive: Receive, __: Send) -> None:
        await whole(receive)
        asked.set()
        assert (await receive())["type"] == "http.disconnect"
        noticed.set()

    async with before(say) as (running, _):
        calling = asyncio.create_task(running.client.post("/v1/projects/mails/predictions", json={"data": {}}))
        await asyncio.wait_for(asked.wait(), PATIENCE)
        calling.cancel()
        await asyncio.wait_for(noticed.wait(), PATIENCE)


async def test_an_upload_that_breaks_off_breaks_off_at_the_service() -> None:
    begun, noticed = asyncio.Event(), asyncio.Event()

    async def say(_: Scope, receive: Receive, __: Send) -> None:
        try:
            async for chunk in chunks(receive):
                if chunk:
                    begun.set()
        except ConnectionError:
            noticed.set()

    async def lines() -> AsyncIterator[bytes]:
        yield b"one\n"
        await asyncio.Event().wait()

    async with before(say) as (running, _):
        calling = asyncio.create_task(running.client.post(TASKS, content=lines()))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        calling.cancel()
        await asyncio.wait_for(noticed.wait(), PATIENCE)


@pytest.mark.slow
async def test_an_upload_and_an_export_of_200_mb_need_no_memory(tmp_path: Path) -> None:
    block, blocks = b'{"data": {"text": "' + b"x" * 65_000 + b'"}}\n', 200 * MIB // 65_024
    told = len(block) * blocks

    async def say(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            size = 0
            async for chunk in chunks(receive):
                size += len(chunk)
            await answer(send, 202, (), str(size).encode())
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(blocks):
            await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def lines() -> AsyncIterator[bytes]:
        for _ in range(blocks):
            yield block

    stand = Stand("any", say)
    variables = {"PRELABEL_GATEWAY_SERVICES": json.dumps(dict.fromkeys(SERVICES, stand.address))}
    process = PrelabelProcess("gateway", "prelabel_gateway", variables, tmp_path)
    async with standing(stand), httpx.AsyncClient(timeout=60, trust_env=False) as client:
        process.start()
        try:
            await asyncio.to_thread(process.ready)
            await client.post(process.address + TASKS, content=b"{}")
            small = _memory(process.pid, "VmRSS")
            assert (await client.post(process.address + TASKS, content=lines())).text == str(told)
            async with client.stream("GET", process.address + "/v1/projects/mails/export") as export:
                size = 0
                async for part in export.aiter_raw():
                    size += len(part)
            assert size == told
            peak = _memory(process.pid, "VmHWM")
        finally:
            process.signal(signal.SIGKILL)
    assert peak - small < 24 * MIB, f"{(peak - small) / MIB:.0f} MiB more"


def _memory(pid: int, which: str) -> int:
    """A process's memory in bytes: what it has (VmRSS), or the most that it ever had (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{which}:")[2].split()[0]) * 1024


# ------------------------------------------------------------------------------------------------------------- outages


async def test_a_service_that_is_down_is_a_problem_that_says_when_to_come_back() -> None:
    up = Stand("projection")
    services = {"projection": up.address, "ingestion": f"http://127.0.0.1:{free_port()}"}
    async with standing(up), gateway(services, patience_seconds=0) as running:
        got = await running.client.post(TASKS, content=b"{}")
        assert got.status_code == 503
        assert got.headers["content-type"] == "application/problem+json"
        assert got.headers["retry-after"] == "1"
        assert "ingestion does not answer; nothing was taken" in got.json()["detail"]
        assert (await running.client.get(TASKS)).json()["service"] == "projection"
        metrics = (await running.client.get(f"http://127.0.0.1:{running.health_port}/metrics")).text
        assert 'prelabel_gateway_failures_total{result="unreachable",service="ingestion"} 1.0' in metrics


async def test_a_service_that_breaks_off_before_its_answer_is_a_502() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(cut, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening, gateway({"training": address}, ready=False) as running:
        got = await running.client.get("/v1/projects/mails/examples")
    assert (got.status_code, got.json()["type"]) == (502, "urn:prelabel:problem:no_answer")
    assert got.headers["retry-after"] == "1"


async def test_an_answer_that_breaks_off_does_not_look_whole() -> None:
    async def say(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    async with before(say) as (running, _):
        with pytest.raises(httpx.RemoteProtocolError):
            await running.client.get("/v1/projects/mails/export")


async def test_a_service_that_says_nothing_is_given_up() -> None:
    async def say(_: Scope, receive: Receive, __: Send) -> None:
        await whole(receive)
        assert (await receive())["type"] == "http.disconnect"

    async with before(say, idle_seconds=2.0) as (running, _):
        got = await running.client.get(TASKS)
        assert (got.status_code, got.json()["type"]) == (504, "urn:prelabel:problem:too_slow")


async def test_of_several_addresses_the_next_one_answers_where_one_is_down() -> None:
    up = Stand("training")
    services = {"training": [f"http://127.0.0.1:{free_port()}", up.address]}
    async with standing(up), gateway(services) as running:
        for _ in range(4):
            got = await running.client.get("/v1/projects/mails/examples", headers={"X": "1"})
            assert got.status_code == 200


async def test_several_addresses_are_taken_in_turn() -> None:
    stands = [Stand("1"), Stand("2")]
    async with standing(*stands), gateway({"training": [stand.address for stand in stands]}) as running:
        for _ in range(10):
            await running.client.get("/v1/projects/mails/examples")
    assert [len(stand.got) for stand in stands] == [5, 5]


async def test_it_is_ready_once_every_service_has_answered() -> None:
    late = Stand("training")
    up = Stand("projection")
    services = {"training": late.address, "projection": up.address}
    async with standing(up), gateway(services, ready=False) as running:
        wanted = {"training": "has not answered yet"}
        await eventually(
            running.readiness, lambda probe: probe.status_code == 503 and probe.json()["missing"] == wanted
        )
        async with standing(late):
            await eventually(running.readiness, lambda probe: probe.status_code == 200)
        # An outage of one service later on takes no gateway away from callers of the others.
        assert (await running.readiness()).status_code == 200


# ------------------------------------------------------------------------------------------------------------ replicas


@pytest.mark.kafka
@pytest.mark.mongo
async def test_any_of_several_gateways_answers_for_any_of_several_replicas(
    tmp_path: Path, kafka_server: ServerHandle, mongo_server: ServerHandle
) -> None:
    prelabel = Prelabel.separate(tmp_path, kafka=kafka_server.address, mongo=mongo_server.address, providers=["rules"])
    first, more = prelabel.process("ingestion"), prelabel.process("ingestion").twin("ingestion-2")
    with prelabel, _started(more):
        others = {name: prelabel.process(name).address for name in ("projection", "training")}
        services = {**others, "ingestion": [first.address, more.address]}
        told = {"PRELABEL_GATEWAY_SERVICES": json.dumps(services)}
        gateways = [PrelabelProcess(f"gateway-{n}", "prelabel_gateway", told, tmp_path) for n in (1, 2)]
        async with contextlib.AsyncExitStack() as stack:
            callers = []
            for one in gateways:
                stack.enter_context(_started(one))
                client = httpx.AsyncClient(base_url=one.address, timeout=2 * PATIENCE, trust_env=False)
                client.headers["Authorization"] = f"Bearer {prelabel.key}"
                callers.append(await stack.enter_async_context(client))
            assert (await callers[0].put("/v1/projects/mails", json=_urgent())).status_code == 201
            await eventually(lambda: callers[1].get("/v1/projects/mails"), lambda got: got.status_code == 200)
            asked = [
                callers[n % 2].post(
                    "/v1/projects/mails/predictions",
                    json={"id": f"t{n}", "data": {"text": f"now {n}"}},
                    headers={"Prefer": "wait=60"},
                )
                for n in range(24)
            ]
            for got in await asyncio.gather(*asked):
                assert got.status_code == 200, got.text
                assert [one["outcome"] for one in got.json()["predictions"]] == ["created"]
            for caller in callers:  # what one has taken in, the other one shows
                await eventually(partial(_known, caller), lambda known: known == {f"t{n}" for n in range(24)})
            for one in (first, more):
                assert await _asked(one) > 0, f"{one.name} was never asked"
            await _a_session_holds(callers)


async def _a_session_holds(callers: Sequence[httpx.AsyncClient]) -> None:
    """A browser that came in at one gateway is known at the other, to every service."""
    link = (await callers[0].post("/v1/links", json={})).json()["url"]
    async with httpx.AsyncClient(timeout=60, trust_env=False) as browser:
        entered = await browser.get(str(callers[1].base_url.join(link)))
        assert entered.status_code == 303, entered.text
        cookie = {"Cookie": entered.headers["set-cookie"].partition(";")[0]}
        browser.cookies.clear()
        for caller in callers:
            for path in ("/v1/me", "/v1/projects/mails/counts", "/v1/projects/mails/examples", "/"):
                address = str(caller.base_url.join(path))
                await eventually(partial(browser.get, address, headers=cookie), lambda got: got.status_code == 200)
                assert (await browser.get(address)).status_code == 401


async def _known(caller: httpx.AsyncClient) -> set[str]:
    return {task["id"] for task in (await caller.get(TASKS)).json()["tasks"]}


def _urgent() -> dict[str, Any]:
    question = {"name": "topic", "kind": "choice", "field": "text", "labels": ["urgent"], "multiple": False}
    rules = [{"label": "urgent", "substring": "now", "as": "choice"}]
    model = {"name": "finder", "provider": "rules", "settings": {"rules": rules}}
    return {"label_set": {"questions": [question]}, "models": [model]}


@contextlib.contextmanager
def _started(process: PrelabelProcess) -> Iterator[None]:
    process.start()
    try:
        process.ready()
        yield
    finally:
        process.signal(signal.SIGTERM)
        process.wait(60)


async def _asked(process: PrelabelProcess) -> int:
    """How many predictions a replica was asked for."""
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        metrics = (await client.get(f"http://127.0.0.1:{process.health_port}/metrics")).text
    lines = [line for line in metrics.splitlines() if line.startswith("prelabel_http_seconds_count")]
    return sum(int(float(line.split()[-1])) for line in lines if 'predictions"' in line)


# ------------------------------------------------------------------------------------------------------------- process


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "PRELABEL_GATEWAY_SERVICES"),
        ({"PRELABEL_GATEWAY_SERVICES": "ingestion"}, "PRELABEL_GATEWAY_SERVICES: write it as JSON"),
        ({"PRELABEL_GATEWAY_SERVICES": '{"console": "http://x:1"}'}, "names 'console', and there is no document"),
        ({"PRELABEL_GATEWAY_SERVICES": '{"training": "x:1"}'}, "'x:1' is no origin like http://HOST:PORT"),
        ({"PRELABEL_GATEWAY_SERVICES": '{"training": "http://x:1/v1"}'}, "is no origin like http://HOST:PORT"),
    ],
)
def test_settings_that_make_no_sense_end_it_with_one_line(variables: dict[str, str], said: str) -> None:
    command = [sys.executable, "-m", "prelabel_gateway"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
