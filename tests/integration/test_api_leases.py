"""Leases over HTTP: open tasks for annotators, each in one pair of hands, blind where it must be."""

import asyncio
from typing import Any

import pytest
from prelabel_client import AsyncClient, Refused

from tests.rig.in_process import KEY, Here, eventually, spec, task

from .test_api_doors import problem

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def filled(here: Here, count: int, **changes: Any) -> str:
    """A project with so many predicted tasks."""
    project = await here.project(**changes)
    run = (await here.upload(project, [task(f"Ada waits {n}", id=f"t{n}") for n in range(count)])).json()["run"]
    await here.until(f"{project}/runs/{run}", lambda r: r["state"] == "completed")
    return project


async def lent(here: Here, project: str, **wish: Any) -> dict[str, Any]:
    """What a request for leases is answered."""
    answer = await here.post(f"{project}/leases", wish)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_leased_task_comes_with_what_stands_predicted_and_is_nobody_elses(here: Here) -> None:
    project = await filled(here, 3, learning={"holdout": 0})
    first = await lent(here, project, n=2, annotator="eve", strategy="random")
    second = await lent(here, project, n=5, annotator="bob")
    assert [len(first["leases"]), len(second["leases"])] == [2, 1]
    every = [*first["leases"], *second["leases"]]
    assert {one["id"] for one in every} == {"t0", "t1", "t2"}
    assert {one["annotator"] for one in first["leases"]} == {"eve"}
    assert {one["strategy"] for one in first["leases"]} == {"random"}
    assert second["pool"] == {"open": 3, "held": 2, "seen": 5000, "whole": True}
    for one in every:
        assert one["data"] == {"text": f"Ada waits {one['id'][1:]}"}
        shown = {each["model"]: each for each in one["suggestions"]}
        assert set(shown) == {"finder", "parrot"}
        assert [region["start"] for region in shown["finder"]["regions"]] == [0]
        assert one["blind"] is False


async def test_answered_tasks_are_not_open_and_withdrawn_answers_open_them_again(here: Here) -> None:
    project = await filled(here, 2)
    answered = {"task": "t0", "id": "a", "annotator": "eve", "regions": []}
    said = (await here.post(f"{project}/annotations", answered)).json()["annotation"]
    await here.until(f"{project}/tasks/t0", lambda t: len(t["annotations"]) == 1)
    stopping = await here.get(f"{project}/stopping")
    assert (stopping["open"], stopping["stop"], stopping["reason"]) == (1, False, "too_early")
    assert (await lent(here, project, n=5))["pool"]["open"] == 1
    await here.post(f"{project}/annotations", {"task": "t1", "annotator": "eve", "regions": [], "skipped": True})
    await here.until(f"{project}/tasks/t1", lambda t: len(t["annotations"]) == 1)
    nothing = await lent(here, project, n=5)
    assert nothing["leases"] == []
    stopping = await here.get(f"{project}/stopping", model="finder")
    assert (stopping["stop"], stopping["reason"]) == (True, "nothing_left")
    await here.client.delete(f"/v1/projects/{project}/tasks/t0/annotations/{said}")
    await here.until(f"{project}/tasks/t0", lambda t: t["annotations"] == [])
    assert [one["id"] for one in (await lent(here, project, n=5))["leases"]] == ["t0"]


async def test_a_lease_is_renewed_by_its_holder_and_lost_once_it_was_given_back(here: Here) -> None:
    project = await filled(here, 1)
    [held] = (await lent(here, project, ttl=10))["leases"]
    path = f"/v1/projects/{project}/leases/{held['lease']}"
    renewed = await here.client.post(f"{path}/renewal", json={"ttl": 3600})
    assert renewed.status_code == 200
    assert renewed.json()["until_ms"] > held["until_ms"] + 3_000_000
    for _ in range(2):
        assert (await here.client.delete(path)).status_code == 204
    problem(await here.client.post(f"{path}/renewal", json={"ttl": 60}), "lease_lost", 409)


@pytest.mark.parametrize("strategy", ["mixed", "uncertainty", "disagreement", "diversity", "random"])
async def test_every_strategy_gives_the_tasks_that_are_open(here: Here, strategy: str) -> None:
    project = await filled(here, 12, learning={"holdout": 0})
    for n in range(2):
        await here.post(f"{project}/annotations", {"task": f"t{n}", "annotator": "eve", "regions": []})
        await here.until(f"{project}/tasks/t{n}", lambda t: len(t["annotations"]) == 1)
    found = await lent(here, project, strategy=strategy, n=20)
    assert {one["id"] for one in found["leases"]} == {f"t{n}" for n in range(2, 12)}
    if strategy != "mixed":
        assert {one["strategy"] for one in found["leases"]} == {strategy}


@pytest.mark.parametrize(
    ("learning", "blind"), [({"holdout": 0, "blind": 1.0}, 30), ({"holdout": 0}, 0), ({"holdout": 0.5}, None)]
)
async def test_blind_tasks_are_marked_and_show_no_suggestion(here: Here, learning: Any, blind: int | None) -> None:
    project = await filled(here, 30, learning=learning)
    found = (await lent(here, project, n=30))["leases"]
    assert len(found) == 30
    for one in found:
        assert bool(one["suggestions"]) is not one["blind"]
    marked = sum(one["blind"] for one in found)
    assert marked == blind if blind is not None else 0 < marked < 30


async def test_annotators_who_ask_at_once_get_tasks_of_their_own(here: Here) -> None:
    project = await filled(here, 40)
    said = await asyncio.gather(*(lent(here, project, n=4, annotator=f"a{n}") for n in range(8)))
    given = [one["task"] for each in said for one in each["leases"]]
    assert len(given) == len(set(given)) == 32
    assert len((await lent(here, project, n=20))["leases"]) == 8


@pytest.mark.parametrize(
    ("wish", "pointer"),
    [
        ({"strategy": "cleverest"}, "/strategy"), ({"n": 0}, "/n"), ({"n": 101}, "/n"), ({"n": "many"}, "/n"),
        ({"ttl": 9.9}, "/ttl"), ({"ttl": 86_401}, "/ttl"), ({"ttl": None}, "/ttl"), ({"annotator": ""}, "/annotator"),
        ({"count": 3}, "/count"), ({"model": "No Slug"}, "/model"),
    ],
)  # fmt: skip
async def test_a_wish_out_of_range_is_told_which_field(here: Here, wish: dict[str, Any], pointer: str) -> None:
    project = await here.project(models=[])
    errors = problem(await here.post(f"{project}/leases", wish), "invalid", 422)["errors"]
    assert [one["pointer"] for one in errors] == [pointer]


async def test_what_is_not_there_is_told_so(here: Here) -> None:
    project = await here.project()
    problem(await here.post("nowhere/leases", {}), "unknown_project", 404)
    problem(await here.post(f"{project}/leases", {"model": "nobody"}), "unknown_model", 404)
    problem(await here.client.get(f"/v1/projects/{project}/stopping", params={"model": "nobody"}), "unknown_model", 404)
    problem(await here.client.delete(f"/v1/projects/{project}/leases/nothing"), "unknown_lease", 404)
    problem(await here.client.post(f"/v1/projects/{project}/leases/a.b/renewal", json={}), "lease_lost", 409)
    problem(await here.client.post(f"/v1/projects/{project}/leases/a.b/renewal", json={"ttl": 1}), "invalid", 422)
    problem(await here.post(f"{project}/leases", []), "invalid", 422)
    empty = await lent(here, project, n=3)
    assert (empty["leases"], empty["pool"]["whole"]) == ([], True)


async def test_a_deleted_tasks_lease_is_forgotten(here: Here) -> None:
    project = await filled(here, 1)
    [held] = (await lent(here, project, annotator="eve"))["leases"]
    documents = here.runtime.store.documents
    assert await documents.get("lease", f"{project}/{held['task']}") is not None
    assert (await here.client.delete(f"/v1/projects/{project}/tasks/t0")).status_code == 202

    async def kept() -> Any:
        return await documents.get("lease", f"{project}/{held['task']}")

    await eventually(kept, lambda one: one is None)


async def test_predictions_of_models_that_the_project_dropped_are_no_suggestions(here: Here) -> None:
    project = await filled(here, 1, learning={"holdout": 0})
    changed = spec(models=spec()["models"][:1], learning={"holdout": 0})
    assert (await here.client.put(f"/v1/projects/{project}", json=changed)).status_code == 200
    # Who lends follows the projects by themselves: what they know is told by their own route.
    await here.until(f"{project}/models", lambda known: len(known["models"]) == 1)
    [held] = (await lent(here, project))["leases"]
    assert [one["model"] for one in held["suggestions"]] == ["finder"]


async def test_the_client_takes_keeps_and_gives_back_tasks(here: Here) -> None:
    project = await filled(here, 3, learning={"holdout": 0})
    async with AsyncClient(str(here.client.base_url), KEY) as client:
        leased = await client.lease(project, 2, strategy="random", annotator="eve", ttl=60)
        assert [one.annotator for one in leased.leases] == ["eve", "eve"]
        assert {said.model for one in leased.leases for said in one.suggestions} == {"finder", "parrot"}
        first, second = leased.leases
        renewed = await client.renew_lease(project, first.lease, ttl=3600)
        assert renewed.until_ms > first.until_ms
        await client.release_lease(project, second.lease)
        with pytest.raises(Refused):
            await client.renew_lease(project, second.lease)
        assert (await client.stopping(project)).open == 3
