"""What every route has in common: the key, problems that help, limits of bodies."""

import json
import re
from functools import partial
from typing import Any

import httpx
import pytest
from prelabel_contract.limits import MAX_BODY_BYTES

from tests.rig.in_process import KEY, Here, eventually, spec, task

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_route_needs_the_key(here: Here) -> None:
    document = (await here.client.get("/openapi.json")).json()
    async with httpx.AsyncClient(base_url=here.client.base_url, timeout=60, trust_env=False) as stranger:
        problem(await stranger.get("/openapi.json"), "no_key", 401)
        asked = 0
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if operation["x-prelabel-rule"]["reach"] == "anyone":
                    continue
                answer = await stranger.request(method, re.sub(r"\{\w+\}", "x", path))
                assert answer.status_code == 401, (method, path)
                problem(answer, "no_key")
                asked += 1
    assert asked >= 17


@pytest.mark.parametrize(
    "sent",
    [None, "", "Bearer", "Bearer wrong", f"Bearer {KEY}x", f"Basic {KEY}", KEY, f"Bearer {KEY[:-1]}", "Bearer \xff"],
)
async def test_a_wrong_key_is_refused_and_told_how_to_send_a_right_one(here: Here, sent: str | None) -> None:
    headers = [(b"Authorization", sent.encode("latin-1"))] if sent is not None else []
    async with httpx.AsyncClient(base_url=here.client.base_url, timeout=60, trust_env=False) as stranger:
        answer = await stranger.get("/v1/projects", headers=headers)
    assert "Authorization: Bearer KEY" in problem(answer, "no_key", 401)["detail"]
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert KEY not in answer.text


async def test_the_scheme_is_read_in_any_case(here: Here) -> None:
    answer = await here.client.get("/v1/projects", headers={"Authorization": f"bearer {KEY}"})
    assert answer.status_code == 200


async def test_probes_are_open_and_on_a_port_of_their_own(here: Here) -> None:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as stranger:
        base = f"http://127.0.0.1:{here.runtime.settings.health_port}"
        for probe in ("/livez", "/readyz"):
            # What somebody waits for at this moment is told there: it is ready again when that has come.
            answer = await eventually(partial(stranger.get, base + probe), lambda seen: seen.status_code == 200)
            assert answer.json() == {"status": "ok", "missing": {}}
        metrics = (await stranger.get(f"{base}/metrics")).text
    assert 'prelabel_lag_records{group="dispatcher",topic="prelabel.submitted"}' in metrics
    assert (await here.client.get("/metrics")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/keys/", 404),
        ("PATCH", "/v1/projects", 405),
        ("POST", "/v1/projects/x/counts", 405),
    ],
)
async def test_what_there_is_not_is_a_problem_too(here: Here, method: str, path: str, status: int) -> None:
    problem(await here.client.request(method, path), None, status)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("GET", "/tasks", None),
        ("GET", "/tasks/x", None),
        ("GET", "/counts", None),
        ("GET", "/export", None),
        ("GET", "/runs", None),
        ("GET", "/runs/x", None),
        ("GET", "/examples", None),
        ("POST", "/tasks", task("x")),
        ("POST", "/predictions", task("x")),
        ("POST", "/annotations", {}),
        ("DELETE", "/tasks/x", None),
    ],
)
async def test_an_unknown_project_is_not_found_on_any_route(here: Here, method: str, path: str, body: Any) -> None:
    answer = await here.client.request(method, f"/v1/projects/nobody{path}", json=body)
    assert problem(answer, "unknown_project", 404)["detail"] == "there is no project 'nobody'"


@pytest.mark.parametrize("path", ["tasks", "predictions", "annotations"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "not_json"),
        (b"{", 400, "not_json"),
        (b"\xff\xfe", 400, "not_json"),
        (b'{"data": {"text": NaN}}', 400, "not_json"),
        (b'{"data": {"text": "\\ud800"}}', 400, "not_json"),
        (b"[" * 100_000, 400, "not_json"),
        (b'"text"', 422, "invalid"),
        (b"null", 422, "invalid"),
        (b"{}", 422, "invalid"),
    ],
)
async def test_a_body_that_is_none_of_ours_is_told_so(
    here: Here, path: str, body: bytes, status: int, code: str
) -> None:
    project = await _some_project(here)
    answer = await here.client.post(
        f"/v1/projects/{project}/{path}", content=body, headers={"Content-Type": "application/json"}
    )
    problem(answer, code, status)


@pytest.mark.parametrize("path", ["tasks", "predictions", "annotations"])
@pytest.mark.parametrize("kind", [None, "text/plain", "application/xml", "application/jsonx"])
async def test_a_wrong_content_type_is_told_the_right_one(here: Here, path: str, kind: str | None) -> None:
    project = await _some_project(here)
    headers = {"Content-Type": kind} if kind else {}
    answer = await here.client.post(f"/v1/projects/{project}/{path}", content=b"{}", headers=headers)
    assert "application/json" in problem(answer, "content_type", 415)["detail"]


async def test_content_types_are_read_in_any_case_and_with_parameters(here: Here) -> None:
    project = await _some_project(here)
    for kind in ("Application/JSON; charset=utf-8", "APPLICATION/X-NDJSON"):
        answer = await here.client.post(
            f"/v1/projects/{project}/tasks", content=json.dumps(task("x")), headers={"Content-Type": kind}
        )
        assert answer.status_code == 202


@pytest.mark.parametrize("told", [True, False])
async def test_a_body_over_the_limit_is_refused_as_soon_as_that_is_known(here: Here, told: bool) -> None:
    project = await _some_project(here)
    chunk = b"x" * (1 << 20)
    chunks = MAX_BODY_BYTES // len(chunk) + 1

    async def endless() -> Any:
        for _ in range(chunks):
            yield chunk

    content: Any = chunk * chunks if told else endless()
    answer = await here.client.post(
        f"/v1/projects/{project}/tasks", content=content, headers={"Content-Type": "application/json"}
    )
    assert "application/x-ndjson" in problem(answer, None, 413)["detail"]


def problem(answer: httpx.Response, code: str | None, status: int | None = None) -> dict[str, Any]:
    """A problem as RFC 9457 wants it."""
    assert status is None or answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == answer.status_code
    assert code is None or body["type"] == f"urn:prelabel:problem:{code}", body
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in answer.text
    return body


async def _some_project(here: Here) -> str:
    name = "doors"
    if (await here.client.get(f"/v1/projects/{name}")).status_code == 404:
        assert (await here.client.put(f"/v1/projects/{name}", json=spec())).status_code == 201
    return name
