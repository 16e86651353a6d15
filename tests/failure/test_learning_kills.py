"""Whatever is killed while people annotate and models learn: all versions are those of the loop in memory."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.failure.load import seeds
from tests.learning_reference.streamed import Annotators, Plan, differences, in_memory
from tests.rig.processes import ALL_IN_ONE, Prelabel
from tests.rig.servers import ServerHandle

KILLS = 2
"""Of a batch."""


def _killing(rng: random.Random, victims: Sequence[str]) -> Callable[[Annotators, int], None]:
    """Kills somebody when a training is, or was, at a state that is drawn; twice in each batch."""

    def kill(annotators: Annotators, number: int) -> None:
        for _ in range(KILLS):
            victim, moment = rng.choice(victims), rng.choice(("heard", "requested", "training", "trained"))
            annotators.reached(number, moment)
            print(f"batch {number}: {victim} is killed at {moment}")
            annotators.prelabel.kill(victim)
            annotators.prelabel.restart(victim)

    return kill


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds())
def test_all_in_one_that_is_killed_comes_to_the_same_versions_as_the_loop_in_memory(tmp_path: Path, seed: int) -> None:
    with Prelabel.all_in_one(tmp_path, providers=("spacy",)) as prelabel:
        _same(prelabel, tmp_path, seed, [ALL_IN_ONE])


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds())
def test_services_that_are_killed_come_to_the_same_versions_as_the_loop_in_memory(
    tmp_path: Path, kafka_server: ServerHandle, mongo_server: ServerHandle, seed: int
) -> None:
    kafka, mongo = kafka_server.address, mongo_server.address
    running = Prelabel.separate(tmp_path, kafka=kafka, mongo=mongo, providers=("spacy",), trainers=("spacy",))
    with running as prelabel:
        _same(prelabel, tmp_path, seed, ["ingestion", "projection", "training", "trainer-spacy", "spacy", "gateway"])


def _same(prelabel: Prelabel, folder: Path, seed: int, victims: Sequence[str]) -> None:
    plan = Plan("killed", seed, batches=2)
    streamed = Annotators(prelabel, plan, _killing(random.Random(seed), victims)).work()
    reference = in_memory(prelabel, plan.project, folder / "reference")
    assert len(reference) >= plan.batches
    assert differences(streamed, reference) == []
