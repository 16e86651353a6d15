"""The projection rebuilt from the log: equal to the live one, switched to while events flow, or refused."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from prelabel_contract import names
from prelabel_contract.events import RunCompleted
from prelabel_runtime.bus.base import Message
from prelabel_runtime.store.base import State

from tests.rig.in_process import Here, Json, eventually, prelabel_here, task
from tests.rig.servers import ServerHandle

from .test_api_dead_letters import buried, letter, look
from .test_api_doors import problem

AHEAD = 200
"""Tasks that are submitted before others have ended: a load, but no backlog that grows while a rebuild runs."""


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def kafka(request: pytest.FixtureRequest) -> str:
    """Where the bus is; empty for SQLite."""
    if request.param == "sqlite":
        return ""
    server: ServerHandle = request.getfixturevalue("kafka_server")
    return server.address


@contextlib.asynccontextmanager
async def filled(folder: Path, kafka: str) -> AsyncIterator[tuple[Here, str]]:
    """Prelabel with a project in which everything has happened."""
    async with prelabel_here(folder, inbound={}, kafka=kafka) as here:
        project = await here.project()
        run = (await here.upload(project, [task(f"Ada {n} now", id=f"t{n}") for n in range(60)])).json()["run"]
        await here.until(f"{project}/runs/{run}", lambda seen: seen["state"] == "completed")
        more = (await here.upload(project, [task("Grace", id="t1"), b"{not json"])).json()["run"]
        await here.post(f"{project}/tasks", task("gone", id="gone"))
        await here.predicted(project, "gone")
        await here.client.delete(f"/v1/projects/{project}/tasks/gone")
        await here.post(
            f"{project}/annotations",
            {"id": "a", "task": "t2", "annotator": "ann", "regions": []},
        )
        await here.until(f"{project}/tasks/t2", lambda seen: seen["annotations"])
        await eventually(
            lambda: here.client.get(f"/v1/projects/{project}/tasks/gone"), lambda seen: seen.status_code == 404
        )
        dead = await letter(here, buried(b"k", b"never json", ("ce_type", b"x"), reason="not_json", offset=10**6))
        await here.client.post(f"/v1/deadletters/{dead['id']}/replay")
        again = await eventually(lambda: look(here, dead["id"]), lambda seen: seen["again"] is not None)
        await here.client.post(f"/v1/deadletters/{again['again']}/discard", json={"reason": "a test"})
        await here.until(f"{project}/runs/{more}", lambda seen: seen["state"] == "completed")
        yield here, project


async def rebuilt(here: Here, **body: Any) -> Json:
    """A rebuild, at its end."""
    begun = await here.client.post("/v1/rebuilds", json=body)
    assert begun.status_code == 202, begun.text
    return await ended(here, begun.headers["Location"])


async def ended(here: Here, location: str) -> Json:
    async with asyncio.timeout(240):
        while True:
            now: Json = (await here.client.get(location)).json()
            if now["state"] != "running":
                return now
            await asyncio.sleep(0.05)


async def everything(here: Here, project: str) -> list[Any]:
    """The export, and what is counted, in an order of its own."""
    export = await here.client.get(f"/v1/projects/{project}/export")
    lines = sorted(export.text.splitlines())
    runs = await here.get(f"{project}/runs")
    letters = (await here.client.get("/v1/deadletters")).json()
    return [lines, await here.get(f"{project}/counts"), runs, letters]


async def test_a_rebuilt_projection_equals_the_live_one_and_takes_its_place(tmp_path: Path, kafka: str) -> None:
    async with filled(tmp_path, kafka) as (here, project):
        before = await everything(here, project)
        completed = len(await here.events(names.RUNS, RunCompleted))
        found = await rebuilt(here)
        assert found["state"] == "completed", found
        assert found["equal"] is True, json.dumps(found["differences"])
        assert found["differences"]["tasks"]["live"] == found["differences"]["tasks"]["rebuilt"]
        assert found["differences"]["tasks"]["rebuilt"]["rows"] == 60
        assert found["differences"]["dead_letters"]["rebuilt"]["rows"] >= 2  # set aside at least once each
        assert found["done"] >= 60
        assert here.runtime.store.projected.generation == found["generation"]
        assert await everything(here, project) == before
        assert (await here.client.get(f"/v1/projects/{project}/tasks/gone")).status_code == 404
        # It lives on: what comes is written to the new one, and nothing was announced twice.
        await here.post(f"{project}/tasks", task("Ada", id="later"))
        await here.predicted(project, "later")
        assert (await here.get(f"{project}/counts"))["tasks"] == 61
        assert len(await here.events(names.RUNS, RunCompleted)) == completed
        # And again, from there.
        assert (await rebuilt(here))["equal"] is True


async def test_a_rebuild_under_load_loses_nothing(tmp_path: Path, kafka: str) -> None:
    async with filled(tmp_path, kafka) as (here, project):
        sent: list[str] = []
        stop = asyncio.Event()

        async def feed() -> None:
            while not stop.is_set():
                some = [f"load-{len(sent) + n}" for n in range(20)]
                answer = await here.upload(project, [task("Ada now", id=name) for name in some])
                assert answer.status_code == 202, answer.text
                sent.extend(some)
                await here.until(f"{project}/counts", lambda now: _created(now) >= len(sent) - AHEAD)

        feeding = asyncio.create_task(feed())
        await eventually(lambda: asyncio.sleep(0, len(sent)), lambda count: count >= 100)
        found = await rebuilt(here)
        at_switch = len(sent)
        await eventually(lambda: asyncio.sleep(0, len(sent)), lambda count: count >= at_switch + 60)
        stop.set()
        await feeding
        assert found["state"] == "completed", found
        assert found["equal"] is True, json.dumps(found["differences"])

        uids = [names.task_uid(project, name) for name in sent]

        async def waiting() -> int:
            """Tasks that are not there, or not predicted by both models."""
            outcomes = await here.runtime.store.outcomes.of_tasks(uids)
            there = await here.runtime.store.tasks.get_many(uids)
            created = {uid: [one.state for one in outcomes.get(uid, ())] for uid in uids}
            return sum(1 for uid in uids if uid not in there or created[uid] != [State.CREATED] * 2)

        await eventually(waiting, lambda left: left == 0)
        last = await rebuilt(here, mode="compare")
        assert last["equal"] is True, json.dumps(last["differences"])


def _created(counts: Json) -> int:
    """Tasks that every model has predicted."""
    return min(int(states.get("created", 0)) for states in counts["models"].values())


async def test_a_damaged_projection_is_compared_and_mended(tmp_path: Path) -> None:
    async with filled(tmp_path, "") as (here, project):
        before = await everything(here, project)
        lost, other = (names.task_uid(project, name) for name in ("t5", "t6"))
        await here.runtime.store.tasks.delete([lost])
        await here.runtime.store.outcomes.supersede({(await of(here, other)): "nobody"})
        found = await rebuilt(here, mode="compare")
        assert found["equal"] is False
        assert found["differences"]["tasks"]["only_rebuilt"] == 1
        assert found["differences"]["tasks"]["first"] == [lost]
        assert found["differences"]["tasks"]["live"]["hash"] != found["differences"]["tasks"]["rebuilt"]["hash"]
        assert found["differences"]["lines"]["equal"] is True
        assert here.runtime.store.projected.generation == 0, "comparing changes nothing"
        assert (await rebuilt(here))["state"] == "completed"
        assert await everything(here, project) == before


async def of(here: Here, uid: str) -> str:
    return (await here.runtime.store.outcomes.of_tasks([uid]))[uid][0].request


async def test_a_log_that_was_cut_is_refused_with_the_first_missing_offset(tmp_path: Path) -> None:
    async with filled(tmp_path, ""):
        pass
    _cut(tmp_path / "log.db", names.PREDICTIONS, "base = 0")
    async with prelabel_here(tmp_path, inbound={}) as here:
        refused = problem(await here.client.post("/v1/rebuilds", json={}), "log_incomplete", 409)
        assert f"{names.PREDICTIONS}, partition 0: offset 0 is missing" in refused["detail"]


async def test_a_hole_in_the_log_fails_the_rebuild_and_leaves_the_live_one(tmp_path: Path) -> None:
    async with filled(tmp_path, "") as (here, project):
        for n in range(3):
            await here.post(f"{project}/tasks", task("Ada", id=f"more{n}"))
            await here.predicted(project, f"more{n}")
        before = await everything(here, project)
    missing = _cut(
        tmp_path / "log.db", names.TASKS, "base = (SELECT max(base) FROM {0} WHERE base < (SELECT max(base) FROM {0}))"
    )
    async with prelabel_here(tmp_path, inbound={}) as here:
        found = await rebuilt(here)
        assert (found["state"], found["error"]["type"]) == ("failed", "urn:prelabel:problem:log_incomplete")
        assert f"{names.TASKS}, partition 0: offset {missing} is missing" in found["error"]["detail"]
        assert here.runtime.store.projected.generation == 0
        assert await everything(here, project) == before
        assert not list(_generations(tmp_path)), "what was made for it is gone"


def _generations(folder: Path) -> list[Path]:
    return list(folder.glob("results.db.g*"))


def _cut(path: Path, topic: str, which: str) -> int:
    """Delete a row of the log; returns its first offset."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        number = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()[0]
        where = which.format(f"log_{number}")
        (base,) = connection.execute(f"SELECT base FROM log_{number} WHERE {where}").fetchone()  # noqa: S608
        connection.execute(f"DELETE FROM log_{number} WHERE base = ?", (base,))  # noqa: S608
        connection.commit()
        return int(base)


async def test_a_record_that_was_given_up_stays_given_up(tmp_path: Path) -> None:
    async with filled(tmp_path, "") as (here, project):
        before = (await here.client.get("/v1/deadletters")).json()["deadletters"][0]["id"]
        await here.runtime.bus.publish([Message(names.TASKS, b"k", b"no event", (("ce_type", b"x"),))])

        async def newest() -> str:
            found: str = (await here.client.get("/v1/deadletters", params={"limit": 1})).json()["deadletters"][0]["id"]
            return found

        await eventually(newest, lambda one: one != before)
        found = await rebuilt(here)
        assert found["equal"] is True, json.dumps(found["differences"])
        assert project


async def test_only_one_rebuild_runs_at_a_time(tmp_path: Path) -> None:
    async with filled(tmp_path, "") as (here, _):
        first = await here.client.post("/v1/rebuilds", json={})
        second = await here.client.post("/v1/rebuilds", json={})
        problem(second, "rebuild_running", 409)
        assert (await ended(here, first.headers["Location"]))["state"] == "completed"
        problem(await here.client.get("/v1/rebuilds/none"), "unknown_rebuild", 404)
        problem(await here.client.post("/v1/rebuilds", json={"mode": "destroy"}), "invalid", 422)


@pytest.mark.kafka
async def test_a_kafka_log_that_was_trimmed_is_refused(tmp_path: Path, kafka_server: ServerHandle) -> None:
    async with filled(tmp_path, kafka_server.address) as (here, project):
        ends = await here.runtime.bus.offsets([names.TASKS], "end")
        place = next(place for place, end in ends.items() if end > 1)
        await _delete_before(kafka_server.address, here.runtime.settings.prefix + place.topic, place.number, 1)
        refused = problem(await here.client.post("/v1/rebuilds", json={}), "log_incomplete", 409)
        where = f"{names.TASKS}, partition {place.number}: offset 0 is missing, the next that the log holds is 1"
        assert where in refused["detail"]
        assert (await here.get(f"{project}/counts"))["tasks"] == 60


async def _delete_before(address: str, topic: str, partition: int, offset: int) -> None:
    """As retention does, or an operator with kafka-delete-records."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()
