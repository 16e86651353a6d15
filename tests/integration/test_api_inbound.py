"""CloudEvents over HTTP: the same door as an inbound topic, for upstreams without Kafka."""

import json
from typing import Any

import pytest
from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from prelabel_contract.events import TaskRejected

from tests.integration.test_api_doors import problem
from tests.integration.test_inbound import ANNOTATION, PROJECT, TASK, rejected
from tests.rig.in_process import Here, spec

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATH = "/v1/inbound/crm"
JSON = JSONFormat()


def task(name: str, project: str = PROJECT, **more: Any) -> CloudEvent:
    """An upstream's event, made with the standard's own library."""
    attributes = {"type": TASK, "source": "/crm", "id": f"http-{name}", "datacontenttype": "application/json"}
    return CloudEvent(attributes, {"project": project, "id": name, "data": {"text": "Ada"}, **more})


@pytest.mark.parametrize("mode", ["binary", "structured", "batch"])
async def test_an_event_comes_in_in_every_mode_of_the_binding(here: Here, mode: str) -> None:
    await here.client.put(f"/v1/projects/{PROJECT}", json=spec())
    name = f"over-http-{mode}"
    if mode == "batch":
        body = json.dumps([json.loads(JSON.write(task(name))), json.loads(JSON.write(task(f"{name}-2")))])
        headers = {"content-type": "application/cloudevents-batch+json"}
        answer = await here.client.post(PATH, content=body, headers=headers)
        assert answer.json() == {"accepted": 2}
    else:
        message = (http.to_binary if mode == "binary" else http.to_structured)(task(name), JSON)
        answer = await here.client.post(PATH, content=message.body, headers=dict(message.headers))
    assert answer.status_code == 202, answer.text
    finder, _ = await here.predicted(PROJECT, name)
    assert finder["regions"][0]["labels"] == ["PERSON"]


def binary(kind: str) -> dict[str, str]:
    """The attributes of an event as headers."""
    return {"ce-specversion": "1.0", "ce-id": "a", "ce-source": "/s", "ce-type": kind}


STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}


@pytest.mark.parametrize(
    ("headers", "body", "code", "at"),
    [
        (STRUCTURED, b"{", "not_json", ""),
        (STRUCTURED, b"[]", "not_a_cloudevent", ""),
        (BATCH, b"{}", "not_a_cloudevent", None),
        (BATCH, b'[{"specversion":"1.0"}]', "not_a_cloudevent", "/0"),
        ({"content-type": "application/json"}, b"{}", "not_a_cloudevent", ""),
        (binary("a.b.c"), b"{}", "unknown_type", "/type"),
        (binary(TASK), b"{}", "invalid", "/data/project"),
        (binary(ANNOTATION), b'{"project":"a"}', "invalid", "/data/annotation"),
    ],
)
async def test_what_can_never_be_read_is_refused_at_once_at_its_place(
    here: Here, headers: dict[str, str], body: bytes, code: str, at: str | None
) -> None:
    answer = await here.client.post(PATH, content=body, headers=headers)
    told = problem(answer, code)
    assert answer.status_code in (400, 422)
    assert at is None or told["errors"][0]["pointer"] == at


async def test_what_its_source_may_not_do_is_rejected_as_it_is_over_kafka(here: Here) -> None:
    message = http.to_structured(task("not-mine", project="others"), JSON)
    assert (await here.client.post(PATH, content=message.body, headers=dict(message.headers))).status_code == 202
    told: TaskRejected = await rejected(here, "not-mine")
    assert (told.reason, told.door) == ("forbidden_project", "inbound.crm")


async def test_a_source_that_is_not_bound_or_not_within_reach_is_not_there(here: Here) -> None:
    message = http.to_structured(task("nowhere"), JSON)
    answer = await here.client.post("/v1/inbound/nobody", content=message.body, headers=dict(message.headers))
    problem(answer, "unknown_source", 404)
    made = await here.client.post("/v1/keys", json={"name": "n", "role": "service", "projects": ["elsewhere"]})
    bound = {"Authorization": f"Bearer {made.json()['key']}", **dict(message.headers)}
    problem(await here.client.post(PATH, content=message.body, headers=bound), "unknown_source", 404)
