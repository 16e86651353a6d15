"""The bus does not answer: callers are told to come back, and what they were not promised is not there."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from prelabel_runtime.errors import Unavailable

from tests.rig.in_process import Here, prelabel_here, task

from .test_api_doors import problem

pytestmark = pytest.mark.asyncio(loop_scope="function")


class Outage:
    """Ends when told."""

    def __init__(self) -> None:
        self.on = False

    def __call__(self, step: str) -> None:
        if self.on and step in ("publish", "commit"):
            raise Unavailable("the bus")


@pytest_asyncio.fixture
async def outage() -> Outage:
    return Outage()


@pytest_asyncio.fixture
async def away(tmp_path: Path, outage: Outage) -> AsyncIterator[Here]:
    async with prelabel_here(tmp_path, inbound={}, before=outage) as here:
        yield here


async def test_what_cannot_be_made_durable_is_answered_with_503_and_when_to_come_back(
    away: Here, outage: Outage
) -> None:
    project = await away.project()
    outage.on = True
    lines = [task(f"Ada {n}") for n in range(5)]
    for answer in (
        await away.post(f"{project}/tasks", task("Ada")),
        await away.post(f"{project}/tasks", lines),
        await away.upload(project, lines, **{"Idempotency-Key": "again"}),
        await away.post(f"{project}/predictions", task("Ada")),
        await away.client.put(f"/v1/projects/{project}", json={"label_set": (await away.get(project))["label_set"]}),
    ):
        problem(answer, "unavailable", 503)
        assert int(answer.headers["retry-after"]) >= 1
    outage.on = False
    receipt = (await away.upload(project, lines, **{"Idempotency-Key": "again"})).json()
    await away.until(f"{project}/runs/{receipt['run']}", lambda r: r["state"] == "completed")
    assert await away.get(f"{project}/counts") == {
        "tasks": 5,
        "models": {"finder": {"created": 5}, "parrot": {"created": 5}},
    }
