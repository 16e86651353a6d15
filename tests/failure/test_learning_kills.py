"""Whatever is killed while people annotate and models learn: all versions are those of the loop in memory."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.failure.checker import Report, check
from tests.failure.load import seeds
from tests.failure.log import read_log
from tests.failure.stored import read_store
from tests.failure.storm import Storm, Victims, Watch
from tests.learning_reference.streamed import MODEL, Annotators, Plan, differences, in_memory
from tests.rig.processes import ALL_IN_ONE, Prelabel
from tests.rig.servers import ServerHandle

MOMENTS = ("heard", "requested", "training", "trained")
SERVICES = ("ingestion", "projection", "training", "trainer-spacy", "spacy", "gateway")
PATIENCE = 120.0
"""Seconds until all has ended that was asked for, the models' second answers too."""
HASTE = {
    "PRELABEL_TRAINER_LEASE_SECONDS": "8",
    "PRELABEL_TRAINER_RENEW_SECONDS": "0.8",
    "PRELABEL_TRAINER_LOOK_SECONDS": "1",
    "PRELABEL_TRAINING_CLAIM_SECONDS": "8",
    "PRELABEL_TRAINING_SWEEP_SECONDS": "2",
}
"""What the dead held goes on elsewhere sooner than usual: the tests wait for nothing else for most of their time."""


def _at_moments(
    victims: Victims, names: Sequence[str], rng: random.Random, kills: int
) -> Callable[[Annotators, int], None]:
    """Kills somebody when a training is, or was, at a state that is drawn; so often in each batch."""

    def kill(annotators: Annotators, number: int) -> None:
        for _ in range(kills):
            name, moment = rng.choice(names), rng.choice(MOMENTS)
            annotators.reached(number, moment)
            victims.kill(name, f"batch {number}, {moment}")

    return kill


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds("1"))
def test_all_in_one_that_is_killed_comes_to_the_same_versions_as_the_loop_in_memory(tmp_path: Path, seed: int) -> None:
    with Prelabel.all_in_one(tmp_path, providers=("spacy",), environment=HASTE) as prelabel:
        survive(prelabel, tmp_path, Plan("killed", seed, batches=2), [ALL_IN_ONE], kills=2, rounds=1)


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds("1"))
def test_services_that_are_killed_come_to_the_same_versions_as_the_loop_in_memory(
    tmp_path: Path, kafka_server: ServerHandle, mongo_server: ServerHandle, seed: int
) -> None:
    kafka, mongo = kafka_server.address, mongo_server.address
    running = Prelabel.separate(
        tmp_path, kafka=kafka, mongo=mongo, providers=("spacy",), trainers=("spacy",), environment=HASTE
    )
    with running as prelabel:
        survive(prelabel, tmp_path, Plan("killed", seed, batches=2, spare=300), SERVICES, kills=1, rounds=1)


def survive(
    prelabel: Prelabel, folder: Path, plan: Plan, names: Sequence[str], *, kills: int, rounds: int, calm: float = 2.0
) -> None:
    """Annotates while all are killed in rounds, and `kills` of them at moments of each batch's training.

    Then: the same versions as in memory, one that served at every look, each request with one outcome.
    """
    print(f"seed {plan.seed}")
    victims, rng = Victims(prelabel), random.Random(plan.seed)
    annotators = Annotators(prelabel, plan, _at_moments(victims, names, random.Random(plan.seed + 1), kills))
    storm = Storm(victims, names, rng, rounds=rounds, calm=calm)
    with Watch(prelabel, plan.project, MODEL) as watch:
        with storm:
            streamed = annotators.work()
        reference = in_memory(prelabel, plan.project, folder / "reference")
        serving = next((one.version for one in reversed(reference) if one.passes), "settings")
        annotators.until_serves(serving)
        report = _judged(prelabel, victims.kills.total())
    print(f"{dict(victims.kills)}, {watch.seen.looks} looks, epochs {watch.seen.epochs}, {report.json()}")
    assert len(reference) >= plan.batches
    assert differences(streamed, reference) == []
    assert watch.seen.wrong == []
    assert report.clean, report.json()
    assert not report.dead_letters, report.json()


def _judged(prelabel: Prelabel, crashes: int) -> Report:
    """The checker's verdict, once nothing is lost any more or patience is: what serves is still asking again."""
    deadline = time.monotonic() + PATIENCE
    while True:
        store = read_store(prelabel.store)  # before the log: all that is stored was in that before
        report = check(read_log(prelabel.bus, prelabel.prefix), store, crashes=crashes)
        if not report.lost or time.monotonic() > deadline:
            return report
        time.sleep(1.0)
