"""Sessions: a link that works once, a cookie that no page of a stranger can use, an end that counts everywhere."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from prelabel_contract import names
from prelabel_contract.events import KeyChanged, LinkUsed
from prelabel_runtime.http.browser import SESSION_COOKIE

from tests.rig.in_process import Here, eventually

from .test_api_doors import problem
from .test_api_keys import made, using

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def link(client: httpx.AsyncClient, **wanted: Any) -> str:
    """The path of a new link."""
    answer = await client.post("/v1/links", json=wanted)
    assert answer.status_code == 201, answer.text
    assert set(answer.json()) == {"url", "expires_ms"}
    return str(answer.json()["url"])


def browser(here: Here) -> httpx.AsyncClient:
    """A client with cookies and without a key."""
    return httpx.AsyncClient(base_url=here.client.base_url, timeout=60, trust_env=False)


@pytest_asyncio.fixture(loop_scope="session")
async def session(here: Here) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that has followed a link of the bootstrap key."""
    async with browser(here) as client:
        assert (await client.get(await link(here.client))).status_code == 303
        yield client


def origin_of(here: Here) -> dict[str, str]:
    """What a page of ours sends."""
    return {"Origin": str(here.client.base_url).rstrip("/")}


async def test_a_link_becomes_a_session_of_its_makers_role_and_projects(here: Here) -> None:
    mine, theirs = await here.project(), await here.project()
    key = await made(here, projects=[mine])
    async with using(here, key["key"]) as maker, browser(here) as client:
        entered = await client.get(await link(maker))
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        me = (await client.get("/v1/me")).json()
        assert (me["kind"], me["role"], me["projects"]) == ("session", "admin", [mine])
        assert 11.9 < (me["expires_ms"] - me["now_ms"]) / 3_600_000 <= 12
        assert (await client.get(f"/v1/projects/{mine}")).status_code == 200
        problem(await client.get(f"/v1/projects/{theirs}"), "unknown_project", 404)


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(here: Here) -> None:
    async with browser(here) as client:
        entered = await client.get(await link(here.client))
        cookie = entered.headers["set-cookie"]
        assert cookie.startswith(f"{SESSION_COOKIE}=pl_")
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert entered.headers["referrer-policy"] == "no-referrer"
        assert entered.headers["cache-control"] == "no-store"
        assert entered.content == b""
        behind_tls = await client.get(await link(here.client), headers={"X-Forwarded-Proto": "https"})
        assert behind_tls.headers["set-cookie"].endswith("; Secure")


async def test_a_link_works_once(here: Here) -> None:
    path = await link(here.client)
    async with browser(here) as first, browser(here) as second:
        assert (await first.get(path)).status_code == 303
        problem(await second.get(path), "link_spent", 410)
        assert "set-cookie" not in (await second.get(path)).headers
        problem(await second.get("/v1/me"), "no_key", 401)


async def test_of_many_who_follow_a_link_at_once_one_gets_in(here: Here) -> None:
    path = await link(here.client)
    async with browser(here) as client:
        answers = await asyncio.gather(*(client.get(path) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [303] + [410] * 19


async def test_a_link_that_another_replica_gave_away_first_is_spent(here: Here) -> None:
    """The first use in the log counts, also if this process has not read it yet when it is asked."""
    from prelabel_contract.events import event
    from prelabel_runtime.loop import messages

    path = await link(here.client)
    link_id = path.split("pl_")[1].split("_")[0]
    elsewhere = event(LinkUsed(id=link_id, session="elsewhere"), id="x", source="/test", time_ms=0)
    await here.runtime.bus.publish(messages([elsewhere]))
    async with browser(here) as client:
        problem(await client.get(path), "link_spent", 410)


async def test_a_link_that_is_too_old_or_made_up_opens_nothing(here: Here) -> None:
    soon_over = await link(here.client, expires_in_seconds=1)
    async with browser(here) as client:
        for path in ("/enter", "/enter?token=", "/enter?token=x", "/enter?token=pl_a_b"):
            problem(await client.get(path), "link_spent", 410)
        await asyncio.sleep(1.05)
        problem(await client.get(soon_over), "link_spent", 410)


async def test_a_key_is_no_link_a_link_is_no_key_and_a_session_neither(here: Here, session: httpx.AsyncClient) -> None:
    key = (await made(here))["key"]
    token = (await link(here.client)).split("token=")[1]
    cookie = session.cookies[SESSION_COOKIE]
    async with browser(here) as client:
        for other in (key, cookie):
            problem(await client.get(f"/enter?token={other}"), "link_spent", 410)
        for other in (token, cookie):
            sent = {"Authorization": f"Bearer {other}"}
            problem(await client.get("/v1/me", headers=sent), "no_key", 401)
        for other in (key, token):
            problem(await client.get("/v1/me", headers={"Cookie": f"{SESSION_COOKIE}={other}"}), "no_key", 401)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "user@127.0.0.1", "["])
async def test_a_session_is_taken_under_our_names_only(here: Here, session: httpx.AsyncClient, host: str) -> None:
    path = await link(here.client)
    for asked in ("/v1/me", path):
        answer = await session.get(asked, headers={"Host": host})
        assert answer.status_code in (400, 421)
        if answer.status_code == 421:
            assert "PRELABEL_HOSTS" in problem(answer, "unknown_host")["detail"]
    assert (await session.get(path)).status_code == 303, "a refused visit must not spend the link"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:80", "prelabel.localhost"])
async def test_loopback_by_any_of_its_names_is_ours(here: Here, session: httpx.AsyncClient, host: str) -> None:
    assert (await session.get("/v1/me", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
async def test_a_session_changes_nothing_for_a_page_that_is_not_ours(
    here: Here, session: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    project = await here.project()
    body = {"data": {"text": "x"}}
    for method, path in (("POST", f"/v1/projects/{project}/tasks"), ("DELETE", "/v1/me"), ("POST", "/v1/keys")):
        problem(await session.request(method, path, json=body, headers=headers), "foreign_origin", 403)
    assert (await here.get(f"{project}/counts"))["tasks"] == 0
    assert (await session.get("/v1/me", headers=headers)).status_code == 200


async def test_a_session_changes_things_for_a_page_of_ours(here: Here, session: httpx.AsyncClient) -> None:
    project = await here.project()
    for headers in (origin_of(here), {"Sec-Fetch-Site": "same-origin"}):
        answer = await session.post(f"/v1/projects/{project}/tasks", json={"data": {"text": "x"}}, headers=headers)
        assert answer.status_code == 202, answer.text


async def test_a_key_needs_no_origin_and_no_host_of_ours(here: Here) -> None:
    answer = await here.client.post(
        "/v1/keys", json={"name": "x", "role": "labeler"}, headers={"Origin": "https://evil.example", "Host": "evil"}
    )
    assert answer.status_code == 201


async def test_a_wrong_key_is_not_helped_by_a_session_beside_it(session: httpx.AsyncClient) -> None:
    problem(await session.get("/v1/me", headers={"Authorization": "Bearer wrong"}), "no_key", 401)


async def test_who_ends_a_session_is_out_at_once_and_the_cookie_goes(here: Here, session: httpx.AsyncClient) -> None:
    cookie = session.cookies[SESSION_COOKIE]
    ended = await session.delete("/v1/me", headers=origin_of(here))
    assert ended.status_code == 204
    assert "Max-Age=0" in ended.headers["set-cookie"]
    async with browser(here) as client:
        problem(await client.get("/v1/me", headers={"Cookie": f"{SESSION_COOKIE}={cookie}"}), "no_key", 401)
    problem(await here.client.delete("/v1/me"), "no_session", 409)


async def test_a_session_ends_with_the_key_that_opened_it(here: Here) -> None:
    key = await made(here)
    async with using(here, key["key"]) as maker, browser(here) as client:
        path = await link(maker)
        unused = await link(maker)
        assert (await client.get(path)).status_code == 303
        assert (await client.get("/v1/me")).status_code == 200
        await here.client.delete(f"/v1/keys/{key['id']}")
        problem(await client.get("/v1/me"), "no_key", 401)
        problem(await client.get(unused), "link_spent", 410)


async def test_sessions_are_listed_and_can_be_revoked_by_an_admin(here: Here, session: httpx.AsyncClient) -> None:
    me = (await session.get("/v1/me")).json()["id"]
    sessions = (await here.client.get("/v1/keys", params={"kind": "session", "limit": 1000})).json()["keys"]
    assert me in {row["id"] for row in sessions}
    keys = (await here.client.get("/v1/keys", params={"limit": 1000})).json()["keys"]
    assert me not in {row["id"] for row in keys}
    assert (await here.client.delete(f"/v1/keys/{me}")).status_code == 200
    problem(await session.get("/v1/me"), "no_key", 401)


async def test_only_hashes_of_links_and_sessions_are_kept(here: Here, session: httpx.AsyncClient) -> None:
    token = (await link(here.client)).split("token=")[1]
    secrets = [token.encode(), session.cookies[SESSION_COOKIE].encode()]
    for record in await here.records(names.ACCESS):
        assert not any(secret in (record.value or b"") for secret in secrets)


async def test_what_ended_long_ago_is_taken_from_the_topic(here: Here) -> None:
    from prelabel_contract.events import event
    from prelabel_runtime.loop import messages

    old = KeyChanged(id="endedlongago", kind="session", hash="0" * 64, role="admin", expires_ms=1_000)
    await here.runtime.bus.publish(messages([event(old, id="old", source="/test", time_ms=0)]))
    await here.runtime.access.catch_up()
    assert here.runtime.access.key("endedlongago") is not None
    await link(here.client)

    async def look() -> object:
        return here.runtime.access.key("endedlongago")

    await eventually(look, lambda row: row is None)


async def test_every_answer_says_what_a_browser_must_not_do_with_it(here: Here) -> None:
    async with browser(here) as stranger:
        answers = [await stranger.get("/v1/me"), await stranger.get("/nothing"), await here.client.get("/v1/projects")]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
