"""Two processes of one provider on Kafka: one for people who wait, one for all that may wait."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.benchmarks.pipeline import Asked, Pipeline, lines
from tests.rig.processes import Prelabel
from tests.rig.servers import ServerHandle

PROJECT = "mails"
ASKED = Asked(
    question={"name": "first", "kind": "span", "field": "text", "labels": ["FIRST"]},
    model={"name": "first", "provider": "ledger", "settings": {"label": "FIRST", "seconds_per_task": 0.01}},
    sample="one word",
)


@pytest.fixture
def prelabel(tmp_path: Path, kafka_server: ServerHandle, mongo_server: ServerHandle) -> Iterator[Prelabel]:
    """One whose process of the provider serves the interactive lane only."""
    servers = {"kafka": kafka_server.address, "mongo": mongo_server.address}
    alone = {"PRELABEL_INFERENCE_LANES": '["interactive"]'}
    with Prelabel.separate(tmp_path, **servers, providers=["ledger"], environment=alone) as prelabel:
        yield prelabel


def test_people_who_wait_are_answered_whatever_becomes_of_the_process_of_the_other_lanes(prelabel: Prelabel) -> None:
    pipeline = Pipeline(prelabel)
    others = prelabel.process("ledger").twin("ledger-others")
    others.tell({"PRELABEL_INFERENCE_LANES": '["bulk", "backfill"]'})
    with pipeline.client() as http:
        pipeline.set_up(http, PROJECT, ASKED)
        run = pipeline.upload(http, PROJECT, lines(f"word{n} and more" for n in range(300)))
        assert _answered(http, prelabel, "before the others run")
        try:
            others.start()
            others.ready()
            others.signal(signal.SIGKILL)
            others.wait(60)
            assert _answered(http, prelabel, "after they died")
            others.start()
            others.ready()
            pipeline.ended(http, PROJECT, run, 300)
        finally:
            others.signal(signal.SIGTERM)
            others.wait(60)


def _answered(http: httpx.Client, prelabel: Prelabel, text: str) -> bool:
    answer = http.post(
        f"{prelabel.address}/v1/projects/{PROJECT}/predictions",
        json={"data": {"text": text}},
        headers={"Prefer": "wait=60"},
    )
    return answer.status_code == httpx.codes.OK and answer.json()["predictions"][0]["outcome"] == "created"
