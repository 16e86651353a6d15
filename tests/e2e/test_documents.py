"""The documents for users, carried out as they stand: every command in them works, and what they promise comes true."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from deploy.local.ports import free_port
from tests.rig.documents import carried_out
from tests.rig.processes import Prelabel
from tests.rig.servers import ServerHandle

DOCS = Path(__file__).parents[2] / "docs"
MAILS = {f"mail-{number}" for number in range(1, 8)}
"""What docs/emit-tasks.md hands in, over HTTP and from Python, Java and kcat."""


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """The variables of somebody who has never used Prelabel: no settings, no profile."""
    home = tmp_path / "home"
    home.mkdir()
    variables = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "PRELABEL_PORT": str(free_port()),
        "PRELABEL_HEALTH_PORT": str(free_port()),
        "PRELABEL_PROJECTION_LOOK_SECONDS": "0.5",
    }
    yield variables
    subprocess.run(["bash", "-c", "prelabel down || true"], env=variables, check=False, capture_output=True)


def test_the_first_ten_minutes_go_as_written(tmp_path: Path, newcomer: Mapping[str, str]) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    with carried_out([DOCS / "first-ten-minutes.md"], folder, newcomer) as said:
        assert (
            len((folder / "mails.jsonl").read_text().splitlines()) == 5
        )  # four mails, and the text that was asked about
        for promised in ("urgent", "complaint", "inbound-crm", "eve"):
            assert promised in str(said)


def test_an_upstream_on_kafka_gets_its_predictions_and_its_rejections_by_webhook(
    tmp_path: Path, own_kafka: Callable[[], ServerHandle], mongo_server: ServerHandle
) -> None:
    inbound = {"crm": {"projects": ["mails"]}}
    settings = {"PRELABEL_PREFIX": "", "PRELABEL_INGESTION_INBOUND": json.dumps(inbound)}
    kafka = own_kafka().address
    folder = tmp_path / "work"
    folder.mkdir()
    with Prelabel.separate(
        tmp_path / "logs", kafka=kafka, mongo=mongo_server.address, providers=("rules",), environment=settings
    ) as prelabel:
        port, other = free_port(), free_port()
        variables = {
            "PRELABEL_ADDRESS": prelabel.address,
            "PRELABEL_KEY": prelabel.key,
            "KEY": prelabel.key,
            "KAFKA": kafka,
            "PORT": str(port),
            "ENDPOINT": f"http://127.0.0.1:{port}/",
            "OTHER_PORT": str(other),
            "OTHER_ENDPOINT": f"http://127.0.0.1:{other}/",
        }
        with carried_out([DOCS / "receive-webhooks.md", DOCS / "emit-tasks.md"], folder, variables):
            for received in ("received.jsonl", "other-received.jsonl"):
                # Events may overtake each other: the rejection, too, is waited for.
                events = _until(
                    folder / received,
                    lambda found: set(found["prediction.created"]) >= MAILS and bool(found["task.rejected"]),
                )
                assert events["task.rejected"] == {"mail-8": "forbidden_project"}
                assert events["prediction.created"]["mail-4"] == ["yes"]


def test_a_provider_is_written_and_proved_as_the_document_says(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    with carried_out([DOCS / "providers.md"], folder, {"HOME": str(tmp_path)}) as said:
        assert "good           0.73" in str(said)
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(folder / "tone")], check=True, capture_output=True)
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tone"]
    tested = subprocess.run(
        suite, cwd=folder, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout
    assert " passed" in tested.stdout


def _until(path: Path, enough: Callable[[dict[str, dict[str, object]]], bool]) -> dict[str, dict[str, object]]:
    """What was received: by type and task, the labels or the reason."""
    deadline = time.monotonic() + 180
    while True:
        found: dict[str, dict[str, object]] = {"prediction.created": {}, "task.rejected": {}}
        whole, _, _ = path.read_text().rpartition("\n")  # what stands behind is being written
        for line in whole.splitlines():
            event = json.loads(line)
            data = event["data"]
            labels = [label for region in data.get("regions", ()) for label in region["labels"]]
            found[event["type"]][data["id"]] = data.get("reason") or labels
        if enough(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def test_models_of_scikit_learn_are_trained_saved_and_asked_as_written(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    with Prelabel.all_in_one(tmp_path / "prelabel", providers=("sklearn",)) as prelabel:
        variables = {"PRELABEL_ADDRESS": prelabel.address, "PRELABEL_KEY": prelabel.key}
        with carried_out([DOCS / "sklearn.md"], folder, variables) as said:
            mails, digits = said.outputs
    assert "delivery" in mails
    assert "100" in digits
