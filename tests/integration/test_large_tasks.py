"""Tasks that are larger than an event, on both buses: whole at every end, and no hang where their blob is not."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prelabel_contract import names
from prelabel_contract.blobs import blob_of
from prelabel_contract.events import PredictionCreated, TaskAccepted, TaskRejected, TaskSubmitted, event
from prelabel_contract.limits import MAX_BLOB_BYTES, MAX_EVENT_BYTES
from prelabel_ingestion.settings import Source
from prelabel_provider import inference
from prelabel_runtime.loop import messages
from prelabel_runtime.store.base import State

from tests.integration.test_inbound import buried, send
from tests.rig.in_process import Here, eventually, prelabel_here, task
from tests.rig.servers import ServerHandle

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATIENCE = 120.0
CRM = "crm-mails"


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)]
)
async def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Here]:
    """Prelabel on one of the buses."""
    kafka: ServerHandle | None = request.getfixturevalue("kafka_server") if request.param == "kafka" else None
    inbound = {"crm": Source(projects=(CRM,))}
    folder: Path = tmp_path_factory.mktemp("large")
    async with prelabel_here(folder, inbound=inbound, kafka=kafka.address if kafka else "") as here:
        yield here


def novel(megabytes: float = 5) -> str:
    """A text with one thing to find, near its end; what stands before it has other widths in UTF-8."""
    return "lörem 🎉 ipsum " * int(megabytes * 1_000_000 / 18) + "said Ada."


def folder(here: Here, project: str, name: str) -> Path:
    """Where the blobs of a task lie."""
    return Path(here.runtime.settings.blobs) / project / names.task_uid(project, name)


async def until(here: Here, path: str, ready: Callable[[Any], bool]) -> Any:
    """An answer, once it is as wanted. Large tasks take longer than what `here.until` waits for."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await here.client.get(f"/v1/projects/{path}")
            if answer.status_code == 200 and ready(seen := answer.json()):
                return seen
            await asyncio.sleep(0.05)


async def ended(here: Here, project: str, name: str) -> Any:
    """A task, once every model has answered."""
    return await until(
        here,
        f"{project}/tasks/{name}",
        lambda t: t["predictions"] and all(p["outcome"] != "pending" for p in t["predictions"]),
    )


async def test_a_text_of_5_mb_comes_in_over_http_is_labelled_and_comes_back_whole(large: Here) -> None:
    project = await large.project()
    data = {"title": "novel", "text": novel()}
    assert (await large.post(f"{project}/tasks", {"id": "n", "data": data})).status_code == 202
    seen = await ended(large, project, "n")
    assert seen["data"] == data
    assert "blobs" not in seen
    [region] = seen["predictions"][0]["regions"]
    assert data["text"][region["start"] : region["end"]] == region["text"] == "Ada"
    for topic in (names.SUBMITTED, names.TASKS, names.requests("rules", "bulk"), names.PREDICTIONS):
        sizes = [len(record.value or b"") for record in await large.records(topic)]
        assert sizes
        assert max(sizes) < MAX_EVENT_BYTES


async def test_large_lines_come_in_as_ndjson_and_the_export_has_them_whole_and_in_order(large: Here) -> None:
    project = await large.project()
    tasks = [task(novel(3), id="a"), task("said Ada.", id="b"), task(novel(5), id="c"), task("Grace", id="d")]
    receipt = (await large.upload(project, tasks)).json()
    assert (receipt["accepted"], receipt["rejected"]) == (4, 0)
    run = await until(large, f"{project}/runs/{receipt['run']}", lambda r: r["state"] == "completed")
    assert run["outcomes"] == {"created": 8}
    exported = await large.client.get(f"/v1/projects/{project}/export")
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert sorted((line["id"], line["data"]["text"]) for line in lines) == [(t["id"], t["data"]["text"]) for t in tasks]
    assert all("blobs" not in line and len(line["predictions"][0]["regions"]) == 1 for line in lines)


async def test_a_listing_tells_what_it_leaves_out(large: Here) -> None:
    project = await large.project()
    await large.post(f"{project}/tasks", {"id": "n", "data": {"title": "novel", "text": novel(1)}})
    await ended(large, project, "n")
    [listed] = (await large.get(f"{project}/tasks"))["tasks"]
    assert listed["data"] == {"title": "novel", "text": None}
    ref = blob_of(novel(1)).ref
    assert listed["blobs"] == {"text": {"sha256": ref.sha256, "bytes": ref.bytes, "preview": novel(1)[:200]}}


async def test_the_same_again_changes_nothing_and_another_text_is_another_revision(large: Here) -> None:
    project = await large.project()
    for text in (novel(1), novel(1), novel(1) + " Grace."):
        await large.post(f"{project}/tasks", task(text, id="n"))
    uid = names.task_uid(project, "n")
    told = await eventually(lambda: large.events(names.TASKS, TaskAccepted, task=uid), lambda found: len(found) == 3)
    assert [t.unchanged for t in told] == [False, True, False]
    await eventually(lambda: ended(large, project, "n"), lambda t: len(t["predictions"]) == 4)
    seen = await ended(large, project, "n")
    assert seen["data"]["text"] == novel(1) + " Grace."
    found = {p["revision"]: len(p["regions"]) for p in seen["predictions"] if p["model"] == "finder"}
    assert [found[revision] for revision in sorted(found)] == [1, 2]  # they may have ended in the same millisecond
    assert len(list(folder(large, project, "n").iterdir())) == 2


async def test_somebody_may_wait_for_a_large_task(large: Here) -> None:
    project = await large.project()
    answer = await large.post(f"{project}/predictions", task(novel(2)), Prefer="wait=55")
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["regions"][0]["text"] == "Ada"


@contextlib.contextmanager
def unchecked(here: Here) -> Iterator[None]:
    """Without comparing each answer with the API's document, which takes a minute for some thousand regions."""
    hooks, here.client.event_hooks = here.client.event_hooks, {}
    try:
        yield
    finally:
        here.client.event_hooks = hooks


async def test_regions_that_are_too_large_for_an_event_are_kept_beside_it(large: Here) -> None:
    project = await large.project()
    count = 3_000
    with unchecked(large):
        body = {"id": "n", "data": {"text": "Ada 🎉 " * count}}
        answer = await large.post(f"{project}/predictions", body, Prefer="wait=55")
        at_once = answer.json()["predictions"][0]
        seen = await ended(large, project, "n")
        alone = await large.get(f"{project}/tasks/n/predictions")
    later = next(p for p in seen["predictions"] if p["model"] == "finder")
    assert len(later["regions"]) == count
    assert later["regions"] == at_once["regions"]
    assert "regions_blob" not in later
    assert [len(p["regions"]) for p in alone["predictions"]] == [count, 0]
    [told] = await large.events(names.PREDICTIONS, PredictionCreated, project=project, model="finder")
    assert told.regions == ()
    assert told.regions_blob is not None
    [listed] = (await large.get(f"{project}/tasks", predictions=True))["tasks"]
    assert listed["predictions"][0]["regions_blob"]["sha256"] == told.regions_blob.sha256


@pytest.mark.parametrize("structured", [False, True])
async def test_what_an_upstream_writes_in_one_record_is_taken_up_to_what_the_bus_takes(
    large: Here, structured: bool
) -> None:
    name = f"large-{structured}"
    text = novel(0.4)
    await send(large, name, {"project": CRM, "id": name, "data": {"text": text}}, structured=structured)
    await until(large, f"{CRM}/tasks/{name}", lambda t: t["predictions"])
    seen = await ended(large, CRM, name)
    assert seen["data"] == {"text": text}
    assert seen["predictions"][0]["regions"][0]["text"] == "Ada"


@pytest.mark.parametrize("structured", [False, True])
async def test_data_that_lies_somewhere_else_is_refused_and_not_fetched(large: Here, structured: bool) -> None:
    name = f"ref-{structured}"
    data = {"project": CRM, "id": name, "data": {"text": "x"}}
    await send(large, name, data, structured=structured, dataref="http://169.254.169.254/latest")
    _, told = await buried(large, name)
    assert told["reason"] == "dataref"
    assert "send it in the event, or over HTTP" in told["detail"]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A missing blob is waited for as long as four repetitions allow, the last of them after 15 seconds."""
    monkeypatch.setattr(inference, "BLOB_PATIENCE_MS", 14_000)
    return monkeypatch


@pytest.mark.parametrize("how", ["missing", "damaged"])
async def test_a_blob_that_is_lost_or_damaged_ends_in_a_failure_that_says_so(
    large: Here, how: str, patient: pytest.MonkeyPatch
) -> None:
    project = await large.project()
    uid, blob = names.task_uid(project, "n"), blob_of(novel(1))
    if how == "damaged":
        await large.runtime.blobs.put(project, uid, blob)
        (folder(large, project, "n") / blob.ref.sha256).write_bytes(blob.content[:-2] + b"!!")
    data = {"text": None, "title": "novel"}
    submitted = TaskSubmitted(project=project, task=uid, id="n", data=data, blobs={"text": blob.ref})
    await large.runtime.bus.publish(messages([event(submitted, id=f"lost-{project}", source="/t", time_ms=0)]))
    await large.post(f"{project}/tasks", task("Ada", id="small"))
    await until(large, f"{project}/tasks/small", lambda t: t["predictions"])
    assert len((await ended(large, project, "small"))["predictions"]) == 2
    others = await large.runtime.store.outcomes.of_tasks([uid])
    assert all(one.state is State.PENDING for one in others.get(uid, ())), "the small one did not wait for it"
    patient.setattr(inference, "BLOB_PATIENCE_MS", 0)
    await until(large, f"{project}/tasks/n", lambda t: t["predictions"])
    seen = await ended(large, project, "n")
    assert {(p["outcome"], p["reason"]) for p in seen["predictions"]} == {("failed", "blob")}
    assert seen["data"] == data
    assert seen["blobs"]["text"]["error"] == how
    exported = (await large.client.get(f"/v1/projects/{project}/export")).text.splitlines()
    assert {json.loads(line)["id"] for line in exported} == {"n", "small"}


@pytest.mark.usefixtures("patient")
async def test_a_blob_that_comes_late_is_waited_for(large: Here) -> None:
    project = await large.project()
    uid, blob = names.task_uid(project, "n"), blob_of(novel(1))
    data = TaskSubmitted(project=project, task=uid, id="n", data={"text": None}, blobs={"text": blob.ref})
    await large.runtime.bus.publish(messages([event(data, id=f"late-{project}", source="/t", time_ms=0)]))
    group = names.inference_group("rules", "bulk")
    await eventually(
        lambda: large.records(names.retry(group)), lambda found: any(uid.encode() in r.value for r in found)
    )
    await large.runtime.blobs.put(project, uid, blob)
    seen = await ended(large, project, "n")
    assert [p["outcome"] for p in seen["predictions"]] == ["created", "created"]


async def test_a_deleted_tasks_blobs_are_gone_and_no_others(large: Here) -> None:
    project = await large.project()
    for name in ("n", "m"):
        await large.post(f"{project}/tasks", task(novel(1), id=name))
        await ended(large, project, name)
    assert (await large.client.delete(f"/v1/projects/{project}/tasks/n")).status_code == 202

    async def there() -> bool:
        return folder(large, project, "n").exists()

    await eventually(there, lambda is_there: not is_there)
    assert (await ended(large, project, "m"))["data"]["text"] == novel(1)


async def test_what_is_over_every_limit_is_refused_with_the_limit(large: Here) -> None:
    project = await large.project()
    answer = await large.post(f"{project}/tasks", task("x" * MAX_BLOB_BYTES))
    assert answer.status_code == 422
    assert str(MAX_BLOB_BYTES) in answer.json()["errors"][0]["detail"]
    answer = await large.post(f"{project}/tasks", {"data": {f"f{n}": "x" * 10_000 for n in range(60)}})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:prelabel:problem:too_large")
    assert await large.events(names.TASKS, TaskRejected, project=project) == []
