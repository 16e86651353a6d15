"""Keys over HTTP: shown once, kept as a hash, good at once, bound to their projects, gone when revoked."""

import asyncio
from typing import Any

import httpx
import pytest
from prelabel_contract import names
from prelabel_contract.events import KeyChanged, KeyUsed
from prelabel_runtime.http.credentials import id_in, new_credential
from prelabel_runtime.http.guard import AGAIN_SECONDS
from prelabel_runtime.testing.doubles import counted_bytes

from tests.rig.in_process import KEY, PATIENCE, Here, eventually, spec, task

from .test_api_doors import problem

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def made(here: Here, **wanted: Any) -> Any:
    """A new key as the API shows it once."""
    answer = await here.client.post("/v1/keys", json={"name": "a test", "role": "admin", **wanted})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/keys/{answer.json()['id']}"
    return answer.json()


def using(here: Here, key: str) -> httpx.AsyncClient:
    """A client that sends that key."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=here.client.base_url, headers=headers, timeout=60, trust_env=False)


async def test_a_key_is_shown_once_and_only_its_hash_is_kept(here: Here) -> None:
    key = await made(here, name="upstream", role="service", projects=["mails"])
    assert id_in(key["key"]) == key["id"]
    assert key["key"].startswith(key["prefix"])
    assert (key["role"], key["projects"], key["revoked"], key["expires_ms"]) == ("service", ["mails"], False, None)
    read = (await here.client.get(f"/v1/keys/{key['id']}")).json()
    assert read == {name: value for name, value in key.items() if name != "key"}
    for record in await here.records(names.ACCESS):
        assert key["key"].encode() not in (record.value or b"")


async def test_a_key_works_at_once_and_says_who_it_is(here: Here) -> None:
    for number in range(5):
        key = await made(here, name=f"at once {number}", role="reviewer", projects=["b", "a"], expires_in_seconds=3600)
        async with using(here, key["key"]) as client:
            before_ms = here.runtime.clock.now_ms()
            me = (await client.get("/v1/me")).json()
        assert (me["id"], me["kind"], me["name"], me["role"]) == (key["id"], "key", f"at once {number}", "reviewer")
        assert me["projects"] == ["a", "b"]
        assert me["expires_ms"] == key["expires_ms"]
        assert before_ms - 10_000 < me["now_ms"] < here.runtime.clock.now_ms() + 10_000


async def test_a_key_made_elsewhere_works_at_once(here: Here) -> None:
    """What another process published is read before the answer is no."""
    from prelabel_contract.events import event
    from prelabel_runtime.http.credentials import hash_of
    from prelabel_runtime.loop import messages

    credential = new_credential(here.runtime.random_bytes)
    row = KeyChanged(id=credential.id, hash=hash_of(credential.key), role="service")
    made_elsewhere = event(row, id="elsewhere", source="/test", time_ms=0)
    async with using(here, credential.key) as client:
        assert (await client.get("/v1/me")).status_code == 401
        await here.runtime.bus.publish(messages([made_elsewhere]))
        assert (await client.get("/v1/me")).status_code == 200


async def test_a_revoked_key_opens_nothing_from_then_on(here: Here) -> None:
    key = await made(here)
    async with using(here, key["key"]) as client:
        assert (await client.get("/v1/projects")).status_code == 200
        revoked = await here.client.delete(f"/v1/keys/{key['id']}")
        assert (revoked.status_code, revoked.json()["revoked"]) == (200, True)
        problem(await client.get("/v1/projects"), "no_key", 401)
    again = await here.client.delete(f"/v1/keys/{key['id']}")
    assert again.status_code == 200
    assert len(await here.events(names.ACCESS, KeyChanged, id=key["id"], revoked=True)) == 1


async def test_a_stream_tells_nothing_more_once_its_key_is_revoked(here: Here) -> None:
    key = await made(here)
    project = await here.project()
    async with using(here, key["key"]) as client, client.stream("GET", "/v1/overview/events") as events:
        parts = events.aiter_raw()
        await anext(parts)
        await here.client.delete(f"/v1/keys/{key['id']}")
        await asyncio.sleep(AGAIN_SECONDS)
        await here.post(f"{project}/tasks", task("a secret of tomorrow"))
        told: list[bytes] = []

        async def rest() -> None:
            async for part in parts:
                told.append(part)  # noqa: PERF401 - kept also when the stream breaks off

        with pytest.raises(httpx.RemoteProtocolError):
            await asyncio.wait_for(rest(), PATIENCE)
        assert b"a secret of tomorrow" not in b"".join(told)


async def test_a_key_ends_when_it_was_said_to(here: Here) -> None:
    key = await made(here, expires_in_seconds=5)
    async with using(here, key["key"]) as client:
        answer = await client.get("/v1/projects")
        # A machine that is slow enough may be past that already.
        assert answer.status_code == 200 or here.runtime.clock.now_ms() >= key["expires_ms"]
        await eventually(lambda: client.get("/v1/projects"), lambda answer: answer.status_code == 401)


async def test_the_key_from_the_settings_cannot_be_revoked(here: Here) -> None:
    assert "PRELABEL_API_KEY" in problem(await here.client.delete("/v1/keys/bootstrap"), "bootstrap_key", 409)["detail"]
    me = (await here.client.get("/v1/me")).json()
    assert (me["id"], me["role"], me["projects"]) == ("bootstrap", "admin", None)


async def test_a_key_of_some_projects_makes_and_sees_keys_of_those_only(here: Here) -> None:
    bound = await made(here, projects=["north", "south"])
    other = await made(here, projects=["north", "east"])
    of_all = await made(here)
    async with using(here, bound["key"]) as client:
        for projects in ([], ["east"], ["north", "east"]):
            answer = await client.post("/v1/keys", json={"name": "x", "role": "labeler", "projects": projects})
            problem(answer, "forbidden_reach", 403)
        inherited = await client.post("/v1/keys", json={"name": "x", "role": "labeler"})
        assert inherited.json()["projects"] == ["north", "south"]
        assert inherited.json()["created_by"] == bound["id"]
        narrower = await client.post("/v1/keys", json={"name": "x", "role": "admin", "projects": ["south"]})
        assert narrower.status_code == 201
        for hidden in (other, of_all):
            problem(await client.get(f"/v1/keys/{hidden['id']}"), "unknown_key", 404)
            problem(await client.delete(f"/v1/keys/{hidden['id']}"), "unknown_key", 404)
        seen = {row["id"] for row in (await client.get("/v1/keys?limit=1000")).json()["keys"]}
        assert {bound["id"], inherited.json()["id"], narrower.json()["id"]} <= seen
        assert not {other["id"], of_all["id"]} & seen
    assert (await here.client.get(f"/v1/keys/{other['id']}")).json()["revoked"] is False


async def test_a_key_reads_the_projects_it_reaches_and_no_others(here: Here) -> None:
    mine, theirs = await here.project(), await here.project()
    key = await made(here, role="labeler", projects=[mine])
    async with using(here, key["key"]) as client:
        assert [p["id"] for p in (await client.get("/v1/projects")).json()["projects"]] == [mine]
        assert (await client.get(f"/v1/projects/{mine}")).status_code == 200
        hidden = problem(await client.get(f"/v1/projects/{theirs}"), "unknown_project", 404)
        missing = problem(await client.get("/v1/projects/nobodys"), "unknown_project", 404)
        assert hidden["detail"].replace(theirs, "nobodys") == missing["detail"]
        problem(await client.put(f"/v1/projects/{mine}", json=spec()), "forbidden_role", 403)


async def test_pages_of_keys_come_one_after_the_other_and_leave_none_out(here: Here) -> None:
    wanted = {(await made(here, projects=["paged"]))["id"] for _ in range(5)}
    admin = await made(here, projects=["paged"])
    async with using(here, admin["key"]) as client:
        found: list[str] = []
        page: Any = {"next": ""}
        while page["next"] is not None:
            query = {"limit": 2} | ({"cursor": page["next"]} if page["next"] else {})
            page = (await client.get("/v1/keys", params=query)).json()
            assert len(page["keys"]) <= 2
            found += [row["id"] for row in page["keys"]]
    assert sorted(found) == sorted({*wanted, admin["id"]})


async def test_the_use_of_a_key_is_told_once_however_often_it_is_used(here: Here) -> None:
    key = await made(here)
    assert key["last_used_ms"] is None
    before_ms = here.runtime.clock.now_ms()
    async with using(here, key["key"]) as client:
        for _ in range(20):
            await client.get("/v1/projects")
    shown = await eventually(
        lambda: here.client.get(f"/v1/keys/{key['id']}"), lambda answer: answer.json()["last_used_ms"] is not None
    )
    assert before_ms - 30_000 < shown.json()["last_used_ms"] < here.runtime.clock.now_ms() + 30_000
    assert len(await here.events(names.ACCESS, KeyUsed, id=key["id"])) == 1


async def test_made_up_keys_are_answered_together_and_soon(here: Here) -> None:
    """Strangers cannot make this process read the topic once for each key that they invent."""
    random_bytes = counted_bytes()
    strangers = [using(here, new_credential(random_bytes).key) for _ in range(10)]
    async with asyncio.timeout(PATIENCE):  # a look at a time would take longer
        answers = await asyncio.gather(*(client.get("/v1/me") for client in strangers for _ in range(10)))
    assert {answer.status_code for answer in answers} == {401}
    await asyncio.gather(*(client.aclose() for client in strangers))


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"role": "admin"}, "/name"),
        ({"name": "", "role": "admin"}, "/name"),
        ({"name": "x"}, "/role"),
        ({"name": "x", "role": "root"}, "/role"),
        ({"name": "x", "role": "admin", "projects": ["No Slug"]}, "/projects/0"),
        ({"name": "x", "role": "admin", "projects": "mails"}, "/projects"),
        ({"name": "x", "role": "admin", "expires_in_seconds": 0}, "/expires_in_seconds"),
        ({"name": "x", "role": "admin", "hash": "0" * 64}, "/hash"),
    ],
)
async def test_a_key_that_makes_no_sense_is_told_where_and_why(here: Here, body: Any, pointer: str) -> None:
    answer = await here.client.post("/v1/keys", json=body)
    assert [e["pointer"] for e in problem(answer, "invalid", 422)["errors"]] == [pointer]


async def test_no_answer_and_no_list_shows_a_key_again(here: Here) -> None:
    key = (await made(here))["key"]
    for path in ("/v1/keys?limit=1000", "/v1/me", f"/v1/keys/{id_in(key)}"):
        text = (await here.client.get(path)).text
        assert key not in text
        assert KEY not in text


async def test_providers_are_listed_with_what_they_answer_and_take(here: Here) -> None:
    providers = {row["provider"]: row for row in (await here.client.get("/v1/providers")).json()["providers"]}
    assert {"echo", "rules"} <= providers.keys()
    assert "span" in providers["rules"]["kinds"]
    assert "rules" in providers["rules"]["settings_schema"]["properties"]
    assert providers["echo"]["trains"] is False
