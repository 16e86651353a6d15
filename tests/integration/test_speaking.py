"""In whose name: a labeler's key says, changes, withdraws, takes and gives back what is its own, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from prelabel_client.command.exits import NO_ACCESS
from prelabel_contract import names
from prelabel_contract.events import AnnotationDeleted, AnnotationSubmitted, SuggestionRejected

from tests.rig.in_process import Here, task

from .test_api_doors import problem
from .test_api_keys import made, using
from .test_command import Command

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class People:
    """A project with a predicted task, and who works there."""

    project: str
    eve: httpx.AsyncClient
    bob: httpx.AsyncClient

    @property
    def path(self) -> str:
        return f"/v1/projects/{self.project}"

    async def said(self, who: httpx.AsyncClient, **more: Any) -> str:
        """Somebody answers the task; the annotation's uid."""
        answer = await who.post(f"{self.path}/annotations", json={"task": "t", "regions": [], **more})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["annotation"])

    async def withdrawn(self, who: httpx.AsyncClient, uid: str, **query: str) -> httpx.Response:
        return await who.delete(f"{self.path}/tasks/t/annotations/{uid}", params=query)


@pytest_asyncio.fixture(loop_scope="session")
async def people(here: Here) -> AsyncIterator[People]:
    project = await here.project(learning={"holdout": 0})
    await here.upload(project, [task("Ada", id="t")])
    await here.predicted(project, "t")
    async with AsyncExitStack() as stack:
        keys = [await made(here, role="labeler", name=name, projects=[project]) for name in ("eve", "bob")]
        clients = [await stack.enter_async_context(using(here, key["key"])) for key in keys]
        yield People(project, *clients)


async def kept(here: Here, people: People, count: int) -> dict[str, str]:
    """The annotations of the task, annotator by uid, once there are so many."""
    seen = await here.until(f"{people.project}/tasks/t", lambda t: len(t["annotations"]) == count)
    return {one["annotation"]: one["annotator"] for one in seen["annotations"]}


async def test_what_a_labeler_hands_in_is_its_own_and_nobody_elses(here: Here, people: People) -> None:
    unsaid = await people.said(people.eve)
    said = await people.said(people.bob, annotator="bob")
    assert await kept(here, people, 2) == {unsaid: "eve", said: "bob"}
    body = {"task": "t", "regions": []}
    where = f"{people.path}/annotations"
    alone = problem(await people.eve.post(where, json={**body, "annotator": "bob"}), "forbidden_annotator", 403)
    assert [one["pointer"] for one in alone["errors"]] == ["/annotator"]
    assert "'eve'" in alone["detail"]
    many = problem(await people.eve.post(where, json=[body, {**body, "annotator": "x"}]), "forbidden_annotator", 403)
    assert [one["pointer"] for one in many["errors"]] == ["/1/annotator"]
    assert len(await here.events(names.ANNOTATIONS, AnnotationSubmitted, project=people.project)) == 2


async def test_two_labelers_who_use_the_same_id_keep_their_own(here: Here, people: People) -> None:
    eves = await people.said(people.eve, id="1")
    bobs = await people.said(people.bob, id="1", skipped=True)
    assert await kept(here, people, 2) == {eves: "eve", bobs: "bob"}
    assert await people.said(people.eve, id="1", lead_time=3) == eves
    await people.said(people.bob)
    assert sorted((await kept(here, people, 3)).values()) == ["bob", "bob", "eve"]


async def test_a_labeler_withdraws_what_is_its_own_and_nothing_else(here: Here, people: People) -> None:
    eves, bobs = await people.said(people.eve, id="1"), await people.said(people.bob, id="1")
    assert await kept(here, people, 2) == {eves: "eve", bobs: "bob"}
    for uid in (bobs, "never-made", bobs.partition(".")[0]):
        problem(await people.withdrawn(people.eve, uid), "forbidden_annotator", 403)
    told = problem(await people.withdrawn(people.eve, eves, annotator="bob"), "forbidden_annotator", 403)
    assert [one["pointer"] for one in told["errors"]] == ["/query/annotator"]
    for _ in range(2):
        assert (await people.withdrawn(people.eve, eves)).status_code == 202
    assert await kept(here, people, 1) == {bobs: "bob"}
    (gone, _) = await here.events(names.ANNOTATIONS, AnnotationDeleted, project=people.project)
    assert (gone.annotation, gone.annotator) == (eves, "eve")


@pytest.mark.parametrize("role", ["reviewer", "service", "admin"])
async def test_everybody_else_speaks_for_others_too(here: Here, people: People, role: str) -> None:
    key = await made(here, role=role, name="the import", projects=[people.project])
    async with using(here, key["key"]) as other:
        eves = await people.said(people.eve, id="1")
        assert await people.said(other, id="1", annotator="eve", skipped=True) == eves
        brought = await people.said(other, id="2", annotator="eve")
        own = await people.said(other, id="1")
        assert await kept(here, people, 3) == {eves: "eve", brought: "eve", own: "the import"}
        assert (await people.withdrawn(other, eves, annotator="eve")).status_code == 202
        assert (await people.withdrawn(people.eve, brought)).status_code == 202
        assert await kept(here, people, 1) == {own: "the import"}


async def test_a_key_of_the_same_name_is_the_same_labeler(here: Here, people: People) -> None:
    eves = await people.said(people.eve, id="1")
    key = await made(here, role="labeler", name="eve", projects=[people.project])
    async with using(here, key["key"]) as again:
        assert await people.said(again, id="1", skipped=True) == eves
        assert (await people.withdrawn(again, eves)).status_code == 202


async def test_what_is_out_of_reach_is_not_there_whoever_it_is_of(here: Here, people: People) -> None:
    other = await here.project(models=[])
    await here.post(f"{other}/tasks", task("x", id="t"))
    body = {"task": "t", "annotator": "bob", "regions": []}
    for answer in (
        await people.eve.post(f"/v1/projects/{other}/annotations", json=body),
        await people.eve.delete(f"/v1/projects/{other}/tasks/t/annotations/x", params={"annotator": "bob"}),
        await people.eve.post(f"/v1/projects/{other}/leases", json={"annotator": "bob"}),
        await people.eve.delete(f"/v1/projects/{other}/leases/t.x"),
    ):
        problem(answer, "unknown_project", 404)


async def test_a_labeler_refuses_suggestions_in_its_own_name(here: Here, people: People) -> None:
    request = (await here.predicted(people.project, "t"))[0]["request"]
    path = f"{people.path}/tasks/t/predictions/{request}/rejection"
    problem(await people.eve.post(path, params={"annotator": "bob"}), "forbidden_annotator", 403)
    assert (await people.eve.post(path)).json()["annotator"] == "eve"
    (told,) = await here.events(names.ANNOTATIONS, SuggestionRejected, project=people.project)
    assert told.annotator == "eve"


async def test_a_labeler_takes_keeps_and_gives_back_leases_of_its_own_only(here: Here, people: People) -> None:
    where = f"{people.path}/leases"
    told = problem(await people.eve.post(where, json={"annotator": "bob"}), "forbidden_annotator", 403)
    assert [one["pointer"] for one in told["errors"]] == ["/annotator"]
    (held,) = (await people.eve.post(where, json={})).json()["leases"]
    assert held["annotator"] == "eve"
    own = f"{where}/{held['lease']}"
    problem(await people.bob.post(f"{own}/renewal", json={}), "forbidden_annotator", 403)
    problem(await people.bob.delete(own), "forbidden_annotator", 403)
    assert (await people.eve.post(f"{own}/renewal", json={"ttl": 900})).json()["annotator"] == "eve"
    assert (await here.client.post(f"{own}/renewal", json={"ttl": 900})).status_code == 200, "an admin's key"
    assert (await people.eve.delete(own)).status_code == 204
    assert (await people.bob.delete(own)).status_code == 204, "nobody holds it any more"
    problem(await people.eve.post(f"{own}/renewal", json={}), "lease_lost", 409)


async def test_the_command_speaks_for_the_labeler_whose_key_it_has(here: Here, people: People, tmp_path: Path) -> None:
    key = await made(here, role="labeler", name="eve", projects=[people.project])
    address = str(here.client.base_url)
    command = Command(tmp_path, PRELABEL_ADDRESS=address, PRELABEL_KEY=key["key"], PRELABEL_PROJECT=people.project)
    words = ("annotate", "t", "--choose", "topic=later")
    await asyncio.to_thread(command, *words)
    assert list((await kept(here, people, 1)).values()) == ["eve"]
    refused = await asyncio.to_thread(command, *words, "--annotator", "bob", code=NO_ACCESS)
    assert "this key is the labeler 'eve'" in refused.err
