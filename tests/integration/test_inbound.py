"""Inbound topics: what upstreams may write, how they are told what they may not, and that nothing stops for it."""

import json
from typing import Any

import orjson
import pytest
from prelabel_contract import names
from prelabel_contract.events import TaskRejected, TaskSubmitted
from prelabel_runtime.bus.base import Message, Record
from prelabel_runtime.dead_letters import DEAD_LETTER_HEADER

from tests.rig.in_process import Here, eventually, spec

pytestmark = pytest.mark.asyncio(loop_scope="session")
PROJECT = "crm-mails"
TASK = "prelabel.task.submitted.v1"
ANNOTATION = "prelabel.annotation.submitted.v1"


async def send(
    here: Here,
    name: str,
    data: Any,
    *,
    kind: str = TASK,
    source: str = "crm",
    structured: bool = False,
    **attributes: str,
) -> None:
    """As an upstream would."""
    await here.client.put(f"/v1/projects/{PROJECT}", json=spec())
    attributes |= {"specversion": "1.0", "type": kind, "source": "/crm", "id": name}
    if structured:
        headers = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
        value = json.dumps({**attributes, "data": data}).encode()
    else:
        headers = (*((f"ce_{k}", v.encode()) for k, v in attributes.items()), ("content-type", b"application/json"))  # type: ignore[assignment]
        value = data if isinstance(data, bytes) else json.dumps(data).encode()
    await here.runtime.bus.publish([Message(names.inbound(source), b"any", value, headers)])


async def buried(here: Here, name: str, *, group: str = "inbound-crm") -> tuple[Record, dict[str, Any]]:
    """The dead letter of the record whose value or header holds an id."""
    topic = names.dead_letters(group)

    async def look() -> list[Record]:
        found = await here.records(topic)
        return [
            r for r in found if name.encode() in (r.value or b"") or name.encode() in dict(r.headers).get("ce_id", b"")
        ]

    [record] = await eventually(look, lambda found: len(found) == 1)
    return record, orjson.loads(dict(record.headers)[DEAD_LETTER_HEADER])


async def rejected(here: Here, name: str) -> TaskRejected:
    """The rejection of the task with that id."""
    told: list[TaskRejected] = await eventually(
        lambda: here.events(names.TASKS, TaskRejected, id=name), lambda found: len(found) == 1
    )
    return told[0]


@pytest.mark.parametrize("structured", [False, True])
async def test_a_task_comes_in_in_both_modes_of_cloudevents_and_once(here: Here, structured: bool) -> None:
    name = f"in-{structured}"
    for _ in range(2):
        await send(
            here, f"event-{name}", {"project": PROJECT, "id": name, "data": {"text": "Ada"}}, structured=structured
        )
    finder, _ = await here.predicted(PROJECT, name)
    assert finder["regions"][0]["labels"] == ["PERSON"]
    uid = names.task_uid(PROJECT, name)
    await eventually(lambda: here.events(names.SUBMITTED, TaskSubmitted, task=uid), lambda found: len(found) == 2)
    assert len((await here.get(f"{PROJECT}/tasks/{name}"))["predictions"]) == 2


async def test_an_unnamed_task_is_named_by_its_event(here: Here) -> None:
    await send(here, "unnamed", {"project": PROJECT, "data": {"text": "Ada"}})
    await here.predicted(PROJECT, names.task_uid_of_event(PROJECT, "/crm", "unnamed"))


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (b"not json", TASK, "invalid"),
        ({"project": PROJECT}, TASK, "invalid"),
        ({"project": PROJECT, "data": {}}, TASK, "invalid"),
        ({"project": PROJECT, "data": {"text": "x"}, "lane": "express"}, TASK, "invalid"),
        ({"project": PROJECT, "data": {"text": "x"}}, "prelabel.task.submitted.v2", "unknown_major_version"),
        ({"project": "others", "annotation": {"task": "t", "annotator": "e"}}, ANNOTATION, "forbidden_project"),
        ({"project": "not-there-yet", "annotation": {"task": "t", "annotator": "e"}}, ANNOTATION, "unknown_project"),
    ],
)
async def test_what_cannot_be_read_is_dead_lettered_with_its_reason_and_the_rest_goes_on(
    here: Here, data: Any, kind: str, reason: str, request: pytest.FixtureRequest
) -> None:
    name = f"wrong-{abs(hash(request.node.name))}"
    await send(here, name, data, kind=kind)
    record, told = await buried(here, name)
    assert told["reason"] == reason
    assert told["topic"] == names.inbound("crm")
    assert record.key == b"any"
    await send(here, f"after-{name}", {"project": PROJECT, "id": f"after-{name}", "data": {"text": "Ada"}})
    await here.predicted(PROJECT, f"after-{name}")


MANY_LARGE_FIELDS = {f"field {n}": "x" * 6_000 for n in range(60)}


@pytest.mark.parametrize(
    ("name", "data", "source", "reason", "says"),
    [
        ("r1", {"project": "others"}, "crm", "forbidden_project", "may write to: crm-mails"),
        ("r2", {"project": PROJECT, "lane": "interactive"}, "crm", "forbidden_lane", "bulk, backfill"),
        ("r3", {"project": PROJECT, "lane": "bulk"}, "archive", "forbidden_lane", "backfill"),
        ("r4", {"project": "not-there-yet"}, "crm", "unknown_project", "no project"),
        ("r5", {"project": PROJECT, "data": MANY_LARGE_FIELDS}, "crm", "too_large", "32 largest fields"),
        ("r6", {"project": PROJECT, "meta": {"m": "x" * 5000}}, "crm", "invalid", "the limit is"),
    ],
)
async def test_a_task_that_may_not_come_in_is_rejected_to_its_sender(
    here: Here, name: str, data: dict[str, Any], source: str, reason: str, says: str
) -> None:
    await send(here, f"event-{name}", {"id": name, "data": {"text": "x"}, **data}, source=source)
    told = await rejected(here, name)
    assert (told.reason, told.door) == (reason, f"inbound.{source}")
    assert says in told.errors[0].detail
    assert (await here.client.get(f"/v1/projects/{PROJECT}/tasks/{name}")).status_code == 404


async def test_a_source_adds_nothing_to_a_run_by_naming_it(here: Here) -> None:
    theirs = await here.project()
    run = (await here.upload(theirs, [{"data": {"text": "Ada"}}])).json()["run"]
    before = await here.until(f"{theirs}/runs/{run}", lambda seen: seen["state"] == "completed")
    await send(here, "run-event", {"project": PROJECT, "id": "run-1", "data": {"text": "Grace"}, "run": run})
    await here.predicted(PROJECT, "run-1")
    assert await here.get(f"{theirs}/runs/{run}") == before
    (listed,) = (await here.get(f"{PROJECT}/tasks", run=f"crm:{run}"))["tasks"]
    assert listed["id"] == "run-1"


async def test_an_annotation_comes_in(here: Here) -> None:
    await send(here, "for-annotation", {"project": PROJECT, "id": "annotated", "data": {"text": "Ada"}})
    await here.predicted(PROJECT, "annotated")
    data = {"project": PROJECT, "annotation": {"task": "annotated", "annotator": "eve", "regions": []}}
    await send(here, "annotation-1", data, kind=ANNOTATION)
    seen = await here.until(f"{PROJECT}/tasks/annotated", lambda t: len(t["annotations"]) == 1)
    assert seen["annotations"][0]["annotator"] == "eve"


async def test_an_annotation_that_comes_before_its_task_waits_for_it(here: Here) -> None:
    data = {"project": PROJECT, "annotation": {"task": "late", "annotator": "eve", "regions": []}}
    await send(here, "annotation-early", data, kind=ANNOTATION)
    await eventually(lambda: here.records(names.retry("inbound-crm")), lambda found: len(found) >= 1)
    await send(here, "its-task", {"project": PROJECT, "id": "late", "data": {"text": "Ada"}})
    seen = await here.until(f"{PROJECT}/tasks/late", lambda t: len(t["annotations"]) == 1)
    assert seen["annotations"][0]["annotator"] == "eve"
