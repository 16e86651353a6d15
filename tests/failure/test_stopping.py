"""A graceful stop under load finishes what was begun: exit code 0, nothing is delivered or predicted twice."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.failure.load import PROJECT, Run, project, submit_and_meet, variables
from tests.rig.processes import ALL_IN_ONE, Prelabel
from tests.rig.servers import ServerHandle

PATIENCE = 90.0
"""Seconds for a stop."""
GRACE = {"PRELABEL_GRACE_SECONDS": "120"}
"""Longer than any stop may take: a loop that never notices that it is to stop is not cancelled in time to pass."""
STAGE = 300


async def _stopped_one_by_one(run: Run, names: Sequence[str]) -> None:
    """Each process is stopped amid its share of the work, and started again."""
    async with run.client() as client:
        await client.put_project(PROJECT, project(seconds_per_task=0.002))
        sent = 0
        for name in names:
            sent = await submit_and_meet(run, client, sent, STAGE)
            code = await asyncio.to_thread(run.prelabel.terminate, name, PATIENCE)
            run.tell(f"{name} stopped with {code} at {run.calls()} calls")
            assert code == 0, run.prelabel.process(name).last_words()
            await asyncio.to_thread(run.prelabel.restart, name)
            run.tell(f"{name} ready")
        await client.until_ended(PROJECT, sent, 1)
    report = await run.verdict()
    print("\n".join(run.events), report.json())
    assert report.clean, run.say(report)
    assert report.repeated_records == 0, run.say(report)
    assert report.repeated_calls == 0, run.say(report)
    assert not report.dead_letters


async def test_all_in_one_stops_without_redelivery(tmp_path: Path) -> None:
    with Prelabel.all_in_one(tmp_path, environment=variables(tmp_path, GRACE)) as prelabel:
        await _stopped_one_by_one(Run(prelabel, tmp_path, random.Random(1)), [ALL_IN_ONE, ALL_IN_ONE])


@pytest.mark.kafka
@pytest.mark.mongo
async def test_separate_services_stop_without_redelivery(
    tmp_path: Path, kafka_server: ServerHandle, mongo_server: ServerHandle
) -> None:
    servers = {"kafka": kafka_server.address, "mongo": mongo_server.address}
    with Prelabel.separate(tmp_path, **servers, environment=variables(tmp_path, GRACE)) as prelabel:
        await _stopped_one_by_one(Run(prelabel, tmp_path, random.Random(2)), prelabel.names)
