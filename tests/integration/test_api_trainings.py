"""Trainings over HTTP: asked for, refused with what is missing, followed, cancelled. Nobody trains here."""

import asyncio
from typing import Any

import pytest
from prelabel_contract import names
from prelabel_contract.events import TrainerAnnounced, TrainingCancelled, TrainingRequested, event
from prelabel_runtime.loop import messages
from prelabel_runtime.topics.spec import topic_spec

from tests.rig.in_process import Here, eventually, task

from .test_api_doors import problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODEL = "finder"


async def announced(here: Here) -> None:
    """There is a trainer of the provider `rules`: it says so, and takes nothing up."""
    await here.runtime.bus.provision([topic_spec(names.training("rules"), 1)])
    said = TrainerAnnounced(provider="rules", package="1", kinds=("span", "choice"), settings_schema={})
    told = event(said, id=here.runtime.new_id(), source="/test", time_ms=0)
    await here.runtime.bus.publish(messages([told]))


async def learning(here: Here, examples: int, **training: Any) -> str:
    """A project whose model learns by hand only, with so many annotated tasks."""
    await announced(here)
    rules = {"every_n": None, "quiet_seconds": None, "minimum": 3, **training}
    models = [{"name": MODEL, "provider": "rules", "settings": {"rules": []}, "training": rules}]
    models[0]["settings"] = {"rules": [{"label": "PERSON", "words": ["Ada"]}]}
    project = await here.project(models=models, learning={"holdout": 0.0})
    await annotated(here, project, 0, examples)
    return project


async def annotated(here: Here, project: str, first: int, last: int) -> None:
    """Tasks come, and are annotated; returns when they can be learned from."""
    tasks = [task(f"Ada writes letter {number} now", id=f"t{number}") for number in range(first, last)]
    assert (await here.upload(project, tasks)).status_code == 202
    region = {"kind": "choice", "question": "topic", "field": "text", "labels": ["urgent"]}
    said = [{"task": f"t{number}", "annotator": "ann", "regions": [region]} for number in range(first, last)]
    if said:
        await eventually(lambda: here.post(f"{project}/annotations", said), lambda answer: answer.status_code == 202)
    await here.until(f"{project}/examples", lambda seen: seen["models"] and seen["models"][0]["examples"] == last)


async def ask(here: Here, project: str) -> Any:
    return await here.post(f"{project}/trainings", {"model": MODEL})


async def test_fewer_examples_than_the_minimum_are_refused_with_the_number_that_is_missing(here: Here) -> None:
    project = await learning(here, 1)
    detail = problem(await ask(here, project), "too_few", 409)["detail"]
    assert detail.startswith("Too few examples: 1 of at least 3; 2 more needed")
    assert await here.get(f"{project}/trainings") == {"trainings": [], "next": None}


async def test_a_training_is_asked_for_followed_and_cancelled(here: Here) -> None:
    project = await learning(here, 4)
    asked = await ask(here, project)
    assert asked.status_code == 202, asked.text
    training = asked.json()["training"]
    assert (training["state"], training["examples"], training["number"]) == ("requested", 4, 1)
    assert asked.json()["why"]["reason"] == "asked"
    address = f"trainings/{MODEL}/1"
    assert asked.headers["location"] == f"/v1/projects/{project}/{address}"
    assert await here.get(f"{project}/{address}") == training
    assert (await here.get(f"{project}/trainings"))["trainings"] == [training]
    log = await here.get(f"{project}/{address}/log")
    assert [line["line"] for line in log["lines"]] == [
        f"asked for (asked): 4 examples up to annotation {training['cut']}",
        "held out: 0; left out: none",
    ]
    # It is on record before it is told, and who waits may see the record when any other look has ended.
    (told,) = await eventually(lambda: here.events(names.training("rules"), TrainingRequested, project=project), bool)
    assert (told.training, told.cut, told.config) == (training["training"], training["cut"], training["config"])
    cancelled = await here.client.delete(f"/v1/projects/{project}/{address}")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    await eventually(
        lambda: here.events(names.training("rules"), TrainingCancelled, project=project), lambda seen: len(seen) == 1
    )
    problem(await here.client.delete(f"/v1/projects/{project}/{address}"), "ended", 409)


async def test_a_wish_while_another_trains_waits_for_it_with_what_came_meanwhile_and_says_so(here: Here) -> None:
    project = await learning(here, 4)
    first = (await ask(here, project)).json()
    await annotated(here, project, 4, 6)
    second = (await ask(here, project)).json()
    assert second["training"] is None
    assert second["why"]["sentence"] == "Training 1 is under way; what comes meanwhile starts the next."
    await here.client.delete(f"/v1/projects/{project}/trainings/{MODEL}/{first['training']['number']}")
    await here.until(f"{project}/trainings", lambda seen: [one["examples"] for one in seen["trainings"]] == [6, 4])


async def test_a_wish_while_one_trains_that_has_all_there_is_is_answered_by_that_one(here: Here) -> None:
    project = await learning(here, 4)
    first = (await ask(here, project)).json()
    again = await ask(here, project)
    assert again.status_code == 202, again.text
    assert (again.json()["training"], again.json()["why"]["reason"]) == (first["training"], "already")
    assert again.headers["location"] == f"/v1/projects/{project}/trainings/{MODEL}/1"


async def test_ten_who_ask_at_once_get_one_training(here: Here) -> None:
    project = await learning(here, 4)
    answers = await asyncio.gather(*(ask(here, project) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.json()["training"]["training"] for answer in answers} == {f"{project}/{MODEL}/1"}
    await here.client.delete(f"/v1/projects/{project}/trainings/{MODEL}/1")
    await here.until(f"{project}/examples", lambda seen: (seen["models"][0]["why"] or {}).get("reason") == "given_up")
    listed = (await here.get(f"{project}/trainings"))["trainings"]
    assert [one["number"] for one in listed] == [1]


async def test_every_n_examples_start_one_without_anybody_asking(here: Here) -> None:
    project = await learning(here, 4, every_n=5)
    await annotated(here, project, 4, 6)
    seen = await here.until(f"{project}/trainings", lambda seen: seen["trainings"])
    assert seen["trainings"][0]["examples"] in (5, 6)


async def test_trainings_are_read_page_by_page(here: Here) -> None:
    project = await learning(here, 4)
    for number in (1, 2, 3):
        assert (await ask(here, project)).json()["training"]["number"] == number
        await here.client.delete(f"/v1/projects/{project}/trainings/{MODEL}/{number}")
    first = await here.get(f"{project}/trainings", limit=2, model=MODEL)
    rest = await here.get(f"{project}/trainings", limit=2, model=MODEL, cursor=first["next"])
    assert [one["number"] for page in (first, rest) for one in page["trainings"]] == [3, 2, 1]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "nobody"}, 404, "unknown_model"),
        ({"model": "parrot"}, 409, "no_trainer"),
        ({}, 422, "invalid"),
        ({"model": MODEL, "modle": 1}, 422, "invalid"),
        ({"model": "Not A Slug"}, 422, "invalid"),
        ([], 422, "invalid"),
    ],
)
async def test_what_cannot_be_asked_for_is_told_why(here: Here, body: Any, status: int, code: str) -> None:
    project = await here.project()
    problem(await here.post(f"{project}/trainings", body), code, status)


@pytest.mark.parametrize(
    "path", ["finder/1", "finder/1/log", "nobody/7", "finder/x", "finder/0", "finder/999999999/log"]
)
async def test_a_training_that_there_is_not_is_not_found(here: Here, path: str) -> None:
    project = await here.project()
    problem(await here.client.get(f"/v1/projects/{project}/trainings/{path}"), "unknown_training", 404)


async def test_what_is_left_out_is_counted_by_reason(here: Here) -> None:
    project = await learning(here, 4)
    skipped = {"task": "t0", "annotator": "ann", "id": "again", "skipped": True}
    assert (await here.upload(project, [task("one more", id="skips")])).status_code == 202
    await eventually(
        lambda: here.post(f"{project}/annotations", {**skipped, "task": "skips"}),
        lambda answer: answer.status_code == 202,
    )
    seen = await here.until(f"{project}/examples", lambda seen: seen["models"][0]["left_out"])
    assert seen["models"][0]["left_out"] == {"skipped": 1}
    assert (seen["models"][0]["examples"], seen["models"][0]["minimum"], seen["holdout"]) == (4, 3, 0.0)
