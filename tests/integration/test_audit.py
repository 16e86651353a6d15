"""The audit: every change with who made it, before its answer; to each admin what is theirs; never a secret."""

from typing import Any

import pytest
from prelabel_contract import names

from tests.rig.in_process import Here, eventually, spec, task

from .test_api_doors import problem
from .test_api_keys import made, using
from .test_sessions import browser, link, origin_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def rows(here: Here, count: int, **asked: Any) -> list[Any]:
    """So many rows of the audit, the oldest first."""

    async def look() -> Any:
        answer = await here.client.get("/v1/audit", params={"limit": 1000, **asked})
        assert answer.status_code == 200, answer.text
        return answer.json()["audit"]

    found: list[Any] = await eventually(look, lambda seen: len(seen) >= count)
    return found[::-1]


async def test_every_change_is_recorded_with_who_made_it(here: Here) -> None:
    admin = await made(here, name="Ada")
    async with using(here, admin["key"]) as client:
        await client.put("/v1/projects/audited", json=spec())
        submitted = (await client.post("/v1/projects/audited/tasks", json=task("x"))).json()["task"]
        await here.predicted("audited", submitted)
        await client.delete(f"/v1/projects/audited/tasks/{submitted}")
        made_one = (await client.post("/v1/keys", json={"name": "x", "role": "labeler", "projects": ["a"]})).json()
        await client.delete(f"/v1/keys/{made_one['id']}")
        found = await rows(here, 4, actor=admin["id"])
    assert [(row["action"], row["subject"], row["project"], row["status"]) for row in found] == [
        ("project.put", "/v1/projects/audited", "audited", 201),
        ("task.delete", f"/v1/projects/audited/tasks/{submitted}", "audited", 202),
        ("key.make", f"/v1/keys/{made_one['id']}", None, 201),
        ("key.revoke", f"/v1/keys/{made_one['id']}", None, 200),
    ]
    assert {(row["actor"], row["actor_name"], row["role"]) for row in found} == {(admin["id"], "Ada", "admin")}
    assert (found[2]["detail"]["role"], found[2]["detail"]["projects"]) == ("labeler", ["a"])


async def test_reading_handing_in_and_what_was_refused_leave_no_record(here: Here) -> None:
    admin = await made(here)
    async with using(here, admin["key"]) as client:
        project = await here.project()
        await client.get(f"/v1/projects/{project}")
        await client.post(f"/v1/projects/{project}/tasks", json=task("x"))
        await client.put(f"/v1/projects/{project}", json={})
        await client.delete(f"/v1/projects/{project}/tasks/no-such-task")
        await client.put(f"/v1/projects/{project}", json=spec(title="the last"))
        found = await rows(here, 1, actor=admin["id"])
    assert [row["action"] for row in found] == ["project.put"]


async def test_a_session_is_recorded_from_its_link_to_its_end(here: Here) -> None:
    admin = await made(here, name="Grace")
    async with using(here, admin["key"]) as maker, browser(here) as client:
        await client.get(await link(maker))
        me = (await client.get("/v1/me")).json()["id"]
        await client.delete("/v1/me", headers=origin_of(here))
        (made_link,) = await rows(here, 1, actor=admin["id"])
        entered, ended = await rows(here, 2, actor=me)
    assert made_link["action"] == "link.make"
    assert (entered["action"], entered["subject"], entered["detail"]) == (
        "session.enter", "/enter", {"made_by": admin["id"]},
    )  # fmt: skip
    assert ended["action"] == "session.end"


async def test_an_admin_of_some_projects_sees_what_was_done_to_them_only(here: Here) -> None:
    mine, theirs = await here.project(), await here.project()
    key = await made(here, projects=[mine])
    await rows(here, 1, project=theirs)
    async with using(here, key["key"]) as client:

        async def look() -> Any:
            return (await client.get("/v1/audit")).json()["audit"]

        seen = await eventually(look, bool)
        assert {row["project"] for row in seen} == {mine}
        problem(await client.get("/v1/audit", params={"project": theirs}), "unknown_project", 404)


async def test_the_audit_is_filtered_and_comes_in_pages(here: Here) -> None:
    project = await here.project()
    for number in range(4):
        await here.client.put(f"/v1/projects/{project}", json=spec(title=f"{number}"))
    everything = await rows(here, 5, project=project)
    found: list[Any] = []
    cursor = None
    while True:
        query: dict[str, Any] = {"project": project, "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await here.client.get("/v1/audit", params=query)).json()
        found += page["audit"]
        if (cursor := page["next"]) is None:
            break
    assert found[::-1] == everything
    since = everything[2]["at_ms"]
    newer = (await here.client.get("/v1/audit", params={"project": project, "since": since})).json()["audit"]
    assert all(row["at_ms"] >= since for row in newer)
    nothing = (await here.client.get("/v1/audit", params={"project": project, "action": "task.delete"})).json()
    assert nothing == {"audit": [], "next": None}


async def test_no_key_token_or_cookie_is_in_the_audit(here: Here) -> None:
    key = (await made(here))["key"]
    async with using(here, key) as maker, browser(here) as client:
        path = await link(maker)
        await client.get(path)
        secrets = [key, path.split("token=")[1], next(iter(client.cookies.values()))]
    for record in await here.records(names.AUDIT):
        for secret in secrets:
            assert secret.encode() not in (record.value or b"")
