"""Projects over HTTP: created, changed, and refused with the field that is wrong and what would be right."""

from typing import Any

import pytest
from prelabel_contract.events import ProviderAnnounced, event
from prelabel_runtime.loop import messages

from tests.rig.in_process import Here, spec

from .test_api_doors import problem

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_project_is_created_read_and_changed_under_versions(here: Here) -> None:
    made = await here.client.put("/v1/projects/versions", json=spec())
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    read = await here.client.get("/v1/projects/versions")
    assert read.json() == made.json()
    assert read.json()["id"] == "versions"
    same = await here.client.put("/v1/projects/versions", json=spec())
    assert (same.status_code, same.headers["etag"]) == (200, '"1"')
    changed = await here.client.put("/v1/projects/versions", json=spec(title="Letters"), headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert changed.json()["config"] != made.json()["config"]
    listed = (await here.client.get("/v1/projects")).json()["projects"]
    assert changed.json() in listed


async def test_what_was_read_can_be_changed_and_put_back(here: Here) -> None:
    await here.client.put("/v1/projects/round-trip", json=spec())
    read = await here.client.get("/v1/projects/round-trip")
    body = read.json() | {"title": "Put back"}
    answer = await here.client.put("/v1/projects/round-trip", json=body, headers={"If-Match": read.headers["etag"]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["title"] == "Put back"


@pytest.mark.parametrize("sent", ['"7"', "7", '""', "nonsense"])
async def test_a_change_of_something_else_than_was_read_is_refused(here: Here, sent: str) -> None:
    await here.client.put("/v1/projects/etags", json=spec())
    answer = await here.client.put("/v1/projects/etags", json=spec(title="x"), headers={"If-Match": sent})
    problem(answer, "changed_meanwhile", 412)
    missing = await here.client.put("/v1/projects/never-made", json=spec(), headers={"If-Match": '"1"'})
    problem(missing, "changed_meanwhile", 412)


def _model(**changes: Any) -> dict[str, Any]:
    return spec(
        models=[{"name": "m", "provider": "rules", "settings": {"rules": [{"label": "x", "words": ["y"]}]}} | changes]
    )


def _question(**changes: Any) -> dict[str, Any]:
    question = {"name": "names", "kind": "span", "field": "text", "labels": ["PERSON"]} | changes
    return spec(label_set={"questions": [question]}, models=[])


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        (_model(provider="no-such"), "/models/0/provider", "known: echo, rules"),
        (_model(settings={"rules": []}), "/models/0/settings/rules", ""),
        (_model(settings={}), "/models/0/settings", "rules"),
        (
            _model(settings={"rules": [{"label": "x", "words": ["y"], "colour": 1}]}),
            "/models/0/settings/rules/0",
            "colour",
        ),
        (_model(settings={"rules": [{"label": 1, "words": ["y"]}]}), "/models/0/settings/rules/0/label", ""),
        (_model(name="Not A Slug"), "/models/0/name", ""),
        (_model(nmae="m"), "/models/0/nmae", ""),
        (_model(threshold=2), "/models/0/threshold", "1"),
        (_model(questions=["nothing"]), "", "questions are names, topic"),
        (_model(labels={"x": "ALIEN"}), "", "labels are PERSON, PLACE"),
        (spec(tilte="x"), "/tilte", ""),
        (spec(id="other"), "/id", "must be 'wrong'"),
        (spec(models=[{"name": "m", "provider": "echo"}] * 2), "", "two models"),
        (_question(kind="spam"), "/label_set/questions/0/kind", "kinds are"),
        (_question(kidn="span"), "/label_set/questions/0/kidn", ""),
        (_question(multiple=False), "", ""),
        (_question(name=""), "/label_set/questions/0/name", ""),
        (spec(label_set={"questions": []}, models=[]), "/label_set/questions", "at least one"),
        ({}, "/label_set", ""),
    ],
)
async def test_a_project_that_makes_no_sense_is_told_where_and_why(
    here: Here, body: dict[str, Any], pointer: str, says: str
) -> None:
    answer = await here.client.put("/v1/projects/wrong", json=body)
    errors = problem(answer, "invalid", 422)["errors"]
    found = [e for e in errors if e["pointer"] == pointer or (not pointer and says in e["detail"])]
    assert found, errors
    assert any(says in e["detail"] for e in found), errors
    assert (await here.client.get("/v1/projects/wrong")).status_code == 404


async def test_a_model_that_cannot_answer_its_question_is_refused(here: Here) -> None:
    question = {"name": "box", "kind": "rectangle", "field": "image", "labels": ["x"]}
    for model, pointer in (({"questions": ["box"]}, "/models/0/questions"), ({}, "/models/0/provider")):
        body = _model(**model) | {"label_set": {"questions": [question]}}
        errors = problem(await here.client.put("/v1/projects/boxes", json=body), "invalid", 422)["errors"]
        assert errors[0]["pointer"] == pointer
        assert "span" in errors[0]["detail"]


@pytest.mark.parametrize("name", ["UPPER", "a_b", "-a", "a" * 41, "%20"])
async def test_a_name_that_is_none_is_refused(here: Here, name: str) -> None:
    answer = await here.client.put(f"/v1/projects/{name}", json=spec())
    assert problem(answer, "invalid", 422)["errors"][0]["pointer"] == "/id"


async def test_training_of_a_provider_without_a_trainer_is_refused_where_that_is_known(here: Here) -> None:
    parrot = {"name": "parrot", "provider": "echo"}
    body = spec(models=[{**parrot, "training": {}}])
    errors = problem(await here.client.put("/v1/projects/never-learns", json=body), "invalid", 422)["errors"]
    assert [one["pointer"] for one in errors] == ["/models/0/training"]
    assert "echo has no trainer" in errors[0]["detail"]
    problem(await here.client.get("/v1/projects/never-learns"), "unknown_project", 404)
    await here.project(models=[parrot])


async def test_training_of_a_provider_that_does_not_say_is_taken_and_told_when_nobody_trains(here: Here) -> None:
    now = here.runtime.clock.now_ms()
    said = ProviderAnnounced(provider="older", package="1", kinds=("choice",), settings_schema={})
    await here.runtime.bus.publish(messages([event(said, id="older", source="/test", time_ms=now)]))
    project = await here.project(models=[{"name": "m", "provider": "older", "training": {}}])
    (model,) = (await here.get(f"{project}/examples"))["models"]
    assert (model["why"]["reason"], "older" in model["why"]["sentence"]) == ("no_trainer", True)
    problem(await here.post(f"{project}/trainings", {"model": "m"}), "no_trainer", 409)
