"""Asked again after a promotion: the newer prediction stands, the older one says what replaced it."""

from typing import Any

import pytest
from prelabel_contract import names
from prelabel_contract.events import PredictionRequested, PredictionSuperseded, event
from prelabel_contract.names import Lane
from prelabel_runtime.loop import messages

from tests.rig.in_process import Here, eventually, task

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def asked_again(here: Here, project: str, generation: str) -> str:
    """The same question to the model `finder`, as after a promotion; returns the request's id."""
    asked = await here.events(names.requests("rules", Lane.BULK), PredictionRequested, project=project)
    again = names.request_id(asked[0].task, asked[0].input_hash, "finder", asked[0].config, generation)
    data = asked[0].model_copy(update={"request": again, "generation": generation})
    await here.runtime.bus.publish(messages([event(data, id=again, source="/tests", time_ms=1)]))
    return again


async def predictions(here: Here, project: str) -> dict[str, Any]:
    """Those of the model `finder`, by request."""
    found = (await here.get(f"{project}/tasks/t/predictions"))["predictions"]
    return {one["request"]: one for one in found if one["model"] == "finder"}


async def test_a_prediction_that_was_asked_again_replaces_the_one_that_stood(here: Here) -> None:
    project = await here.project(learning={"holdout": 0})
    await here.post(f"{project}/tasks", task("Ada waits now", id="t"))
    [first] = [one["request"] for one in await here.predicted(project, "t") if one["model"] == "finder"]
    again = await asked_again(here, project, "finder/1")
    last = await asked_again(here, project, "finder/2")

    async def look() -> dict[str, Any]:
        return await predictions(here, project)

    found = await eventually(
        look, lambda found: len(found) == 3 and all(found[one]["superseded_by"] for one in (first, again))
    )
    assert found[first]["superseded_by"] in (again, last)
    assert [found[one]["superseded_by"] for one in (again, last)] == [last, None]
    assert [found[one]["generation"] for one in (again, last)] == ["finder/1", "finder/2"]
    assert "generation" not in found[first]
    told = await here.events(names.PREDICTIONS, PredictionSuperseded, project=project)
    assert {one.request for one in told} == {first, again}
    [held] = (await here.post(f"{project}/leases", {})).json()["leases"]
    assert [one["request"] for one in held["suggestions"] if one["model"] == "finder"] == [last]
