"""The learning loop over services comes to the same versions as one in memory that is given the same cuts.

Example for example, byte for byte of each artifact, sentence for sentence of each verdict.
"""

from pathlib import Path

import pytest

from tests.learning_reference.streamed import Annotators, Plan, differences, in_memory
from tests.rig.processes import Prelabel
from tests.rig.servers import ServerHandle

PLAN = Plan("streamed", seed=1, batches=3)


def test_all_in_one_comes_to_the_same_versions_as_the_loop_in_memory(tmp_path: Path) -> None:
    with Prelabel.all_in_one(tmp_path, providers=("spacy",)) as prelabel:
        _same(prelabel, tmp_path)


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.slow
def test_separate_services_come_to_the_same_versions_as_the_loop_in_memory(
    tmp_path: Path, kafka_server: ServerHandle, mongo_server: ServerHandle
) -> None:
    kafka, mongo = kafka_server.address, mongo_server.address
    running = Prelabel.separate(tmp_path, kafka=kafka, mongo=mongo, providers=("spacy",), trainers=("spacy",))
    with running as prelabel:
        _same(prelabel, tmp_path)


def _same(prelabel: Prelabel, folder: Path) -> None:
    streamed = Annotators(prelabel, PLAN).work()
    reference = in_memory(prelabel, PLAN.project, folder / "reference")
    assert len(reference) >= PLAN.batches
    assert differences(streamed, reference) == []
    assert len({one["artifact"] for one in streamed}) == len(streamed), "each learned from other examples"
