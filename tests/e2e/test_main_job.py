"""The main job, end to end, as a user does it: all in one on SQLite, and every service a process on real servers.

Both bindings run the same tests in the order in which they stand; the last one stops everything and reads the logs.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from prelabel_contract import names
from prelabel_runtime.bus.base import Message
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.run import open_bus
from prelabel_runtime.settings import RuntimeSettings

from tests.rig.processes import Prelabel
from tests.rig.servers import ServerHandle

PROVIDERS = ("rules", "spacy", "echo")
CANARY = "canary-3f9c"
"""In every text and every meta; in no log."""
INBOUND = {"PRELABEL_INGESTION_INBOUND": json.dumps({"crm": {"projects": ["job"]}})}
PATIENCE = 180.0

PROJECT: dict[str, Any] = {
    "title": "The main job",
    "label_set": {
        "questions": [
            {"name": "names", "kind": "span", "field": "text", "labels": ["MODULE", "TYPE"]},
            {"name": "area", "kind": "choice", "field": "text", "labels": ["files", "net"], "multiple": False},
        ]
    },
    "models": [
        {
            "name": "modules",
            "provider": "spacy",
            "questions": ["names"],
            "settings": {"blank": "en", "patterns": [{"label": "MODULE", "pattern": "json"}]},
        },
        {
            "name": "areas",
            "provider": "rules",
            "questions": ["area"],
            "settings": {"rules": [{"label": "files", "substring": "open", "as": "choice"}]},
        },
        {"name": "parrot", "provider": "echo", "settings": {}},
        {
            "name": "broken",
            "provider": "spacy",
            "questions": ["names"],
            "settings": {"path": "/nowhere/no-pipeline"},
        },
    ],
}
STATES = {"created": 3, "failed": 1}
"""Outcomes per task."""


class User:
    """Who uses the API, and nothing else."""

    def __init__(self, prelabel: Prelabel) -> None:
        self.prelabel = prelabel
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {prelabel.key}"}, timeout=60, trust_env=False, base_url=prelabel.address
        )

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """To the doors."""
        return self._client.request(method, f"/v1/projects/job{path}", **more)

    def read(self, path: str) -> httpx.Response:
        """What it has come to."""
        return self._client.get(f"/v1/projects/job{path}")

    def until(self, path: str, ready: Callable[[Any], bool]) -> Any:
        """An answer, once it is as wanted."""
        deadline = time.monotonic() + PATIENCE
        seen: Any = None
        while time.monotonic() < deadline:
            answer = self.read(path)
            seen = answer.json() if answer.status_code == 200 else answer.text
            if answer.status_code == 200 and ready(seen):
                return seen
            time.sleep(0.05)
        raise AssertionError(f"never came; the last was {seen!r}")

    def close(self) -> None:
        """Let go."""
        self._client.close()


def text(number: int) -> dict[str, Any]:
    """A task that every model has something to say about."""
    return {"id": f"t{number}", "data": {"text": f"Use json to open {CANARY} {number}."}, "meta": {"note": CANARY}}


def ended(task: Any) -> bool:
    """Whether every model has said something about it."""
    return [p["outcome"] != "pending" for p in task["predictions"]] == [True] * len(PROJECT["models"])


class MainJob:
    """The job. A binding says what runs."""

    @pytest.fixture(scope="class")
    def prelabel(self) -> Iterator[Prelabel]:
        """What runs."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def user(self, prelabel: Prelabel) -> Iterator[User]:
        user = User(prelabel)
        yield user
        user.close()

    def inbound(self, prelabel: Prelabel, task: Mapping[str, Any]) -> None:
        """A task that comes in by another door than HTTP."""
        raise NotImplementedError

    def test_a_project_is_made(self, user: User) -> None:
        answer = user.send("PUT", "", json=PROJECT)
        assert answer.status_code == 201, answer.text
        user.until("/counts", lambda c: c["tasks"] == 0)

    def test_500_tasks_get_one_outcome_per_model_each(self, user: User) -> None:
        body = "\n".join(json.dumps(text(n)) for n in range(500))
        answer = user.send("POST", "/tasks", content=body, headers={"Content-Type": "application/x-ndjson"})
        assert answer.status_code == 202, answer.text
        receipt = answer.json()
        assert (receipt["accepted"], receipt["rejected"]) == (500, 0)
        run = user.until(f"/runs/{receipt['run']}", lambda r: r["state"] == "completed")
        assert run["outcomes"] == {state: count * 500 for state, count in STATES.items()}
        assert user.read("/counts").json()["tasks"] == 500
        events = user.read(f"/runs/{receipt['run']}/events").text
        assert '"completed"' in events

    def test_what_the_models_said_is_what_they_should(self, user: User) -> None:
        task = user.read("/tasks/t7").json()
        said = {p["model"]: p for p in task["predictions"]}
        assert [(r["text"], r["start"], r["labels"]) for r in said["modules"]["regions"]] == [("json", 4, ["MODULE"])]
        assert [r["labels"] for r in said["areas"]["regions"]] == [["files"]]
        assert said["parrot"]["regions"] == []
        assert (said["broken"]["outcome"], said["broken"]["reason"]) == ("failed", "settings")
        assert "no-pipeline" in said["broken"]["detail"]
        assert "\n" not in said["broken"]["detail"]
        assert task["meta"] == {"note": CANARY}

    def test_a_task_comes_in_by_the_other_door(self, user: User, prelabel: Prelabel) -> None:
        self.inbound(prelabel, text(9001))
        user.until("/tasks/t9001", ended)

    def test_a_task_is_predicted_while_somebody_waits(self, user: User) -> None:
        answer = user.send("POST", "/predictions", json=text(9002), headers={"Prefer": "wait=50"})
        assert answer.status_code == 200, answer.text
        assert [p["outcome"] for p in answer.json()["predictions"]] == ["created", "created", "created", "failed"]
        user.until("/tasks/t9002", ended)  # who waits is answered past the projection

    def test_what_people_say_is_kept_and_learned_from(self, user: User, prelabel: Prelabel) -> None:
        region = {"kind": "span", "field": "text", "question": "names", "start": 4, "end": 8, "labels": ["MODULE"]}
        said = [{"task": f"t{n}", "annotator": "eve", "regions": [region]} for n in range(20)]
        assert user.send("POST", "/annotations", json=said).status_code == 202
        for n in range(20):
            user.until(f"/tasks/t{n}", lambda t: len(t["annotations"]) == 1)
        assert user.until("/examples", lambda e: e["examples"] == 20)["examples"] == 20

    def test_everything_is_exported(self, user: User) -> None:
        lines = [json.loads(line) for line in user.read("/export").text.splitlines()]
        assert {line["id"] for line in lines} == {*(f"t{n}" for n in range(500)), "t9001", "t9002"}
        assert {len(line["predictions"]) for line in lines} == {4}
        assert sum(len(line["annotations"]) for line in lines) == 20

    def test_every_process_is_well_ready_and_measured(self, prelabel: Prelabel) -> None:
        found = ""
        for name in prelabel.names:
            base = f"http://127.0.0.1:{prelabel.process(name).health_port}"
            prelabel.process(name).ready()  # one whose group has just been dealt out anew is not, for a moment
            answer = httpx.get(f"{base}/livez", timeout=60, trust_env=False)
            assert (answer.status_code, answer.json()["missing"]) == (200, {}), name
            found += httpx.get(f"{base}/metrics", timeout=60, trust_env=False).text
        for metric in (
            "prelabel_records_received_total{", "prelabel_records_handled_total{", "prelabel_batch_records_bucket{",
            "prelabel_hop_seconds_bucket{", "prelabel_lag_records{", "prelabel_predictions_total{",
            "prelabel_oldest_unresolved_seconds ", 'prelabel_tasks_submitted_total{door="http"}',
            "prelabel_http_seconds_bucket{",
        ):  # fmt: skip
            assert metric in found, metric
        assert "prelabel_records_dead_lettered_total{" not in found

    def test_all_stop_in_order_and_their_logs_hold_neither_texts_nor_keys(self, prelabel: Prelabel) -> None:
        assert set(prelabel.stop().values()) == {0}
        assert not prelabel.workers()
        for name in prelabel.names:
            text = prelabel.log(name).read_text()
            assert '"event": "stopped"' in text, name
            assert CANARY not in text, name
            assert prelabel.key not in text, name
            assert "Traceback" not in text, name
            for line in text.splitlines():
                said = json.loads(line) if line.startswith("{") else {"logger": ""}
                ours = str(said.get("logger", "")).startswith("prelabel")
                assert not ours or said["level"] in ("info", "warning"), line


class TestAllInOne(MainJob):
    """One process on SQLite."""

    @pytest.fixture(scope="class")
    def prelabel(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prelabel]:
        folder: Path = tmp_path_factory.mktemp("all-in-one")
        with Prelabel.all_in_one(folder, providers=PROVIDERS, environment=INBOUND) as prelabel:
            yield prelabel

    def inbound(self, prelabel: Prelabel, task: Mapping[str, Any]) -> None:
        # One process owns the file: everybody else comes in over HTTP.
        headers = {"Authorization": f"Bearer {prelabel.key}"}
        sent = httpx.post(
            f"{prelabel.address}/v1/projects/job/tasks", json=task, headers=headers, timeout=60, trust_env=False
        )
        assert sent.status_code == 202


@pytest.mark.kafka
@pytest.mark.mongo
class TestEveryServiceAProcess(MainJob):
    """Each service and provider on its own, on Apache Kafka and a MongoDB-wire server."""

    @pytest.fixture(scope="class")
    def prelabel(
        self, tmp_path_factory: pytest.TempPathFactory, kafka_server: ServerHandle, mongo_server: ServerHandle
    ) -> Iterator[Prelabel]:
        folder: Path = tmp_path_factory.mktemp("separate")
        with Prelabel.separate(
            folder, kafka=kafka_server.address, mongo=mongo_server.address, providers=PROVIDERS, environment=INBOUND
        ) as prelabel:
            yield prelabel

    def inbound(self, prelabel: Prelabel, task: Mapping[str, Any]) -> None:
        asyncio.run(_publish(prelabel, task))


async def _publish(prelabel: Prelabel, task: Mapping[str, Any]) -> None:
    settings = RuntimeSettings(bus=prelabel.bus, prefix=prelabel.prefix)
    bus = open_bus(settings, SystemClock())
    await bus.start()
    attributes = {"specversion": "1.0", "type": "prelabel.task.submitted.v1", "source": "/crm", "id": "inbound-1"}
    headers = (
        *((f"ce_{name}", value.encode()) for name, value in attributes.items()),
        ("content-type", b"application/json"),
    )
    value = json.dumps({"project": "job", **task}).encode()
    await bus.publish([Message(names.inbound("crm"), b"inbound-1", value, headers)])
    await bus.stop()
