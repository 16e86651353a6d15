"""Who may say that an answer was reviewed: it goes before all others, whatever a project's policy."""

from typing import Any

import pytest

from tests.rig.in_process import Here, task

from .test_api_doors import problem
from .test_api_keys import made, using

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(("role", "may"), [("labeler", False), ("reviewer", True), ("service", True), ("admin", True)])
async def test_labelers_do_not_review_what_they_answer(here: Here, role: str, may: bool) -> None:
    project = await here.project()
    await here.upload(project, [task("Ada", id="t-1")])
    await here.predicted(project, "t-1")
    key = await made(here, role=role, name="grace", projects=[project])
    async with using(here, key["key"]) as client:

        async def post(*bodies: dict[str, Any]) -> Any:
            sent = [{"task": "t-1", "annotator": "grace", "regions": [], **one} for one in bodies]
            return await client.post(f"/v1/projects/{project}/annotations", json=sent)

        assert (await post({})).status_code == 202
        answer = await post({}, {"ground_truth": True})
        if may:
            assert answer.status_code == 202
        else:
            problem(answer, "forbidden_role", 403)
