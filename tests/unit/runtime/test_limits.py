"""Limits: how many requests, from whom, how large; in bounded memory."""

from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Request, Response
from hypothesis import given
from hypothesis import strategies as st
from prelabel_runtime.http import app
from prelabel_runtime.http.access import READERS, Caller, Reach, Role, allow
from prelabel_runtime.http.limits import Limits, LimitsSettings
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.testing.doubles import ManualClock


class Door:
    """An application whose callers say who they are, with time that stands still."""

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        router = APIRouter()

        @router.get("/x", dependencies=[allow("x.list", READERS, Reach.LISTING)])
        async def x(limit: int = 1) -> Response:
            return Response("done")

        @router.post(
            "/x/{y}",
            dependencies=[allow("x.stream", READERS, Reach.LISTING)],
            openapi_extra={"requestBody": {"content": {"application/x-ndjson": {}}}},
        )
        async def stream(y: str, request: Request) -> Response:
            return Response(str(len(await request.body())))

        @router.post("/x", dependencies=[allow("x.put", READERS, Reach.LISTING)])
        async def put(request: Request) -> Response:
            return Response(str(len(await request.body())))

        async def identify(scope: Any) -> Caller | None:
            sent = dict(scope["headers"]).get(b"authorization", b"").decode()
            name, _, role = sent.partition(" ")
            return Caller(name, name, role) if role else None

        async def record(_: Any) -> None:
            raise AssertionError("nothing here is audited")

        self.app = app.build(
            [router],
            title="x",
            identify=identify,
            record=record,
            limits=LimitsSettings(**settings),
            metrics=self.metrics,
            clock=self.clock,
        )

    async def ask(self, who: str = "a admin", *, address: str = "192.0.2.1", **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, client=(address, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            headers = {"Authorization": who} if who else {}
            method = "POST" if "content" in more else "GET"
            return await client.request(
                method, more.pop("path", "/x"), headers=headers | more.pop("headers", {}), **more
            )


async def statuses(door: Door, count: int, *asked: Any, **more: Any) -> list[int]:
    return [(await door.ask(*asked, **more)).status_code for _ in range(count)]


async def test_a_key_may_ask_its_burst_at_once_and_then_at_its_rate() -> None:
    door = Door(per_second=2, burst=5)
    assert await statuses(door, 7) == [200] * 5 + [429] * 2
    door.clock.advance(1.0)
    assert await statuses(door, 3) == [200] * 2 + [429]
    door.clock.advance(1000.0)
    assert await statuses(door, 6) == [200] * 5 + [429]


async def test_who_waits_as_long_as_told_is_answered() -> None:
    door = Door(per_second=0.5, burst=1)
    await door.ask()
    refused = await door.ask()
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "urn:prelabel:problem:quota-exceeded"
    assert refused.headers["retry-after"] == "2"
    door.clock.advance(float(refused.headers["retry-after"]))
    assert (await door.ask()).status_code == 200


async def test_every_answer_tells_the_limit_and_what_is_left() -> None:
    door = Door(per_second=2, burst=10)
    first, second = await door.ask(), await door.ask()
    assert first.headers["ratelimit-policy"] == '"key";q=10;w=5'
    assert [one.headers["ratelimit"] for one in (first, second)] == ['"key";r=9;t=1', '"key";r=8;t=1']
    stranger = await door.ask("")
    assert stranger.status_code == 401
    assert stranger.headers["ratelimit-policy"].startswith('"address";')
    await statuses(door, 10)
    assert (await door.ask()).headers["ratelimit"] == '"key";r=0;t=5'


async def test_one_key_takes_nothing_from_another_and_roles_have_their_own_limits() -> None:
    door = Door(per_second=1, burst=2, roles={"labeler": {"per_second": 1, "burst": 1}})
    assert await statuses(door, 3, "a admin") == [200, 200, 429]
    assert await statuses(door, 3, "b admin") == [200, 200, 429]
    assert await statuses(door, 2, "c labeler") == [200, 429]
    exposed = door.metrics.expose().decode()
    assert 'prelabel_http_limited_total{role="admin"} 2.0' in exposed
    assert 'prelabel_http_limited_total{role="labeler"} 1.0' in exposed


async def test_a_role_of_a_later_version_may_nothing_and_breaks_nothing() -> None:
    assert await statuses(Door(), 1, "a viewer") == [403]


async def test_strangers_of_one_address_harm_no_other_address_and_no_key() -> None:
    door = Door(stranger_per_second=1, stranger_burst=2)
    assert await statuses(door, 3, "") == [401, 401, 429]
    assert await statuses(door, 1, "", address="192.0.2.2") == [401]
    assert await statuses(door, 1, "a admin") == [200]
    v6 = [await statuses(door, 1, "", address=f"2001:db8::{n}") for n in range(1, 4)]
    assert v6 == [[401], [401], [429]], "addresses of one network count together"
    assert await statuses(door, 1, "", address="2001:db8:0:1::1") == [401]


async def test_a_body_over_the_limit_is_refused_and_a_streamed_upload_is_one_request() -> None:
    door = Door(body_bytes=1024, burst=2, per_second=0.001)
    refused = await door.ask(content=b"x" * 1025)
    assert (refused.status_code, "1024" in refused.json()["detail"]) == (413, True)
    kind = {"Content-Type": "application/x-ndjson"}
    assert (await door.ask(path="/x/y", content=b"x" * 100_000, headers=kind)).text == "100000"
    assert (await door.ask()).status_code == 429
    for who, path, sent in (("b admin", "/x", kind), ("c admin", "/x/y", {}), ("d admin", "/x/y/z", kind)):
        refused = await door.ask(who, path=path, content=b"x" * 100_000, headers=sent)
        assert refused.status_code in (404, 413), (path, sent)


async def test_a_page_that_is_too_large_is_refused_with_what_would_do() -> None:
    door = Door(page_items=200)
    assert (await door.ask(path="/x?limit=200")).status_code == 200
    for asked in ("201", "99999999999999999999", "0000000999", "%2B999", "9_99", "999.0", "%20999", "1&%6cimit=999"):
        refused = await door.ask(path=f"/x?limit={asked}")
        assert (refused.status_code, "at most 200" in refused.json()["detail"]) == (422, True)
    assert (await door.ask(path="/x?limit=many")).status_code == 422


def test_memory_is_bounded_and_who_came_last_is_remembered() -> None:
    limits = Limits(LimitsSettings(burst=2, per_second=0.001), ManualClock(), most=100)
    scope = {"client": ("192.0.2.1", 1)}
    for number in range(1000):
        limits.take(Caller(f"k{number}", "", Role.ADMIN), scope)
    assert len(limits._buckets) == 100
    assert not limits.take(Caller("k999", "", Role.ADMIN), scope).exceeded
    assert limits.take(Caller("k999", "", Role.ADMIN), scope).exceeded


@given(
    per_second=st.floats(0.1, 100),
    burst=st.integers(1, 50),
    waits=st.lists(st.floats(0, 5), min_size=1, max_size=80),
)
def test_no_more_is_answered_than_the_burst_and_the_rate_allow(
    per_second: float, burst: int, waits: list[float]
) -> None:
    clock = ManualClock()
    limits = Limits(LimitsSettings(burst=burst, per_second=per_second), clock)
    answered = 0
    for wait in waits:
        clock.advance(wait)
        quota = limits.take(Caller("k", "", Role.ADMIN), {})
        answered += not quota.exceeded
        assert 0 <= int(quota.headers["RateLimit"].split(";")[1].removeprefix("r=")) <= burst
    assert answered <= burst + sum(waits) * per_second + 1e-6


@pytest.mark.parametrize("wrong", [{"per_second": 0}, {"burst": 0}, {"roles": {"root": {}}}, {"page_items": 5000}])
def test_limits_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises(Exception, match="PRELABEL_LIMITS_"):
        LimitsSettings(**wrong)


def test_the_defaults_let_a_benchmark_and_a_million_lines_through() -> None:
    limits = Limits(LimitsSettings(), ManualClock())
    assert not any(limits.take(Caller("k", "", Role.SERVICE), {}).exceeded for _ in range(5000))
