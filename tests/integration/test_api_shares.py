"""What exceeds a project's share, as its sender sees it: taken like everything else, and in another lane."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prelabel_contract import names
from prelabel_contract.events import InboundTask, event
from prelabel_contract.names import Lane
from prelabel_ingestion.settings import Share, Source
from prelabel_runtime.loop import messages

from tests.rig.in_process import Here, prelabel_here, spec, task

pytestmark = pytest.mark.asyncio(loop_scope="module")
LINES = [task(f"Ada {number}, now", id=f"t{number}") for number in range(12)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Here]:
    """Prelabel with shares of ten tasks, which come back slowly."""
    inbound = {"crm": Source(projects=("crm-mails",))}
    share = Share(tasks=10, per_second=0.001)
    async with prelabel_here(tmp_path_factory.mktemp("shares"), inbound=inbound, share=share) as here:
        yield here


async def lanes(here: Here, project: str) -> list[str]:
    """The lane of each of a project's tasks, in order of their names."""
    shown = (await here.get(f"{project}/tasks", limit=200))["tasks"]
    traces = [await here.get(f"{project}/tasks/{one['task']}/trace") for one in shown]
    told = {trace["id"]: trace["hops"][0]["lane"] for trace in traces}
    return [told[name] for name in sorted(told, key=lambda name: int(name[1:]))]


async def completed(here: Here, project: str, run: str) -> None:
    ended = await here.until(f"{project}/runs/{run}", lambda seen: seen["state"] == "completed")
    assert set(ended["outcomes"]) == {"created"}


async def test_an_upload_beyond_the_share_goes_into_backfill_whole_and_is_completed(here: Here) -> None:
    project = await here.project()
    receipt = (await here.upload(project, LINES)).json()
    assert receipt["accepted"] == len(LINES)
    await completed(here, project, receipt["run"])
    assert await lanes(here, project) == ["backfill"] * len(LINES)


async def test_uploads_within_the_share_stay_in_bulk_until_it_is_used_up(here: Here) -> None:
    project = await here.project()
    for part in (LINES[:6], LINES[6:]):
        await completed(here, project, (await here.upload(project, part)).json()["run"])
    assert await lanes(here, project) == ["bulk"] * 6 + ["backfill"] * 6


async def test_an_array_and_single_tasks_count_alike_and_nobody_elses_do(here: Here) -> None:
    project, other = await here.project(), await here.project()
    await here.post(f"{other}/tasks", LINES)
    assert (await here.post(f"{project}/tasks", LINES[:9])).status_code == 202
    for one in LINES[9:]:
        assert (await here.post(f"{project}/tasks", one)).status_code == 202
    for one in LINES:
        await here.predicted(project, one["id"])
    assert await lanes(here, project) == ["bulk"] * 10 + ["backfill"] * 2


async def test_who_waits_is_never_turned_away_from_the_interactive_lane(here: Here) -> None:
    project = await here.project()
    await completed(here, project, (await here.upload(project, LINES)).json()["run"])
    for number in range(12):
        answer = await here.post(f"{project}/predictions", task("Ada", id=f"t{100 + number}"))
        assert answer.status_code == 200
        await here.predicted(project, f"t{100 + number}")  # who waits is answered before it is stored
    assert (await lanes(here, project))[len(LINES) :] == ["interactive"] * 12


async def test_what_an_inbound_source_writes_counts_too(here: Here) -> None:
    assert (await here.client.put("/v1/projects/crm-mails", json=spec())).status_code == 201
    said = [InboundTask(project="crm-mails", id=f"t{number}", data={"text": "Ada"}) for number in range(12)]
    inbox = names.inbound("crm")
    events = [event(one, id=str(one.id), source="/crm", time_ms=1, topic=inbox, key=str(one.id)) for one in said]
    await here.runtime.bus.publish(messages(events))
    for one in said:
        await here.predicted("crm-mails", str(one.id))
    assert await lanes(here, "crm-mails") == [Lane.BULK] * 10 + [Lane.BACKFILL] * 2
    assert b"prelabel_tasks_over_share_total" in here.runtime.metrics.expose()
