"""Whatever process is killed, whenever: nothing is lost, nothing is doubled, a model sees a task once more at most."""

import random
from pathlib import Path

import pytest

from tests.failure.load import Run, run_with_kills, seeds, variables
from tests.rig.processes import ALL_IN_ONE, Prelabel
from tests.rig.servers import ServerHandle

TOTAL = 3_000


async def _survives(prelabel: Prelabel, folder: Path, seed: int, faults: list[str]) -> None:
    run = Run(prelabel, folder, random.Random(seed))
    run.rng.shuffle(faults)
    print(f"seed {seed}: {', '.join(faults)}")
    try:
        await run_with_kills(run, faults, total=TOTAL)
    except BaseException:
        print("\n".join(run.events))
        raise
    report = await run.verdict()
    print("\n".join(run.events), report.json())
    assert report.clean, run.say(report)
    assert not report.dead_letters, run.say(report)
    assert report.tasks >= TOTAL * 0.9, run.say(report)
    assert report.most_calls <= 1 + len(faults), run.say(report)


@pytest.mark.parametrize("seed", seeds("1"))
async def test_all_in_one_loses_and_doubles_nothing_when_it_is_killed(tmp_path: Path, seed: int) -> None:
    with Prelabel.all_in_one(tmp_path, environment=variables(tmp_path)) as prelabel:
        faults = [ALL_IN_ONE, ALL_IN_ONE, ALL_IN_ONE, f"worker of {ALL_IN_ONE}"]
        await _survives(prelabel, tmp_path, seed, faults)


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds())
async def test_separate_services_lose_and_double_nothing_when_each_is_killed(
    tmp_path: Path, kafka_server: ServerHandle, mongo_server: ServerHandle, seed: int
) -> None:
    servers = {"kafka": kafka_server.address, "mongo": mongo_server.address}
    with Prelabel.separate(tmp_path, **servers, environment=variables(tmp_path)) as prelabel:
        faults = ["ingestion", "projection", "training", "gateway", "ledger", "worker of ledger"]
        await _survives(prelabel, tmp_path, seed, faults)
