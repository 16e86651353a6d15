"""Predictions while you wait, and annotations."""

import asyncio
from typing import Any

import pytest
from prelabel_contract import names
from prelabel_contract.events import AnnotationSubmitted

from tests.rig.in_process import Here, spec, task

from .test_api_doors import problem
from .test_api_keys import made, using

pytestmark = pytest.mark.asyncio(loop_scope="session")


def region(**changes: Any) -> dict[str, Any]:
    """A span on "Ada"."""
    return {"kind": "span", "field": "text", "question": "names", "start": 0, "end": 3, "labels": ["PERSON"]} | changes


async def test_a_task_is_predicted_while_its_sender_waits_and_kept(here: Here) -> None:
    project = await here.project()
    answer = await here.post(f"{project}/predictions", task("Ada, now", id="i"))
    assert answer.status_code == 200
    told = answer.json()
    assert [p["model"] for p in told["predictions"]] == ["finder", "parrot"]
    assert told["predictions"][0]["regions"][0]["text"] == "Ada"
    kept = await here.predicted(project, "i")
    assert [p["request"] for p in kept] == [p["request"] for p in told["predictions"]]


async def test_a_labeler_may_ask_about_a_task_but_not_make_or_change_one_by_asking(here: Here) -> None:
    project = await here.project()
    await here.post(f"{project}/tasks", task("Ada", id="kept"))
    await here.predicted(project, "kept")
    made_key = await made(here, role="labeler", projects=[project])
    async with using(here, made_key["key"]) as labeler:
        path = f"/v1/projects/{project}/predictions"
        for changed in (task("Grace", id="kept"), task("Ada", id="new")):
            problem(await labeler.post(path, json=changed), "forbidden_role", 403)
        for harmless in (task("Ada", id="kept"), task("Grace")):
            assert (await labeler.post(path, json=harmless)).status_code == 200
    assert (await here.get(f"{project}/tasks/kept"))["data"] == {"text": "Ada"}


async def test_who_asks_again_for_an_unchanged_task_gets_the_same_outcomes(here: Here) -> None:
    project = await here.project()
    first, second = [(await here.post(f"{project}/predictions", task("Ada", id="i"))).json() for _ in range(2)]
    assert [p["request"] for p in first["predictions"]] == [p["request"] for p in second["predictions"]]
    once = {"tasks": 1, "models": {"finder": {"created": 1}, "parrot": {"created": 1}}}
    await here.until(f"{project}/counts", lambda counts: counts == once)


@pytest.mark.parametrize("prefer", ["wait=0", "respond-async, wait=0", 'wait="0"'])
async def test_who_does_not_wait_is_told_where_it_will_be(here: Here, prefer: str) -> None:
    project = await here.project()
    answer = await here.post(f"{project}/predictions", task("Ada", id="i"), Prefer=prefer)
    assert (answer.status_code, answer.json()["predictions"]) == (202, None)
    path = answer.headers["location"].removeprefix("/v1/projects/")
    seen = await here.until(
        path, lambda p: len(p["predictions"]) == 2 and all(o["outcome"] == "created" for o in p["predictions"])
    )
    assert seen["task"] == answer.json()["task"]


async def test_a_model_that_cannot_be_loaded_fails_alone_with_one_clear_line(here: Here) -> None:
    broken = {"name": "broken", "provider": "rules", "settings": {"rules": [{"label": "PERSON", "pattern": "("}]}}
    project = await here.project(models=[broken, spec()["models"][1]])
    answer = await here.post(f"{project}/predictions", task("Ada"))
    failed, created = answer.json()["predictions"]
    assert (failed["outcome"], failed["reason"], created["outcome"]) == ("failed", "settings", "created")
    assert failed["detail"]
    assert "\n" not in failed["detail"]


async def test_what_nobody_wants_any_more_expires_says_so_and_is_predicted_when_asked_for_again(here: Here) -> None:
    project = await here.project()
    late = (await here.post(f"{project}/predictions?expires=0", task("Ada", id="i"))).json()["predictions"]
    assert [(p["outcome"], p["reason"]) for p in late] == [("expired", "deadline")] * 2
    assert {p["outcome"] for p in await here.predicted(project, "i")} == {"expired"}
    again = (await here.post(f"{project}/predictions?expires=60", task("Ada", id="i"))).json()["predictions"]
    assert [(p["outcome"], p["request"]) for p in again] == [("created", p["request"]) for p in late]
    await here.until(f"{project}/counts", lambda c: c["models"].get("finder") == {"created": 1})


@pytest.mark.parametrize("wrong", ["-1", "86401", "soon"])
async def test_a_deadline_that_makes_no_sense_is_refused(here: Here, wrong: str) -> None:
    project = await here.project()
    problem(await here.post(f"{project}/predictions?expires={wrong}", task("Ada")), "invalid", 422)


async def test_many_who_wait_at_once_each_get_their_own(here: Here) -> None:
    project = await here.project()
    texts = [f"Ada number {n}" for n in range(40)]
    answers = await asyncio.gather(*(here.post(f"{project}/predictions", task(t, id=t)) for t in texts))
    assert [a.status_code for a in answers] == [200] * 40
    assert [a.json()["id"] for a in answers] == texts


@pytest.mark.parametrize("annotator", ["", "x" * 201])
async def test_who_withdraws_an_annotation_has_a_name_that_is_one(here: Here, annotator: str) -> None:
    project = await here.project(models=[])
    await here.post(f"{project}/tasks", task("x", id="t"))
    path = f"/v1/projects/{project}/tasks/t/annotations/a"
    errors = problem(await here.client.delete(path, params={"annotator": annotator}), "invalid", 422)["errors"]
    assert errors[0]["pointer"] == "/query/annotator"


async def test_an_annotation_is_kept_replaced_and_withdrawn_and_is_one_example(here: Here) -> None:
    project = await here.project()
    await here.post(f"{project}/tasks", task("Ada", id="t"))
    await here.predicted(project, "t")
    one = {"id": "a1", "task": "t", "annotator": "eve", "regions": [region()], "lead_time": 2.5}
    first = await here.post(f"{project}/annotations", one)
    assert first.status_code == 202
    await here.until(f"{project}/tasks/t", lambda t: len(t["annotations"]) == 1)
    again = await here.post(f"{project}/annotations", one | {"regions": []})
    assert again.json() == first.json()
    seen = await here.until(f"{project}/tasks/t", lambda t: t["annotations"][0]["regions"] == [])
    assert len(seen["annotations"]) == 1
    await here.post(f"{project}/annotations", {"task": "t", "annotator": "bob", "skipped": True})
    await here.until(f"{project}/tasks/t", lambda t: len(t["annotations"]) == 2)
    assert (await here.until(f"{project}/examples", lambda e: e["examples"] == 1))["project"] == project
    uid = first.json()["annotation"]
    assert (await here.client.delete(f"/v1/projects/{project}/tasks/t/annotations/{uid}")).status_code == 202
    await here.until(f"{project}/examples", lambda e: e["examples"] == 0)
    left = await here.until(f"{project}/tasks/t", lambda t: len(t["annotations"]) == 1)
    assert left["annotations"][0]["annotator"] == "bob"


async def test_examples_are_counted_once_through_redelivery(here: Here) -> None:
    from prelabel_runtime.bus.base import Message

    project = await here.project()
    await here.post(f"{project}/tasks", [task("Ada", id=f"t{n}") for n in range(5)])
    for n in range(5):
        await here.predicted(project, f"t{n}")
    body = [{"task": f"t{n}", "annotator": "eve", "regions": [region()]} for n in range(5)]
    await here.post(f"{project}/annotations", body)
    await here.until(f"{project}/examples", lambda e: e["examples"] == 5)
    sent = [r for r in await here.records(names.ANNOTATIONS) if r.key == project.encode()]
    await here.runtime.bus.publish([Message(r.topic, r.key, r.value, r.headers) for r in (*sent, *sent)])
    await here.post(f"{project}/tasks", task("Ada", id="last"))
    await here.predicted(project, "last")
    await here.post(f"{project}/annotations", {"task": "last", "annotator": "eve", "regions": []})
    assert (await here.until(f"{project}/examples", lambda e: e["examples"] >= 6))["examples"] == 6


@pytest.mark.parametrize(
    ("change", "pointer", "says"),
    [
        ({"regions": [region(labels=["ALIEN"])]}, "/regions/0/labels", "labels are PERSON, PLACE"),
        ({"regions": [region(question="age")]}, "/regions/0/question", "questions are names, topic"),
        ({"regions": [region(field="body")]}, "/regions/0/field", "'text'"),
        ({"regions": [region(question="topic")]}, "/regions/0/kind", "choice"),
        ({"regions": [region(end=-1)]}, "/regions/0/end", ""),
        ({"regions": [region(strat=0)]}, "/regions/0/strat", ""),
        ({"task": "nothing"}, "/task", "no task 'nothing'"),
        ({"annotator": ""}, "/annotator", ""),
        ({"lead_time": -1}, "/lead_time", ""),
        ({"grond_truth": True}, "/grond_truth", ""),
    ],
)
async def test_an_annotation_that_its_label_set_does_not_allow_is_told_where_and_why(
    here: Here, change: dict[str, Any], pointer: str, says: str
) -> None:
    project = await here.project()
    await here.post(f"{project}/tasks", task("Ada", id="t"))
    await here.predicted(project, "t")
    good = {"task": "t", "annotator": "eve", "regions": [region()]}
    alone = problem(await here.post(f"{project}/annotations", good | change), None, 422)["errors"]
    assert alone[0]["pointer"] == pointer, alone
    assert says.replace("'", "") in alone[0]["detail"].replace("'", "")
    among = problem(await here.post(f"{project}/annotations", [good, good | change]), None, 422)["errors"]
    assert among[0]["pointer"] == f"/1{pointer}"
    assert await here.events(names.ANNOTATIONS, AnnotationSubmitted, project=project) == []  # all are taken, or none
