"""Quality over HTTP: of everything that people have said of a project, as it is stored now."""

import pytest

from tests.rig.in_process import Here, task

from .test_suggestions import as_people_write

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_project_that_only_accepts_what_its_model_says_is_warned(here: Here) -> None:
    project = await here.project(learning={"holdout": 0.0})
    for n in range(3):
        await here.post(f"{project}/tasks", task("Ada waits now", id=f"t{n}"))
    for n in range(3):
        shown = next(p for p in await here.predicted(project, f"t{n}") if p["model"] == "finder")
        body = {"task": f"t{n}", "annotator": "eve", "parent_prediction": shown["request"]}
        await here.post(f"{project}/annotations", {**body, "regions": as_people_write(shown["regions"])})
    # Answers and what became of suggestions are stored by two handlers: either may be the first.
    seen = await here.until(f"{project}/quality", lambda q: q["suggestions"]["accepted"] == 3 and q["examples"] == 3)
    assert (seen["accepted_share"], seen["blind"]["share"]) == (1.0, 0.0)
    assert next(one["code"] for one in seen["warnings"] if "label" not in one["code"]) == "feedback_loop"
    labels = {one["label"]: one["examples"] for question in seen["questions"] for one in question["labels"]}
    assert labels == {"PERSON": 3, "PLACE": 0, "urgent": 3, "later": 0}


async def test_the_quality_of_an_unknown_project_is_unknown(here: Here) -> None:
    assert (await here.client.get("/v1/projects/none-such/quality")).status_code == 404
