"""A replay and a rebuild outlive the process that does them, and each dead letter is given back to one effect."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prelabel_contract import cloudevents
from prelabel_contract.events import RunCreated, event
from prelabel_runtime.bus.base import Record
from prelabel_runtime.dead_letters import Aside, for_burial

from tests.failure.load import PROJECT, project, tasks
from tests.failure.log import LogRecord, read_log
from tests.failure.raw import Raw, write_raw
from tests.rig.client import Client
from tests.rig.processes import ALL_IN_ONE, NotRunning, Prelabel, PrelabelProcess
from tests.rig.servers import ServerHandle

LETTERS = 300
RATE = 30
"""Letters per second: a replay is under way for so long that one look cannot miss it."""
TRIES = 8
"""Rebuilds that may be through before anybody has seen them at work."""
GROUP = "projection"
HASTE = {
    "PRELABEL_PROJECTION_REPLAY_LEASE_SECONDS": "2",
    "PRELABEL_PROJECTION_LOOK_SECONDS": "0.5",
    "PRELABEL_SESSION_SECONDS": "6",
}
"""Who was killed counts as gone soon: a rebuild waits for that, to drop what it replaces when nobody uses it."""
ON_SERVERS = [pytest.mark.kafka, pytest.mark.mongo]


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=ON_SERVERS)])
def prelabel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Prelabel]:
    """All in one on SQLite, or every service apart on servers."""
    environment = {**HASTE, "PRELABEL_LEDGER": str(tmp_path / "calls")}
    if request.param == "sqlite":
        made = Prelabel.all_in_one(tmp_path, environment=environment)
    else:
        kafka: ServerHandle = request.getfixturevalue("kafka_server")
        mongo: ServerHandle = request.getfixturevalue("mongo_server")
        made = Prelabel.separate(tmp_path, kafka=kafka.address, mongo=mongo.address, environment=environment)
    with made:
        yield made


def projection_of(prelabel: Prelabel) -> str:
    """The process that replays and rebuilds."""
    return ALL_IN_ONE if ALL_IN_ONE in prelabel.names else "projection"


@contextlib.asynccontextmanager
async def calling(prelabel: Prelabel) -> AsyncIterator[httpx.AsyncClient]:
    """The projection's own API: a gateway would answer 502 while it is away."""
    address = prelabel.process(projection_of(prelabel)).address
    headers = {"Authorization": f"Bearer {prelabel.key}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
        yield client


async def until(
    look: Callable[[], Awaitable[Any]], ready: Callable[[Any], bool], what: str, timeout: float = 180
) -> Any:
    """What is seen once it is as wanted; a process that is away shows nothing."""
    deadline = time.monotonic() + timeout
    seen: Any = None
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if ready(seen := await look()):
                return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s; the last was {seen!r}")
        await asyncio.sleep(0.02)


def letters() -> Sequence[Raw]:
    """Dead letters of the projection that it can handle by now: runs that were created."""
    now = time.time_ns() // 1_000_000
    made: list[Raw] = []
    for number in range(LETTERS):
        said = event(RunCreated(project=PROJECT, run=f"run-{number}"), id=f"r{number}", source="/t", time_ms=now)
        headers, value = cloudevents.encode(said)
        aside = Aside("kills_its_process", "", "prelabel.runs", 0, 10**6 + number, now, 0, now)
        buried = for_burial(Record("prelabel.runs", 0, 10**6 + number, None, value, headers, now), GROUP, aside)
        made.append((buried.headers, buried.value or b""))
    return made


async def test_every_letter_of_a_replay_that_was_killed_has_one_success(prelabel: Prelabel, tmp_path: Path) -> None:
    victim = projection_of(prelabel)
    async with Client(prelabel.address, prelabel.key, tmp_path / "client.ndjson") as client:
        await client.put_project(PROJECT, project())
    await write_raw(prelabel, f"prelabel.deadletters.{GROUP}", letters())
    async with calling(prelabel) as http:
        listed = partial(_got, http, "/v1/deadletters?limit=1000")
        await until(listed, lambda found: len(found["deadletters"]) == LETTERS, "all letters in the index")
        begun = await http.post("/v1/replays", json={"filter": {"group": GROUP}, "rate": RATE})
        assert begun.status_code == 202, begun.text
        location = begun.headers["Location"]
        for moment in (40, 80):
            look = partial(_got_of, prelabel.process(victim), http, location)
            before = await until(look, partial(_has_done, moment), f"{moment} letters")
            assert before["state"] == "running", "killed too late: this proves nothing"
            await asyncio.to_thread(prelabel.kill, victim)
            prelabel.process(victim).start()  # it goes on giving back before it is ready
        await asyncio.to_thread(prelabel.process(victim).ready)
    async with calling(prelabel) as http:
        over = partial(_got, http, location)
        end = await until(over, lambda now: now["state"] == "completed" and not now["waiting"], "the end of the replay")
        assert (end["total"], end["replayed"], end["succeeded"]) == (LETTERS, LETTERS, LETTERS), end
        assert (end["failed"], end["skipped"], end["dead_lettered_again"]) == (0, 0, 0), end
        runs = (await _got(http, f"/v1/projects/{PROJECT}/runs?limit=1000"))["runs"]
        assert len({one["run"] for one in runs}) == LETTERS
    log = await asyncio.to_thread(read_log, prelabel.bus, prelabel.prefix)
    _each_once(log)


async def _got(http: httpx.AsyncClient, path: str) -> Any:
    """An answer. Raises httpx.HTTPError where there is none, or none that tells anything."""
    answer = await http.get(path)
    answer.raise_for_status()
    return answer.json()


async def _got_of(process: PrelabelProcess, http: httpx.AsyncClient, path: str) -> Any:
    """The same of a process that is not ready yet. Raises NotRunning where it never will be."""
    if not process.alive:
        raise NotRunning(f"{process.name} ended with {process.exit_code}; {process.last_words()}")
    return await _got(http, path)


def _has_done(least: int, now: Any) -> bool:
    return bool(now["done"] >= least)


def _each_once(log: Sequence[LogRecord]) -> None:
    """What is in the log: one decision and one end per letter, by id; a kill repeats one publish at most."""
    decided = [record for record in log if record.type == "prelabel.dead_letter.replayed.v1"]
    assert len({record.id for record in decided}) == len({record.data["letter"] for record in decided}) == LETTERS
    ends = [record for record in log if record.type == "prelabel.dead_letter.resolved.v1"]
    assert len({record.id for record in ends}) == LETTERS
    given_back = [record for record in log if record.topic == f"prelabel.retry.{GROUP}"]
    assert LETTERS <= len(given_back) <= LETTERS + 2 * (RATE // 4)


async def test_a_rebuild_that_is_killed_is_finished_by_another_process(prelabel: Prelabel, tmp_path: Path) -> None:
    victim = projection_of(prelabel)
    twin = prelabel.process(victim).twin("projection-2") if victim == "projection" else None
    sent = 0
    async with Client(prelabel.address, prelabel.key, tmp_path / "client.ndjson") as client:
        await client.put_project(PROJECT, project(seconds_per_task=0.0))
        for first in range(0, 1000, 200):
            await client.submit_until_acknowledged(PROJECT, tasks(first, 200))
        await client.until_ended(PROJECT, 1000, 1)
        if twin is not None:
            await asyncio.to_thread(twin.start)
            await asyncio.to_thread(twin.ready)
        try:
            async with calling(prelabel) as http:
                location = await _rebuild_at_work(http)
                await asyncio.to_thread(prelabel.kill, victim)
                if twin is None:
                    await asyncio.to_thread(prelabel.restart, victim)
                sent = await _feed(client, 1000)
            if twin is not None:
                await asyncio.to_thread(prelabel.restart, victim)
            async with calling(prelabel) as http:
                over = partial(_got, http, location)
                end = await until(over, lambda now: now["state"] != "running", "the end of the rebuild", 240)
                assert (end["state"], end["error"]) == ("completed", None), end
                assert end["equal"], end["differences"]
            await client.until_ended(PROJECT, 1000 + sent, 1)
            if victim == "projection":
                await asyncio.to_thread(_compares_equal, prelabel)
        finally:
            if twin is not None:
                twin.signal(signal.SIGKILL)


async def _rebuild_at_work(http: httpx.AsyncClient) -> str:
    """Where a rebuild that is under way is looked at: another one if the last was through before anybody looked."""
    for _ in range(TRIES):
        begun = await http.post("/v1/rebuilds", json={})
        assert begun.status_code == 202, begun.text
        location = str(begun.headers["Location"])
        before = await until(partial(_got, http, location), lambda now: now["done"] > 0, "the rebuild at work")
        assert before["error"] is None, before
        if before["state"] == "running":
            return location
    raise AssertionError("killed too late, again and again: this proves nothing")


async def _feed(client: Client, first: int) -> int:
    """Tasks that come in while it is rebuilt; how many."""
    for at in range(first, first + 200, 50):
        await client.submit_until_acknowledged(PROJECT, tasks(at, 50))
    return 200


def _compares_equal(prelabel: Prelabel) -> None:
    """The command, beside the running services, finds no difference."""
    compared = subprocess.run(
        [sys.executable, "-m", "prelabel_projection", "rebuild", "--compare"],
        env=dict(prelabel.process("projection").variables),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert "tasks" in compared.stdout
