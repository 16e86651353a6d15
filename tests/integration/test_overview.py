"""The overview over HTTP: true counts, the latest predictions, for each caller what its key reaches, as it happens."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prelabel_contract.events import ProviderAnnounced, RunCreated, event
from prelabel_runtime.loop import messages
from prelabel_runtime.run import Runtime

from tests.rig.in_process import PATIENCE, Here, eventually, prelabel_here, task

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def overview(here: Here, **headers: str) -> Any:
    return (await here.client.get("/v1/overview", headers=headers)).json()


def of_project(seen: Any, project: str) -> Any:
    return next(one for one in seen["projects"] if one["project"] == project)


async def labelled(here: Here, project: str, **texts: str) -> None:
    """Tasks by id, predicted."""
    await here.post(f"{project}/tasks", [task(text, id=name) for name, text in texts.items()])
    for name in texts:
        await here.predicted(project, name)


async def restricted(here: Here, *projects: str) -> dict[str, str]:
    """The header of a new key that reaches some projects only."""
    made = await here.client.post("/v1/keys", json={"name": "some", "role": "labeler", "projects": projects})
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['key']}"}


async def test_counts_and_the_latest_predictions_are_those_of_the_store(here: Here) -> None:
    project = await here.project()
    await labelled(here, project, a="Grace slept.", b="It was Ada, now!")
    both = {"finder": {"created": 2}, "parrot": {"created": 2}}

    def counted(seen: Any) -> bool:
        """What this process has written lately is noted after it was written."""
        return bool(of_project(seen, project)["models"] == both and sum(seen["outcomes_by_slot"]) >= 4)

    seen = await eventually(lambda: overview(here), counted)
    one = of_project(seen, project)
    assert (one["title"], one["tasks"]) == ("Mails", 2)
    cards = {card["id"]: card for card in seen["latest"] if card["project"] == project}
    [mark] = cards["b"]["marks"]
    assert cards["b"]["text"][mark["start"] : mark["end"]] == "Ada"
    assert [choice["label"] for choice in cards["b"]["choices"]] == ["urgent"]
    assert {provider["provider"] for provider in seen["providers"]} >= {"rules", "echo"}


async def test_a_provider_that_is_silent_is_gone_and_its_projects_are_told(here: Here) -> None:
    now = here.runtime.clock.now_ms()
    said = ProviderAnnounced(
        provider="silent", package="1", kinds=("choice",), settings_schema={}, seen_ms=now - 61_000, every_ms=20_000
    )
    await here.runtime.bus.publish(messages([event(said, id="said", source="/test", time_ms=now)]))
    await here.project(models=[{"name": "parrot", "provider": "silent"}])
    shown = {one["provider"]: one for one in (await here.client.get("/v1/providers")).json()["providers"]}
    assert (shown["silent"]["state"], shown["silent"]["seen_ms"]) == ("gone", now - 61_000)
    assert shown["rules"]["state"] == "running"
    assert shown["rules"]["seen_ms"] > now - 60_000
    seen = await eventually(lambda: overview(here), lambda o: "silent" in o["missing"])
    assert "silent" not in {one["provider"] for one in seen["providers"]}


async def test_a_deleted_task_is_not_shown_any_more(here: Here) -> None:
    project = await here.project()
    await labelled(here, project, gone="Ada was here.")
    await eventually(lambda: overview(here), lambda o: any(card["project"] == project for card in o["latest"]))
    await here.client.delete(f"/v1/projects/{project}/tasks/gone")
    await eventually(lambda: overview(here), lambda o: not any(card["project"] == project for card in o["latest"]))


async def test_a_key_sees_its_own_projects_and_nothing_of_others(here: Here) -> None:
    mine, other = await here.project(), await here.project(title="Other people's")
    await labelled(here, mine, m="Ada of mine.")
    await labelled(here, other, o="Grace of others.")
    headers = await restricted(here, mine)
    seen = await eventually(lambda: overview(here, **headers), lambda o: o["latest"])
    assert [one["project"] for one in seen["projects"]] == [mine]
    assert {card["project"] for card in seen["latest"]} == {mine}
    assert (seen["outcomes_by_slot"], seen["waiting_since_ms"]) == ([], None)
    page = (await here.client.get("/", headers=headers)).text
    assert "of mine" in page
    for secret in (other, "Other people", "of others"):
        assert secret not in page


async def test_nobody_gets_a_page_that_says_how_to_get_in_and_nothing_else(here: Here) -> None:
    project = await here.project()
    async with httpx.AsyncClient(base_url=here.client.base_url, timeout=60, trust_env=False) as nobody:
        for headers in ({}, {"Authorization": "Bearer pl_wrong_0123456789"}, {"Cookie": "prelabel_session=pl_a_b"}):
            answer = await nobody.get("/", headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (401, "text/html; charset=utf-8")
            assert "prelabel open" in answer.text
            assert project not in answer.text
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            for path in ("/v1/overview", "/v1/overview/events"):
                assert (await nobody.get(path, headers=headers)).status_code == 401


async def test_the_page_is_kept_by_nobody_and_shown_in_no_frame(here: Here) -> None:
    answer = await here.client.get("/")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def told(client: httpx.AsyncClient, path: str = "/v1/overview/events", **more: Any) -> AsyncGenerator[Any, None]:
    """What is told as events."""
    async with client.stream("GET", path, **more) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


async def test_what_happens_is_told_without_being_asked(here: Here) -> None:
    project = await here.project()
    headers = await restricted(here, project)
    events = told(here.client, headers=headers)
    async with asyncio.timeout(PATIENCE):
        first = await anext(events)
        assert of_project(first, project)["tasks"] == 0
        await here.post(f"{project}/tasks", task("Ada again.", id="t"))
        async for seen in events:
            if [card["id"] for card in seen["latest"]] == ["t"]:
                break
    await events.aclose()


async def test_a_stop_does_not_wait_for_pages_and_runs_that_are_followed(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as outside:
        async with prelabel_here(tmp_path, inbound={}) as here:
            project = await here.project(models=[])
            unfinished = [event(RunCreated(project=project, run="r"), id="1", source="/t", time_ms=1)]
            await here.runtime.bus.publish(messages(unfinished))
            base, headers = here.client.base_url, here.client.headers
            browser = httpx.AsyncClient(base_url=base, headers=headers, timeout=60, trust_env=False)
            await outside.enter_async_context(browser)  # here.client is closed before the stop
            followed = [told(browser), told(browser, f"/v1/projects/{project}/runs/r/events")]
            for events in followed:
                await anext(events)
            left_open = [asyncio.create_task(_rest(events)) for events in followed]
        # Ended as they should: the server breaks open answers off after ten seconds, if they will not end.
        await asyncio.gather(*left_open)


async def _rest(events: AsyncGenerator[Any, None]) -> list[Any]:
    return [one async for one in events]


async def test_after_a_restart_the_latest_predictions_are_still_there(tmp_path: Path) -> None:
    async with prelabel_here(tmp_path, inbound={}) as here:
        project = await here.project()
        await labelled(here, project, t="Ada stays.")
    async with prelabel_here(tmp_path, inbound={}) as here:
        runtime: Runtime = here.runtime
        assert runtime.settings.bus.startswith("sqlite")
        seen = await eventually(lambda: overview(here), lambda o: o["latest"])
        assert [card["id"] for card in seen["latest"]] == ["t"]
