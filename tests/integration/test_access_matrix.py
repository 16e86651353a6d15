"""Who may call what: every route of the API, by everybody there is, against what the route's own rule says.

The routes come from the OpenAPI document that the process serves, so a new one is tested as soon as it exists.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
from prelabel_all_in_one.openapi import documents
from prelabel_runtime.http.access import Role
from prelabel_runtime.http.credentials import new_credential

from tests.rig.in_process import Here, eventually, prelabel_here, spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWN, OTHERS, NOBODYS = "own", "others", "nobodys"
AT_ONCE = 16


@dataclass(frozen=True)
class Route:
    """An operation of the document."""

    method: str
    path: str
    action: str
    roles: frozenset[str]
    reach: str

    def address(self, project: str) -> str:
        """Its path in a project; whatever else it names is not there."""
        return re.sub(r"\{\w+\}", "no-such-thing", self.path.replace("{project}", project))


@dataclass(frozen=True)
class Somebody:
    """Who calls: with a key that is known, or as nobody."""

    name: str
    authorization: str | None
    role: str | None = None
    projects: frozenset[str] | None = None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Here]:
    """A Prelabel of its own: here routes are called with anything."""
    async with prelabel_here(tmp_path_factory.mktemp("matrix"), inbound={}) as here:
        for project in (OWN, OTHERS):
            assert (await here.client.put(f"/v1/projects/{project}", json=spec())).status_code == 201
        yield here


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(alone: Here) -> AsyncIterator[httpx.AsyncClient]:
    """A client that sends no key of its own."""
    async with httpx.AsyncClient(base_url=alone.client.base_url, timeout=60, trust_env=False) as client:
        yield client


def routes(document: Any) -> Iterator[Route]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            rule = operation["x-prelabel-rule"]
            yield Route(method.upper(), path, rule["action"], frozenset(rule["roles"]), rule["reach"])


async def everybody(here: Here) -> list[Somebody]:
    """Every role with a key of one project and of all, and all the ways to be nobody."""
    found = [
        Somebody("no key", None),
        Somebody("not a key", "Bearer open-sesame"),
        Somebody("a made-up key", f"Bearer {new_credential(here.runtime.random_bytes).key}"),
        Somebody("a revoked key", await _revoked(here)),
        Somebody("an expired key", await _expired(here)),
    ]
    for role in Role:
        bound = (await _key(here, role=role, projects=[OWN]))["key"]
        found.append(Somebody(f"{role} of {OWN}", f"Bearer {bound}", role, frozenset({OWN})))
        free = (await _key(here, role=role, projects=[]))["key"]
        found.append(Somebody(f"{role} of all", f"Bearer {free}", role))
    return found


async def _key(here: Here, **wanted: Any) -> Any:
    answer = await here.client.post("/v1/keys", json={"name": "matrix", **wanted})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def _revoked(here: Here) -> str:
    key = await _key(here, role="admin")
    assert (await here.client.delete(f"/v1/keys/{key['id']}")).status_code == 200
    return f"Bearer {key['key']}"


async def _expired(here: Here) -> str:
    key = await _key(here, role="admin", expires_in_seconds=1)
    authorization = f"Bearer {key['key']}"

    async def look() -> httpx.Response:
        return await here.client.get("/v1/me", headers={"Authorization": authorization})

    await eventually(look, lambda answer: answer.status_code == 401)
    return authorization


def verdict(route: Route, who: Somebody, project: str) -> str:
    """What the rule says."""
    if route.reach == "anyone":
        return "in"
    if who.role is None:
        return "nobody"
    if route.reach == "project" and not (who.projects is None or project in who.projects):
        return "not there"
    if who.role not in route.roles:
        return "not with this role"
    if route.reach == "everything" and who.projects is not None:
        return "not with this reach"
    return "in"


def seen(status: int, problem: Any, project: str) -> str:
    """What the answer says."""
    code = str(problem.get("type", "")).rpartition(":")[2]
    if status == 401 and code == "no_key":
        return "nobody"
    if status == 404 and code == "unknown_project":
        return "in, but the project is not there" if project == OWN else "not there"
    if status == 403:
        return {"forbidden_role": "not with this role", "forbidden_reach": "not with this reach"}.get(code, code)
    return "in" if status < 500 else f"a {status}"


async def ask(client: httpx.AsyncClient, route: Route, who: Somebody, project: str) -> tuple[int, Any]:
    """The status, and the problem if it is one. A stream is left as soon as it begins."""
    headers = {"Authorization": who.authorization} if who.authorization else {}
    body: Any = None if route.method in ("GET", "HEAD") else {}
    async with client.stream(route.method, route.address(project), headers=headers, json=body) as answer:
        if answer.status_code < 400:
            return answer.status_code, {}
        kind = answer.headers.get("content-type", "")
        if route.reach == "anyone" and kind.startswith("text/html"):
            return answer.status_code, {}
        assert kind == "application/problem+json", f"{route.method} {route.path} answered {kind!r}"
        return answer.status_code, json.loads(await answer.aread())


async def test_every_route_lets_in_whom_its_rule_says_and_nobody_else(alone: Here, client: httpx.AsyncClient) -> None:
    asked = list(routes((await alone.client.get("/openapi.json")).json()))
    people = await everybody(alone)
    gate = asyncio.Semaphore(AT_ONCE)

    async def wrong(route: Route, who: Somebody, project: str) -> str | None:
        async with gate:
            status, problem = await ask(client, route, who, project)
        wanted, found = verdict(route, who, project), seen(status, problem, project)
        if route.reach != "project" and found == "not there":
            found = "in"  # it named a project in its body, or none
        if found == wanted:
            return None
        return f"{route.method} {route.path} ({route.action}), {who.name}, project {project}: {found}, not {wanted}"

    cases = [
        (route, who, project)
        for route in asked
        for who in people
        for project in ((OWN, OTHERS) if route.reach == "project" else (OWN,))
    ]
    results = await asyncio.gather(*(wrong(*case) for case in cases))
    assert [result for result in results if result] == []
    assert len(asked) >= 24
    assert len(cases) >= len(people) * len(asked)


async def test_a_project_out_of_reach_looks_as_if_it_were_not_there(alone: Here, client: httpx.AsyncClient) -> None:
    bound = Somebody("bound", f"Bearer {(await _key(alone, role='admin', projects=[OWN]))['key']}")
    free = Somebody("free", f"Bearer {(await _key(alone, role='admin', projects=[]))['key']}")
    for route in routes((await alone.client.get("/openapi.json")).json()):
        if route.reach == "project" and route.method == "GET":
            hidden, missing = await ask(client, route, bound, OTHERS), await ask(client, route, free, NOBODYS)
            assert json.dumps(hidden).replace(OTHERS, NOBODYS) == json.dumps(missing), route


async def test_no_service_has_routes_that_are_not_tested_here(alone: Here) -> None:
    """The documents that are committed, and this process, speak of the same routes."""
    written = {Path(path).stem: orjson.loads(text) for path, text in documents()}
    served = set(routes((await alone.client.get("/openapi.json")).json()))
    for name, document in written.items():
        assert set(routes(document)) <= served, name
    assert set(routes(written["all_in_one"])) == served
