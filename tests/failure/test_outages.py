"""A server that is away is waited for: nothing acknowledged is lost or set aside, and work resumes by itself."""

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.failure.checker import Report
from tests.failure.load import PROJECT, Run, VoidRun, project, tasks, until, variables
from tests.rig.client import Client, Sent
from tests.rig.fixtures import StartServer
from tests.rig.processes import Prelabel
from tests.rig.servers import ServerHandle

pytestmark = [pytest.mark.kafka, pytest.mark.mongo, pytest.mark.slow]
BATCH = 50
BEFORE, AMID, AFTER = 10, 20, 10
"""Batches that are sent before the server goes, from then on, and when it is back."""


def outage_seconds() -> float:
    """PRELABEL_OUTAGE_SECONDS; 10 without it: three times as long as a door waits for an acknowledgement."""
    return float(os.environ.get("PRELABEL_OUTAGE_SECONDS", "10"))


class _Load:
    """A client that sends batch after batch, each until it is acknowledged, and remembers the answers."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.answers: list[Sent] = []
        self.acknowledged = 0
        self.batches = 0

    async def send(self, batches: int) -> None:
        for _ in range(batches):
            batch = tasks(self.batches * BATCH, BATCH)
            while not (sent := await self._client.submit(PROJECT, batch)).acknowledged:
                self.answers.append(sent)
                await asyncio.sleep(min(sent.retry_after or 0.2, 1.0))
            self.answers.append(sent)
            self.batches += 1
            self.acknowledged += BATCH


async def _away(
    run: Run, server: ServerHandle, seconds: float, enough: Callable[[Sequence[Sent]], bool] = lambda during: True
) -> tuple[Sequence[Sent], int]:
    """Send, kill the server for so long, go on sending; the answers during the outage, and batches in all.

    `enough`: the outage lasts until such answers have been given.
    """
    async with run.client() as client:
        # A batch takes the model longer than the client: there is work under way whenever the server goes.
        await client.put_project(PROJECT, project(seconds_per_task=0.006))
        load = _Load(client)
        loading = asyncio.create_task(load.send(BEFORE + AMID))
        try:
            await until(lambda: load.batches >= BEFORE, "the first batches")
            before = len(load.answers)
            await asyncio.to_thread(server.kill)
            if run.calls() >= load.acknowledged:
                raise VoidRun("the pipeline was empty when the server was killed")
            run.tell(f"killed at {load.acknowledged} acknowledged, {run.calls()} calls")
            await asyncio.sleep(seconds)  # the length of the outage is the scenario, nothing is waited for
            await until(lambda: enough(load.answers[before:]), "answers during the outage")
            during = load.answers[before:]
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(server.wait_ready)
            run.tell("the server is back")
            async with asyncio.timeout(240):
                await loading
                await load.send(AFTER)
            run.tell("the last batch is acknowledged")
            await client.until_ended(PROJECT, load.acknowledged, 1)
            run.tell("all have ended")
        finally:
            loading.cancel()
    return during, load.acknowledged


def _told_so(during: Sequence[Sent]) -> bool:
    """Somebody was told that it is away, and when to come again."""
    return any(sent.status == 503 and sent.retry_after for sent in during)


def _nothing_happened(run: Run, report: Report, acknowledged: int) -> None:
    print("\n".join(run.events), report.json())
    assert report.clean, run.say(report)
    assert report.acknowledged == acknowledged, run.say(report)
    assert not report.dead_letters, run.say(report)
    assert report.retries == 0, run.say(report)


async def test_kafka_away_under_load_is_told_and_waited_for(
    tmp_path: Path, own_kafka: StartServer, mongo_server: ServerHandle
) -> None:
    kafka = await asyncio.to_thread(own_kafka)
    environment = variables(tmp_path, {"PRELABEL_DELIVERY_SECONDS": "3"})
    servers = {"kafka": kafka.address, "mongo": mongo_server.address}
    with Prelabel.separate(tmp_path, **servers, environment=environment) as prelabel:
        pids = {name: prelabel.process(name).pid for name in prelabel.names}
        run = Run(prelabel, tmp_path, random.Random(1))
        during, acknowledged = await _away(run, kafka, outage_seconds(), _told_so)
        assert all(sent.status in (503, 202) for sent in during), during
        assert {name: prelabel.process(name).pid for name in prelabel.names} == pids
        assert all(prelabel.process(name).alive for name in prelabel.names), "it must resume by itself"
        run.crashes = 1  # what was being predicted when Kafka went may be predicted again
        report = await run.verdict()
        _nothing_happened(run, report, acknowledged)


async def test_a_killed_store_is_caught_up_with_and_nothing_is_set_aside(
    tmp_path: Path, kafka_server: ServerHandle, own_mongo: StartServer
) -> None:
    mongo = await asyncio.to_thread(own_mongo)
    servers = {"kafka": kafka_server.address, "mongo": mongo.address}
    with Prelabel.separate(tmp_path, **servers, environment=variables(tmp_path)) as prelabel:
        run = Run(prelabel, tmp_path, random.Random(1))
        _, acknowledged = await _away(run, mongo, min(8.0, outage_seconds()))
        assert all(prelabel.process(name).alive for name in prelabel.names), "it must catch up by itself"
        run.crashes = 1
        report = await run.verdict()
        _nothing_happened(run, report, acknowledged)
