"""The learning loop, end to end, as its users see it: people annotate, a better model serves, and back again.

The model begins as patterns that know one of two labels. Bindings run the same tests in the order in which they stand;
the last one stops everything and reads the logs. The other binding, every service and trainer a process with its own
rights on Kafka, is in tests/integration/test_kafka_secured.py.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.rig.processes import Prelabel

PATIENCE = 240.0
"""Seconds until what must come has failed to come."""
TRAINED = 400.0
"""The same for a training: it stands back where processors are short, and takes long where others need them."""
MODULES = ("json", "csv", "socket", "shutil", "pathlib", "asyncio", "hashlib", "zlib", "email", "queue")
TYPES = ("int", "str", "bytes", "float", "list", "dict", "tuple", "bool")
FRAMES = ("Call {module} with {type} first.", "It takes {type}, says {module}.", "Use {module} to make {type} of it.")
ANNOTATED = 200
OPEN = 40

PROJECT: dict[str, Any] = {
    "title": "The learning loop",
    "label_set": {
        "questions": [{"name": "names", "kind": "span", "field": "text", "labels": ["MODULE", "TYPE"]}],
    },
    "models": [
        {
            "name": "names",
            "provider": "spacy",
            "settings": {"blank": "en", "patterns": [{"label": "MODULE", "pattern": one} for one in MODULES]},
            "training": {"every_n": None, "quiet_seconds": 2, "minimum": 50, "settings": {"epochs": 12}},
        }
    ],
    "learning": {"holdout": 0.25},
}


def _tasks() -> Iterator[tuple[str, Mapping[str, tuple[int, int]]]]:
    """Texts, and where the names stand in them."""
    for frame, module, kind in product(FRAMES, MODULES, TYPES):
        text = frame.format(module=module, type=kind)
        yield (
            text,
            {
                label: (text.index(name), text.index(name) + len(name))
                for label, name in (("MODULE", module), ("TYPE", kind))
            },
        )


TASKS = list(_tasks())


def regions(number: int) -> list[dict[str, Any]]:
    """The truth about a task."""
    return [
        {"kind": "span", "field": "text", "question": "names", "start": start, "end": end, "labels": [label]}
        for label, (start, end) in TASKS[number][1].items()
    ]


class User:
    """Who uses the API, and nothing else."""

    def __init__(self, prelabel: Prelabel) -> None:
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {prelabel.key}"}, timeout=60, trust_env=False, base_url=prelabel.address
        )

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """To the project."""
        return self._client.request(method, f"/v1/projects/loop{path}", **more)

    def until(self, path: str, ready: Callable[[Any], bool], patience: float = PATIENCE) -> Any:
        """An answer, once it is as wanted."""
        deadline = time.monotonic() + patience
        seen: Any = None
        while time.monotonic() < deadline:
            answer = self.send("GET", path)
            seen = answer.json() if answer.status_code == 200 else answer.text
            if answer.status_code == 200 and ready(seen):
                return seen
            time.sleep(0.1)
        raise AssertionError(f"never came; the last was {seen!r}")

    def predicted(self, text: str) -> dict[str, Any]:
        """What the model says now about a text."""
        answer = self.send("POST", "/predictions", json={"data": {"text": text}}, headers={"Prefer": "wait=60"})
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()["predictions"][0]
        assert said["outcome"] == "created", said
        return said

    def predicted_by(self, version: str, text: str) -> dict[str, Any]:
        """The same, once a version answers: a process that predicts hears of it a moment later."""
        deadline = time.monotonic() + PATIENCE
        number = 0
        while (said := self.predicted(f"{text} {number}"))["version"] != version:
            assert time.monotonic() < deadline, f"{version} never answered, but {said['version']}"
            number += 1
            time.sleep(0.1)
        return said

    def until_learned(self, annotated: int) -> None:
        """Returns when so many annotations are in a training or its hold-out, every version is judged, and what may
        serve does: from then on nothing moves by itself. How many trainings that takes is the trigger's business."""

        def heard(seen: Any) -> bool:
            (model,) = seen["models"]
            usable = model["examples"] + model["held_out"]
            return bool(usable == annotated and model["new"] == 0 and model["training"] is None)

        self.until("/examples", heard, TRAINED)
        self.until("/trainings?model=names", self._judged, TRAINED)

    def _judged(self, seen: Any) -> bool:
        """Whether nothing of these is under way, or waits to be judged (again), or to serve."""
        if any(one["state"] in ("requested", "training", "evaluating") for one in seen["trainings"]):
            return False
        trained = {one["version"] for one in seen["trainings"] if one["state"] == "trained"}
        versions = self.send("GET", "/models/names/versions").json()["versions"]
        states = {one["version"]: one["state"] for one in versions}
        return trained <= states.keys() and "kept" not in states.values()

    def close(self) -> None:
        """Let go."""
        self._client.close()


def current(task: Any) -> list[Any]:
    """Of a task's predictions those that nothing newer replaces."""
    return [one for one in task["predictions"] if not one.get("superseded_by")]


def _problem(answer: httpx.Response) -> str:
    """The word for what is wrong; empty where nothing is."""
    return str(answer.json().get("type", "")).rpartition(":")[2]


def _labels(said: Mapping[str, Any]) -> set[str]:
    return {label for region in said["regions"] for label in region["labels"]}


class LearningLoop:
    """The loop. A binding says what runs."""

    @pytest.fixture(scope="class")
    def prelabel(self) -> Iterator[Prelabel]:
        """What runs."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def user(self, prelabel: Prelabel) -> Iterator[User]:
        user = User(prelabel)
        yield user
        user.close()

    def test_patterns_label_first(self, user: User) -> None:
        assert user.send("PUT", "", json=PROJECT).status_code == 201
        user.until("/counts", lambda c: c["tasks"] == 0)
        body = "\n".join(
            json.dumps({"id": f"t{n}", "data": {"text": text}}) for n, (text, _) in enumerate(TASKS[: ANNOTATED + OPEN])
        )
        answer = user.send("POST", "/tasks", content=body, headers={"Content-Type": "application/x-ndjson"})
        assert answer.status_code == 202, answer.text
        run = user.until(f"/runs/{answer.json()['run']}", lambda r: r["state"] == "completed")
        assert run["outcomes"] == {"created": ANNOTATED + OPEN}
        assert _labels(user.predicted(TASKS[0][0])) == {"MODULE"}
        serving = user.send("GET", "/models/names/serving").json()
        assert (serving["version"], serving["epoch"]) == ("settings", 0)

    def test_too_few_examples_are_no_training_and_say_so(self, user: User) -> None:
        said = [{"task": f"t{n}", "annotator": "eve", "regions": regions(n)} for n in range(10)]
        assert user.send("POST", "/annotations", json=said).status_code == 202
        user.until("/examples", lambda e: e["examples"] >= 10)
        deadline = time.monotonic() + PATIENCE
        while _problem(answer := user.send("POST", "/trainings", json={"model": "names"})) == "no_trainer" or (
            answer.status_code == 202 and answer.json()["why"]["reason"] == "deciding"
        ):
            assert time.monotonic() < deadline, f"no trainer announced itself, or nobody decided: {answer.text}"
            time.sleep(0.1)
        assert _problem(answer) == "too_few", answer.text
        assert "of at least 50" in answer.text

    def test_what_people_submit_becomes_a_version_that_serves(self, user: User) -> None:
        for first in range(10, ANNOTATED, 95):
            said = [
                {"task": f"t{n}", "annotator": "eve", "regions": regions(n)}
                for n in range(first, min(first + 95, ANNOTATED))
            ]
            assert user.send("POST", "/annotations", json=said).status_code == 202
        user.until_learned(ANNOTATED)
        serving = user.until("/models/names/serving", lambda s: s["epoch"] >= 1)
        assert serving["version"] != "settings"
        assert serving["by"] == "gate"
        whole = user.send("GET", f"/models/names/versions/{serving['version']}").json()
        assert whole["state"] == "serving", whole["refused"]
        assert whole["report"] is not None
        answered = user.predicted_by(serving["version"], "Call marshal with list first.")
        assert "TYPE" in _labels(answered)

    def test_all_annotations_are_learned_from_or_judged_by(self, user: User) -> None:
        newest = user.send("GET", "/trainings?model=names").json()["trainings"][0]
        assert newest["state"] == "trained", newest
        assert newest["examples"] + newest["holdout"] == ANNOTATED

    def test_open_tasks_are_predicted_anew_and_annotated_ones_are_not(self, user: User) -> None:
        serving = user.send("GET", "/models/names/serving").json()
        user.until(
            "/models/names/repredicting", lambda w: (w["epoch"], w["state"]) == (serving["epoch"], "done")
        )  # all has been asked again that will be

        def new(task: Any) -> bool:
            """One prediction stands, by the version; that another is replaced is told a moment after it is there."""
            return [(p["outcome"], p["version"]) for p in current(task)] == [("created", serving["version"])]

        for number in range(ANNOTATED, ANNOTATED + OPEN, 9):
            task = user.until(f"/tasks/t{number}", new)
            assert len(task["predictions"]) > 1, task["predictions"]
        annotated = user.send("GET", "/tasks/t0").json()
        assert len(annotated["predictions"]) == 1

    def test_back_to_what_served_before_and_forth_again(self, user: User) -> None:
        before = user.send("GET", "/models/names/serving").json()
        answer = user.send("POST", "/models/names/rollback", json={"reason": "to see", "version": "settings"})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["version"], answer.json()["epoch"]) == ("settings", before["epoch"] + 1)
        deadline = time.monotonic() + PATIENCE
        number = 0
        while "TYPE" in _labels(user.predicted(f"Call zlib with bytes first, please {number}.")):
            assert time.monotonic() < deadline, "the old model never answered again"
            number += 1
            time.sleep(0.1)
        answer = user.send("POST", f"/models/names/versions/{before['version']}/promote", json={"reason": "seen"})
        assert answer.status_code == 200, answer.text
        user.predicted_by(before["version"], "Use json to make dict of it.")

    def test_all_stop_in_order_and_nothing_broke(self, prelabel: Prelabel) -> None:
        assert set(prelabel.stop().values()) == {0}
        assert not prelabel.workers()
        for name in prelabel.names:
            text = prelabel.log(name).read_text()
            assert "Traceback" not in text, name
            assert prelabel.key not in text, name
            assert "says marshal" not in text, name


class TestAllInOne(LearningLoop):
    """One process on SQLite."""

    @pytest.fixture(scope="class")
    def prelabel(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prelabel]:
        folder: Path = tmp_path_factory.mktemp("loop")
        with Prelabel.all_in_one(folder, providers=("spacy",)) as prelabel:
            yield prelabel
