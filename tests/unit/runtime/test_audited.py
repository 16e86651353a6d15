"""A change is recorded before its answer leaves."""

from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Request, Response
from prelabel_contract.events import AuditRecorded
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.http import app
from prelabel_runtime.http.access import ADMINS, READERS, Caller, Reach, allow, changes
from prelabel_runtime.http.audit import note
from prelabel_runtime.http.limits import LimitsSettings
from prelabel_runtime.metrics import Metrics

ADA = Caller("k1", "Ada", "admin")


class Recorder:
    """Remembers what is recorded, or refuses to."""

    def __init__(self) -> None:
        self.records: list[AuditRecorded] = []
        self.away = False

    async def __call__(self, done: AuditRecorded) -> None:
        if self.away:
            raise Unavailable("the bus", after=2)
        self.records.append(done)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def client(recorder: Recorder) -> httpx.AsyncClient:
    router = APIRouter()

    @router.put("/projects/{project}", dependencies=[changes("project.put", ADMINS)])
    async def put(project: str, request: Request, status: int = 200) -> Response:
        note(request, version=3)
        return Response("done", status_code=status, headers={"X-Done": "yes"})

    @router.get("/projects", dependencies=[allow("project.list", READERS, Reach.LISTING)])
    async def listing() -> Response:
        return Response("all")

    async def identify(_: Any) -> Caller:
        return ADA

    built = app.build(
        [router],
        title="x",
        identify=identify,
        record=recorder,
        limits=LimitsSettings(),
        metrics=Metrics(),
        clock=SystemClock(),
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=built), base_url="http://here")


async def test_a_change_that_succeeds_is_recorded_once(client: httpx.AsyncClient, recorder: Recorder) -> None:
    answer = await client.put("/projects/mails?status=201")
    assert (answer.status_code, answer.text, answer.headers["x-done"]) == (201, "done", "yes")
    assert recorder.records == [
        AuditRecorded(
            actor="k1", actor_name="Ada", role="admin", action="project.put", subject="/projects/mails",
            project="mails", status=201, detail={"version": 3},
        )
    ]  # fmt: skip


@pytest.mark.parametrize("status", [400, 404, 409, 500, 503])
async def test_a_change_that_failed_is_not_recorded(client: httpx.AsyncClient, recorder: Recorder, status: int) -> None:
    assert (await client.put(f"/projects/mails?status={status}")).status_code == status
    assert (await client.get("/projects")).status_code == 200
    assert (await client.put("/nothing")).status_code == 404
    assert recorder.records == []


async def test_what_cannot_be_recorded_is_not_told_as_done(client: httpx.AsyncClient, recorder: Recorder) -> None:
    recorder.away = True
    answer = await client.put("/projects/mails")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "done" not in answer.text
    assert "x-done" not in answer.headers
    recorder.away = False
    assert (await client.put("/projects/mails")).status_code == 200
    assert len(recorder.records) == 1


async def test_a_long_subject_is_cut(client: httpx.AsyncClient, recorder: Recorder) -> None:
    await client.put(f"/projects/{'m' * 5000}")
    assert (len(recorder.records[0].subject), recorder.records[0].project) == (300, None)
