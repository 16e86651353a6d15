"""What was stored, over HTTP: listings that are complete, progress that can be resumed, exports."""

import json
from typing import Any

import pytest

from tests.rig.in_process import Here, spec, task

from .test_api_doors import problem

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_pages_are_complete_in_order_and_stay_so_while_tasks_come_in(here: Here) -> None:
    project = await here.project()
    first = (await here.upload(project, [task(f"Ada {n}", id=f"t{n}") for n in range(25)])).json()
    await here.until(f"{project}/runs/{first['run']}", lambda r: r["state"] == "completed")
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await here.get(f"{project}/tasks", limit=10, **({"cursor": cursor} if cursor else {}))
        seen += [t["id"] for t in page["tasks"]]
        cursor = page["next"]
        if len(seen) == 10:
            await here.post(f"{project}/tasks", task("late", id="late"))
            await here.predicted(project, "late")
    assert seen == [*(t["id"] for t in (await here.get(f"{project}/tasks", limit=25))["tasks"]), "late"]
    assert sorted(seen) == sorted([*(f"t{n}" for n in range(25)), "late"])


async def test_tasks_are_found_by_run_model_and_state(here: Here) -> None:
    broken = {"name": "broken", "provider": "rules", "settings": {"rules": [{"label": "PERSON", "pattern": "("}]}}
    project = await here.project(models=[broken, spec()["models"][1]])
    receipt = (await here.upload(project, [task("Ada", id="a"), task("Ada", id="b")])).json()
    await here.post(f"{project}/tasks", task("Ada", id="alone"))
    await here.predicted(project, "alone")
    await here.until(f"{project}/runs/{receipt['run']}", lambda r: r["state"] == "completed")

    async def ids(**query: Any) -> set[str]:
        return {t["id"] for t in (await here.get(f"{project}/tasks", **query))["tasks"]}

    assert await ids(run=receipt["run"]) == {"a", "b"}
    assert await ids(state="failed") == {"a", "b", "alone"}
    assert await ids(state="failed", model="parrot") == set()
    assert await ids(state="failed", model="broken", run=receipt["run"]) == {"a", "b"}
    assert await ids(state="pending") == set()
    shown = await here.get(f"{project}/tasks", predictions=True)
    assert {p["outcome"] for t in shown["tasks"] for p in t["predictions"]} == {"created", "failed"}
    alone = await here.client.get(f"/v1/projects/{project}/tasks", params={"model": "parrot"})
    assert "state=created" in problem(alone, "invalid", 422)["detail"]


@pytest.mark.parametrize(
    "cursor", ["x", "e30", "W10", "WzFd", "bnVsbA", "\u00fc", "WzFlMzAwLCJ4Il0", "WyJ4IiwieCJd", "WzEsMl0"]
)
async def test_a_cursor_that_is_none_of_ours_is_told_so(here: Here, cursor: str) -> None:
    project = await here.project(models=[])
    for path in ("tasks", "runs"):
        answer = await here.client.get(f"/v1/projects/{project}/{path}", params={"cursor": cursor})
        assert answer.status_code == 400 or (cursor == "WzEsMl0" and answer.status_code == 200), answer.text


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"state": "happy"}])
async def test_a_query_out_of_range_is_told_which(here: Here, query: dict[str, Any]) -> None:
    project = await here.project(models=[])
    errors = problem(await here.client.get(f"/v1/projects/{project}/tasks", params=query), "invalid", 422)["errors"]
    assert errors[0]["pointer"] == f"/query/{next(iter(query))}"


@pytest.mark.parametrize("after", [-1, 2**70])
async def test_errors_of_a_run_are_paged_from_a_line_that_can_be(here: Here, after: int) -> None:
    project = await here.project(models=[])
    run = (await here.upload(project, [b"bad"])).json()["run"]
    await here.until(f"{project}/runs/{run}", lambda r: True)
    answer = await here.client.get(f"/v1/projects/{project}/runs/{run}/errors", params={"after": after})
    problem(answer, "invalid", 422)


async def test_an_export_holds_every_task_with_all_that_was_said(here: Here) -> None:
    project = await here.project()
    receipt = (await here.upload(project, [task("Ada", id=f"t{n}") for n in range(30)])).json()
    await here.until(f"{project}/runs/{receipt['run']}", lambda r: r["state"] == "completed")
    await here.post(f"{project}/annotations", {"task": "t3", "annotator": "eve", "regions": []})
    await here.until(f"{project}/tasks/t3", lambda t: len(t["annotations"]) == 1)
    answer = await here.client.get(f"/v1/projects/{project}/export")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert {line["id"] for line in lines} == {f"t{n}" for n in range(30)}
    assert {len(line["predictions"]) for line in lines} == {2}
    assert [line["id"] for line in lines if line["annotations"]] == ["t3"]


async def test_runs_are_listed_newest_first_and_paged(here: Here) -> None:
    project = await here.project(models=[])
    runs = []
    for n in range(5):
        runs.append((await here.upload(project, [task(f"{n}")])).json()["run"])
        await here.until(f"{project}/runs/{runs[-1]}", lambda r: r["state"] == "completed")
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await here.get(f"{project}/runs", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [r["run"] for r in page["runs"]]
        cursor = page["next"]
    assert sorted(seen) == sorted(runs)
    problem(await here.client.get(f"/v1/projects/{project}/runs/nothing"), "unknown_run", 404)


@pytest.mark.parametrize("last", [None, "0", "x", "\u00b2", "99999999999999999999", "-1"])
async def test_progress_is_followed_to_its_end_from_wherever_somebody_was(here: Here, last: str | None) -> None:
    project = await here.project()
    run = (await here.upload(project, [task(f"Ada {n}") for n in range(20)])).json()["run"]
    await here.until(f"{project}/runs/{run}", lambda r: True)
    headers = [(b"Last-Event-ID", last.encode("latin-1"))] if last is not None else []
    async with here.client.stream("GET", f"/v1/projects/{project}/runs/{run}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = (await answer.aread()).decode()
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if "data: " in block
    ]
    assert json.loads(blocks[-1]["data"])["state"] == "completed"
    numbers = [int(block["id"]) for block in blocks]
    assert numbers == sorted(numbers)
    assert {block["event"] for block in blocks} == {"progress"}


async def test_the_links_of_an_upload_work_from_the_moment_it_is_answered(here: Here) -> None:
    project = await here.project()
    for _ in range(10):
        receipt = (await here.post(f"{project}/tasks", [task("Ada")])).json()
        seen = await here.client.get(receipt["links"]["run"])
        assert (seen.status_code, seen.json()["run"]) == (200, receipt["run"])
