"""What is another project's is not there: by uid, by run, by cursor, by filter, by anything a caller may have seen."""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.rig.in_process import Here, task

from .test_api_doors import problem
from .test_api_keys import made, using

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass(frozen=True)
class Two:
    """Two projects with tasks of the same ids, and a client whose key reaches the first only."""

    mine: str
    theirs: str
    client: httpx.AsyncClient
    their_run: str
    their_task: str
    """Its uid."""
    their_annotation: str


@pytest_asyncio.fixture(loop_scope="session")
async def two(here: Here) -> Any:
    mine, theirs = await here.project(), await here.project()
    lines = [task(f"Ada {number}", id=f"t-{number}") for number in range(3)] + [b"broken"]
    receipts = [
        (await here.upload(project, lines, **{"Idempotency-Key": "monday"})).json() for project in (mine, theirs)
    ]
    for project in (mine, theirs):
        for number in range(3):
            await here.predicted(project, f"t-{number}")
    their_task = (await here.get(f"{theirs}/tasks/t-0"))["task"]
    body = {"task": "t-0", "annotator": "grace", "id": "a-1", "regions": []}
    annotation = (await here.post(f"{theirs}/annotations", body)).json()["annotation"]
    await here.until(f"{theirs}/tasks/t-0", lambda seen: bool(seen["annotations"]))
    key = await made(here, projects=[mine])
    async with using(here, key["key"]) as client:
        yield Two(mine, theirs, client, receipts[1]["run"], their_task, annotation)


async def test_the_same_names_in_two_projects_are_two_things(here: Here, two: Two) -> None:
    own = (await two.client.get(f"/v1/projects/{two.mine}/tasks/t-0")).json()
    assert own["task"] != two.their_task
    assert own["annotations"] == []
    runs = (await two.client.get(f"/v1/projects/{two.mine}/runs")).json()["runs"]
    assert two.their_run not in {run["run"] for run in runs}


async def test_a_task_of_another_project_is_not_found_by_its_uid(here: Here, two: Two) -> None:
    base = f"/v1/projects/{two.mine}/tasks/{two.their_task}"
    for path in (base, f"{base}/predictions"):
        problem(await two.client.get(path), "unknown_task", 404)
    problem(await two.client.delete(base), "unknown_task", 404)
    answer = await two.client.post(
        f"/v1/projects/{two.mine}/annotations", json={"task": two.their_task, "annotator": "x", "regions": []}
    )
    problem(answer, "unknown_task", 422)
    assert (await here.get(f"{two.theirs}/counts"))["tasks"] == 3


@pytest.mark.parametrize("more", ["", "/errors", "/events"])
async def test_a_run_of_another_project_is_not_found(two: Two, more: str) -> None:
    problem(await two.client.get(f"/v1/projects/{two.mine}/runs/{two.their_run}{more}"), "unknown_run", 404)


@pytest.mark.parametrize("state", [None, "created"])
async def test_a_filter_by_another_projects_run_finds_nothing(two: Two, state: str | None) -> None:
    query = {"run": two.their_run} | ({"state": state} if state else {})
    listed = await two.client.get(f"/v1/projects/{two.mine}/tasks", params=query)
    assert listed.json() == {"tasks": [], "next": None}
    exported = await two.client.get(f"/v1/projects/{two.mine}/export", params=query)
    assert exported.content == b""


async def test_a_cursor_of_another_project_goes_on_in_ones_own(here: Here, two: Two) -> None:
    for path in ("tasks", "runs"):
        theirs = await here.get(f"{two.theirs}/{path}", limit=1)
        answer = await two.client.get(
            f"/v1/projects/{two.mine}/{path}", params={"cursor": theirs["next"] or "WzEsIngiXQ"}
        )
        assert answer.status_code == 200
        assert two.their_task not in answer.text
        assert two.their_run not in answer.text


async def test_an_annotation_of_another_project_cannot_be_withdrawn_or_replaced(here: Here, two: Two) -> None:
    withdrawn = await two.client.delete(f"/v1/projects/{two.mine}/tasks/t-0/annotations/{two.their_annotation}")
    assert withdrawn.status_code in (202, 404)
    own = {"task": "t-0", "annotator": "mallory", "id": "a-1", "regions": []}
    answer = await two.client.post(f"/v1/projects/{two.mine}/annotations", json=own)
    assert answer.json()["annotation"] != two.their_annotation
    await here.until(f"{two.mine}/tasks/t-0", lambda seen: bool(seen["annotations"]))
    (kept,) = (await here.get(f"{two.theirs}/tasks/t-0"))["annotations"]
    assert (kept["annotation"], kept["annotator"]) == (two.their_annotation, "grace")


async def test_an_idempotency_key_of_another_project_is_none_of_ours(here: Here, two: Two) -> None:
    other = await two.client.post(
        f"/v1/projects/{two.mine}/tasks", json={"data": {"text": "mine"}}, headers={"Idempotency-Key": "tuesday"}
    )
    theirs = await here.client.post(
        f"/v1/projects/{two.theirs}/tasks", json={"data": {"text": "theirs"}}, headers={"Idempotency-Key": "tuesday"}
    )
    assert (other.status_code, theirs.status_code) == (202, 202)
    assert other.json()["task"] != theirs.json()["task"]


async def test_no_listing_names_another_project(two: Two) -> None:
    document = (await two.client.get("/openapi.json")).json()
    asked = 0
    for path, operations in document["paths"].items():
        rule = operations.get("get", {}).get("x-prelabel-rule", {"reach": ""})
        if rule["reach"] != "listing" or "{" in path or path.endswith("/events"):
            continue
        answer = await two.client.get(path, params={"limit": 1000} if "Limit" in str(operations["get"]) else {})
        assert answer.status_code == 200, (path, answer.text)
        for theirs in (two.theirs, two.their_run, two.their_task, two.their_annotation):
            assert theirs not in answer.text, path
        asked += 1
    assert asked >= 5
