"""Traces: where a task has been, and what it waits for."""

from functools import partial
from itertools import pairwise

import pytest
from prelabel_runtime.store.base import State, StoredOutcome

from tests.rig.in_process import Here, Json, task

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_trace_tells_each_hop_in_the_order_of_time(here: Here) -> None:
    project = await here.project()
    run = (await here.upload(project, [task("Ada, now", id="mail-1")])).json()["run"]
    await here.predicted(project, "mail-1")
    trace = await here.get(f"{project}/tasks/mail-1/trace")
    hops = trace["hops"]
    assert [hop["hop"] for hop in hops] == ["submitted", "accepted", "created", "created"]
    assert hops[0] | {"door": "http", "run": run} == hops[0]
    assert {hop["model"] for hop in hops[2:]} == {"finder", "parrot"}
    times = [hop["at_ms"] for hop in hops]
    assert times == sorted(times)
    assert [hop["after_ms"] for hop in hops[1:]] == [b - a for a, b in pairwise(times)]
    assert trace["waiting"] == []


def _says(text: str, shown: Json) -> bool:
    return bool(shown["data"]["text"] == text)


async def test_a_trace_is_that_of_the_newest_revision(here: Here) -> None:
    project = await here.project()
    for text in ("Ada", "Grace"):
        await here.post(f"{project}/tasks", task(text, id="mail-2"))
        await here.until(f"{project}/tasks/mail-2", partial(_says, text))
        await here.predicted(project, "mail-2")
    shown = await here.get(f"{project}/tasks/mail-2")
    trace = await here.get(f"{project}/tasks/mail-2/trace")
    assert trace["revision"] == shown["revision"]
    assert [hop["hop"] for hop in trace["hops"]] == ["submitted", "accepted", "created", "created"]


async def test_a_trace_says_what_a_task_waits_for(here: Here) -> None:
    project = await here.project()
    await here.upload(project, [task("Ada", id="mail-3")])
    await here.predicted(project, "mail-3")
    shown = await here.get(f"{project}/tasks/mail-3")
    asked = StoredOutcome(
        request="a-request",
        project=project,
        task=shown["task"],
        revision=shown["revision"],
        model="slow",
        provider="rules",
        task_ms=shown["accepted_ms"],
        state=State.PENDING,
    )
    await here.runtime.store.outcomes.put([asked])
    # What other tests asked may still be under way.
    trace = await here.until(
        f"{project}/tasks/mail-3/trace", lambda seen: all(one["behind"] == 0 for one in seen["waiting"])
    )
    (waiting,) = trace["waiting"]
    assert waiting | {"model": "slow", "lane": "bulk", "group": "inference-rules-bulk", "behind": 0} == waiting
    assert waiting["since_ms"] == shown["accepted_ms"]


async def test_what_is_not_there_has_no_trace(here: Here) -> None:
    project = await here.project()
    answer = await here.client.get(f"/v1/projects/{project}/tasks/nothing/trace")
    assert answer.status_code == 404
