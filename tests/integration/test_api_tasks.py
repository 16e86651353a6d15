"""Tasks over HTTP: taken once however often they are sent, and one bad line harms no other."""

import json
from typing import Any

import pytest
from prelabel_contract import names
from prelabel_contract.events import PredictionRequested, RunCompleted, TaskAccepted
from prelabel_contract.limits import MAX_BLOB_BYTES, MAX_LINE_BYTES, MAX_META_BYTES

from tests.rig.in_process import Here, eventually, spec, task

from .test_api_doors import problem

pytestmark = pytest.mark.asyncio(loop_scope="session")
REQUESTS = names.requests("rules", "bulk")


async def test_one_task_is_accepted_predicted_and_found_where_the_answer_says(here: Here) -> None:
    project = await here.project()
    answer = await here.post(f"{project}/tasks", task("Ada, come now", id="m1", meta={"from": "inbox"}))
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/projects/{project}/tasks/{answer.json()['task']}"
    finder, parrot = await here.predicted(project, "m1")
    assert [(r["kind"], r["labels"]) for r in finder["regions"]] == [("span", ["PERSON"]), ("choice", ["urgent"])]
    assert (finder["outcome"], finder["score"], finder["model"], finder["provider"]) == (
        "created",
        None,
        "finder",
        "rules",
    )
    assert parrot["regions"] == []
    seen = await here.get(f"{project}/tasks/m1")
    assert seen["meta"] == {"from": "inbox"}
    assert seen == await here.get(f"{project}/tasks/{answer.json()['task']}")


async def test_an_array_is_a_run_and_tells_the_uid_of_every_task(here: Here) -> None:
    project = await here.project()
    answer = await here.post(f"{project}/tasks", [task(f"text {n}", id=f"t{n}") for n in range(7)])
    receipt = answer.json()
    assert (receipt["accepted"], receipt["rejected"], receipt["errors"]) == (7, 0, [])
    assert receipt["tasks"] == [names.task_uid(project, f"t{n}") for n in range(7)]
    run = await here.until(f"{project}/runs/{receipt['run']}", lambda r: r["state"] == "completed")
    assert (run["total"], run["accepted"], run["outcomes"]) == (7, 7, {"created": 14})


async def ended(here: Here, run: str) -> list[RunCompleted]:
    """What is told of a run's end, once it is: the end is stored first, and published after that."""
    told: list[RunCompleted] = await eventually(lambda: here.events(names.RUNS, RunCompleted, run=run), bool)
    return told


async def test_bad_lines_are_told_with_their_numbers_and_the_others_are_taken(here: Here) -> None:
    project = await here.project()
    lines: list[Any] = [task(f"text {n}", id=f"t{n}") for n in range(300)]
    lines[10] = b"not json"
    lines[20] = {"data": {}}
    lines[30] = task("x", idd="t30")
    lines[40] = b'{"data": {"text": "\\ud800"}}'
    lines[50] = b'{"data": {"n": NaN}}'
    lines[60] = task("x" * MAX_LINE_BYTES)
    lines[70] = task("x" * MAX_BLOB_BYTES)
    lines[80] = b""
    lines[90] = b"[" * 400 + b"]" * 400
    answer = await here.upload(project, lines)
    receipt = answer.json()
    assert answer.status_code == 202
    assert (receipt["accepted"], receipt["rejected"]) == (291, 8)
    told = {e["line"]: e for e in receipt["errors"]}
    assert sorted(told) == [11, 21, 31, 41, 51, 61, 71, 91]
    assert told[11]["errors"][0]["detail"].endswith(" at column 2")  # and not in line 1, whatever the parser counts
    assert told[31]["errors"][0]["pointer"] == "/idd"
    assert told[21]["errors"][0]["pointer"] == "/data"
    assert told[61]["reason"] == "too_large"
    assert str(MAX_BLOB_BYTES) in told[71]["errors"][0]["detail"]
    assert answer.headers["location"] == receipt["links"]["run"]
    run = await here.until(f"{project}/runs/{receipt['run']}", lambda r: r["state"] == "completed")
    assert (run["total"], run["accepted"], run["rejected"]) == (299, 291, 8)
    [completed] = await ended(here, receipt["run"])
    assert (completed.accepted, completed.rejected, completed.outcomes) == (291, 8, {"created": 582})


async def test_the_answer_tells_the_first_100_errors_and_the_link_pages_all(here: Here) -> None:
    project = await here.project()
    receipt = (await here.upload(project, [b"bad"] * 250)).json()
    assert (receipt["accepted"], receipt["rejected"]) == (0, 250)
    assert [e["line"] for e in receipt["errors"]] == list(range(1, 101))
    await here.until(f"{project}/runs/{receipt['run']}", lambda r: r["state"] == "completed")
    path = receipt["links"]["errors"].removeprefix("/v1/projects/")
    lines: list[int] = []
    after: int | None = 0
    while after is not None:
        page = await here.get(path, limit=60, after=after)
        lines += [e["line"] for e in page["errors"]]
        after = page["next"]
    assert lines == list(range(1, 251))


@pytest.mark.parametrize("by", ["idempotency key", "ids"])
async def test_sending_again_adds_nothing(here: Here, by: str) -> None:
    project = await here.project()
    named = by == "ids"
    lines = [task(f"Ada {n}", **({"id": f"t{n}"} if named else {})) for n in range(20)]
    headers = {} if named else {"Idempotency-Key": '"upload-1"'}
    first = (await here.upload(project, lines, **headers)).json()
    await here.until(f"{project}/runs/{first['run']}", lambda r: r["state"] == "completed")
    again = (await here.upload(project, lines, **headers)).json()
    assert (again["run"] == first["run"]) is not named
    await here.until(f"{project}/runs/{again['run']}", lambda r: r["state"] == "completed" and r["accepted"] == 20)
    counts = await here.get(f"{project}/counts")
    assert counts == {"tasks": 20, "models": {"finder": {"created": 20}, "parrot": {"created": 20}}}
    assert len(await here.events(REQUESTS, PredictionRequested, project=project)) == 20
    accepted = await here.events(names.TASKS, TaskAccepted, project=project)
    assert len({a.task for a in accepted}) == 20
    assert len(await ended(here, first["run"])) == 1


async def test_the_same_id_with_other_content_is_a_new_revision_that_supersedes(here: Here) -> None:
    project = await here.project()
    await here.post(f"{project}/tasks", task("Ada", id="m"))
    before = await here.predicted(project, "m")
    await here.post(f"{project}/tasks", task("Grace and Ada", id="m"))
    seen = await here.until(
        f"{project}/tasks/m",
        lambda t: len(t["predictions"]) == 4 and all(p["outcome"] == "created" for p in t["predictions"]),
    )
    assert seen["data"] == {"text": "Grace and Ada"}
    old = [p for p in seen["predictions"] if p["superseded_by"] is not None]
    new = [p for p in seen["predictions"] if p["superseded_by"] is None]
    assert {p["request"] for p in old} == {p["request"] for p in before}
    assert {p["superseded_by"] for p in old} == {str(seen["revision"])}
    assert [len(p["regions"]) for p in new] == [2, 0]
    assert await here.get(f"{project}/counts") == {
        "tasks": 1,
        "models": {"finder": {"created": 2}, "parrot": {"created": 2}},
    }


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        ({"data": {"text": "x"}, "dta": 1}, "/dta", ""),
        ({"data": []}, "/data", ""),
        ({"id": "", "data": {"text": "x"}}, "/id", ""),
        ({"id": 7, "data": {"text": "x"}}, "/id", ""),
        ({"data": {"text": "x" * MAX_BLOB_BYTES}}, "/data", str(MAX_BLOB_BYTES)),
        ({"data": {"text": "x"}, "meta": {"m": "x" * MAX_META_BYTES}}, "/meta", str(MAX_META_BYTES)),
        ({"data": {"n": 2**64}}, "/data/n", "64 bits"),
    ],
)
async def test_a_task_that_cannot_be_taken_is_told_where_and_why(
    here: Here, body: dict[str, Any], pointer: str, says: str
) -> None:
    project = await here.project()
    for path in ("tasks", "predictions"):
        answer = await here.post(f"{project}/{path}", body)
        [error, *_] = problem(answer, "invalid", 422)["errors"]
        assert error["pointer"] == pointer
        assert says in error["detail"]


@pytest.mark.parametrize("depth", [10, 100, 180, 200, 248, 249, 250, 251, 252, 253, 254, 255, 300, 900])
async def test_what_is_nested_too_deep_is_refused_at_the_door_or_comes_through(here: Here, depth: int) -> None:
    """Accepted is a promise: nothing behind the door may find that it cannot read it."""
    project = await here.project()
    body = b'{"id": "deep", "data": {"text": "Ada", "tree": %s1%s}}' % (b"[" * depth, b"]" * depth)
    answer = await here.client.post(
        f"/v1/projects/{project}/tasks", content=body, headers={"Content-Type": "application/json"}
    )
    if answer.status_code == 202:
        assert (await here.predicted(project, "deep"))[0]["outcome"] == "created"
    else:
        problem(answer, None)
        assert answer.status_code in (400, 422)


async def test_a_deleted_task_is_gone_and_nothing_of_it_comes_back(here: Here) -> None:
    project = await here.project()
    await here.post(f"{project}/tasks", task("Ada", id="gone"))
    await here.predicted(project, "gone")
    uid = names.task_uid(project, "gone")
    annotation = {"task": "gone", "annotator": "eve", "regions": []}
    assert (await here.post(f"{project}/annotations", annotation)).status_code == 202
    await here.until(f"{project}/examples", lambda e: e["examples"] == 1)
    outcomes = [r for r in await here.records(names.PREDICTIONS) if r.key == uid.encode()]
    accepted = [r for r in await here.records(names.TASKS) if r.key == uid.encode()]
    answer = await here.client.delete(f"/v1/projects/{project}/tasks/gone")
    assert (answer.status_code, answer.json()) == (202, {"task": uid})
    await here.until(f"{project}/counts", lambda c: c == {"tasks": 0, "models": {}})
    await here.until(f"{project}/examples", lambda e: e["examples"] == 0)
    await _deliver_again(here, project, [*accepted, *outcomes])
    assert await here.get(f"{project}/counts") == {
        "tasks": 1,
        "models": {"finder": {"created": 1}, "parrot": {"created": 1}},
    }
    assert (await here.client.get(f"/v1/projects/{project}/tasks/gone")).status_code == 404
    assert (await here.client.get(f"/v1/projects/{project}/tasks/{uid}/predictions")).status_code == 404


async def test_the_id_of_a_deleted_task_is_not_taken_again(here: Here) -> None:
    project = await here.project()
    await here.post(f"{project}/tasks", task("Ada", id="once"))
    await here.predicted(project, "once")
    assert (await here.client.delete(f"/v1/projects/{project}/tasks/once")).status_code == 202
    await here.until(f"{project}/counts", lambda c: c["tasks"] == 0)
    answer = await here.post(f"{project}/predictions", task("Ada again", id="once"))
    assert problem(answer, "deleted", 422)["errors"][0]["pointer"] == "/id"
    assert (await here.client.get(f"/v1/projects/{project}/tasks/once")).status_code == 404


async def _deliver_again(here: Here, project: str, records: Any) -> None:
    """What a retry or a replay would do; returns when the projection has seen it."""
    from prelabel_runtime.bus.base import Message

    await here.runtime.bus.publish([Message(r.topic, r.key, r.value, r.headers) for r in records])
    await here.post(f"{project}/tasks", task("Ada", id="behind"))
    await here.predicted(project, "behind")


async def test_a_key_that_is_sent_again_with_another_content_overwrites_nothing(here: Here) -> None:
    project = await here.project()
    key = {"Idempotency-Key": "once"}
    first = (await here.post(f"{project}/tasks", [task("Ada"), task("Bob")], **key)).json()
    for uid in first["tasks"]:
        await here.predicted(project, uid)
    again = (await here.post(f"{project}/tasks", [task("Ada"), task("Eve")], **key)).json()
    assert (again["run"], again["accepted"], again["rejected"]) == (first["run"], 1, 1)
    assert [(e["line"], e["reason"]) for e in again["errors"]] == [(2, "idempotency_key_reused")]
    single = await here.post(f"{project}/tasks", task("Eve"), **key)
    problem(single, "idempotency_key_reused", 422)
    problem(await here.post(f"{project}/predictions", task("Eve"), **key), "idempotency_key_reused", 422)
    kept = await here.get(f"{project}/tasks/{first['tasks'][1]}")
    assert kept["data"] == {"text": "Bob"}
    assert (await here.get(f"{project}/counts"))["tasks"] == 2


async def test_a_task_of_another_project_is_not_found(here: Here) -> None:
    mine, theirs = await here.project(), await here.project()
    uid = (await here.post(f"{theirs}/tasks", task("Ada", id="x"))).json()["task"]
    await here.predicted(theirs, "x")
    for method, path in (("GET", ""), ("GET", "/predictions"), ("DELETE", "")):
        answer = await here.client.request(method, f"/v1/projects/{mine}/tasks/{uid}{path}")
        problem(answer, "unknown_task", 404)


@pytest.mark.parametrize("lane", ["interactive", "bulk", "backfill"])
async def test_tasks_may_name_their_lane(here: Here, lane: str) -> None:
    project = await here.project()
    answer = await here.client.post(f"/v1/projects/{project}/tasks", params={"lane": lane}, json=task("Ada", id="a"))
    assert answer.status_code == 202
    await here.predicted(project, "a")
    assert len(await here.events(names.requests("rules", lane), PredictionRequested, project=project)) == 1


async def test_an_unknown_lane_and_an_endless_idempotency_key_are_refused(here: Here) -> None:
    project = await here.project()
    answer = await here.client.post(f"/v1/projects/{project}/tasks", params={"lane": "express"}, json=task("x"))
    assert problem(answer, "invalid", 422)["errors"][0]["pointer"] == "/query/lane"
    problem(await here.post(f"{project}/tasks", task("x"), **{"Idempotency-Key": "k" * 300}), "invalid", 422)


async def test_an_upload_that_breaks_off_can_be_sent_again(here: Here) -> None:
    project = await here.project()
    lines = [json.dumps(task(f"Ada {n}")).encode() + b"\n" for n in range(10)]

    async def broken() -> Any:
        for line in lines[:5]:
            yield line
        raise ConnectionError

    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "resumed"}
    with pytest.raises(ConnectionError):
        await here.client.post(f"/v1/projects/{project}/tasks", content=broken(), headers=headers)
    receipt = (await here.upload(project, [line.strip() for line in lines], **{"Idempotency-Key": "resumed"})).json()
    assert receipt["accepted"] == 10
    await here.until(f"{project}/runs/{receipt['run']}", lambda r: r["state"] == "completed")
    assert (await here.get(f"{project}/counts"))["tasks"] == 10


async def test_a_project_without_models_takes_tasks_and_completes_runs(here: Here) -> None:
    project = await here.project(models=[])
    receipt = (await here.upload(project, [task("x"), task("y")])).json()
    run = await here.until(f"{project}/runs/{receipt['run']}", lambda r: r["state"] == "completed")
    assert run["outcomes"] == {}


async def test_a_changed_project_asks_its_new_models_for_tasks_that_come_after(here: Here) -> None:
    project = await here.project(models=[])
    await here.post(f"{project}/tasks", task("Ada", id="before"))
    await here.client.put(f"/v1/projects/{project}", json=spec())
    await here.post(f"{project}/tasks", task("Ada", id="after"))
    assert len(await here.predicted(project, "after")) == 2
    assert (await here.get(f"{project}/tasks/before"))["predictions"] == []
