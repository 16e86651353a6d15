"""People who annotate on a running Prelabel, and people who wait for what its model says meanwhile.

people = People(prelabel, Plan("storm-1", 1, batches=1, batch=1000), {"quiet_seconds": 30})
people.set_up()
people.annotate(range(1000))
with Asking(people, 4) as asking:
    people.train()
    serving = people.until("/models/names/serving", lambda seen: seen["epoch"] >= 1)
asking.answers
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from tests.benchmarks.case import Lost
from tests.learning_reference.streamed import MODEL, Plan
from tests.rig.processes import Prelabel

_LOOK_S = 0.1
_WAIT_S = 60


@dataclass(slots=True)
class People:
    """They annotate the plan's texts with what is true of them."""

    prelabel: Prelabel
    plan: Plan
    training: Mapping[str, Any]
    """How the project's model learns, as `ModelTraining`."""
    texts: Sequence[tuple[str, list[dict[str, Any]]]] = field(init=False)
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.texts = self.plan.texts
        self.http = self.client()

    def client(self) -> httpx.Client:
        """One that may call everything in the project; to be closed."""
        return httpx.Client(
            base_url=f"{self.prelabel.address}/v1/projects/{self.plan.project}",
            headers={"Authorization": f"Bearer {self.prelabel.key}"},
            timeout=_WAIT_S,
            trust_env=False,
        )

    def set_up(self) -> None:
        """Make the project and its tasks, all predicted; returns when there is somebody who trains. Raises Lost."""
        body = self.plan.body
        body["models"][0]["training"] = dict(self.training)
        self.http.put(f"{self.prelabel.address}/v1/projects/{self.plan.project}", json=body).raise_for_status()
        lines = "\n".join(json.dumps({"id": f"t{n}", "data": {"text": text}}) for n, (text, _) in enumerate(self.texts))
        self.until("/counts", lambda seen: seen["tasks"] == 0)
        handed_in = self.http.post("/tasks", content=lines, headers={"Content-Type": "application/x-ndjson"})
        run = handed_in.raise_for_status().json()["run"]
        self.until(f"/runs/{run}", lambda seen: seen["state"] == "completed")
        deadline = time.monotonic() + self.plan.patience
        while "too_few" not in self.http.post("/trainings", json={"model": MODEL}).text:  # who trains says so later
            if time.monotonic() > deadline:
                raise Lost("nobody trains")
            time.sleep(_LOOK_S)

    def annotate(self, numbers: Iterable[int]) -> None:
        """Submit what is true of these texts."""
        said = [
            {"task": f"t{one}", "id": f"a{one}", "annotator": "eve", "regions": self.texts[one][1]} for one in numbers
        ]
        self.http.post("/annotations", json=said).raise_for_status()

    def all_heard(self) -> None:
        """Returns when all that was annotated counts. Raises Lost."""

        def heard(seen: Any) -> bool:
            (model,) = seen["models"]
            return int(model["examples"]) + int(model["held_out"]) == len(self.texts)

        self.until("/examples", heard)

    def train(self) -> None:
        """Ask for a training. Raises Lost where none is to start."""
        answer = self.http.post("/trainings", json={"model": MODEL})
        if answer.status_code != httpx.codes.ACCEPTED:
            raise Lost(f"no training started: {answer.text[:300]}")

    def trainings(self) -> Sequence[Mapping[str, Any]]:
        """The newest first."""
        answer = self.http.get("/trainings", params={"model": MODEL})
        found: Sequence[Mapping[str, Any]] = answer.raise_for_status().json()["trainings"]
        return found

    def judged(self) -> Mapping[str, str]:
        """What was decided about each version."""
        answer = self.http.get(f"/models/{MODEL}/versions")
        return {one["version"]: one["state"] for one in answer.raise_for_status().json()["versions"]}

    def until(self, path: str, ready: Callable[[Any], bool]) -> Any:
        """An answer, once it is as wanted. Raises Lost."""
        deadline = time.monotonic() + self.plan.patience
        seen: Any = None
        while time.monotonic() < deadline:
            answer = self.http.get(path)
            seen = answer.json() if answer.is_success else answer.text
            if answer.is_success and ready(seen):
                return seen
            time.sleep(_LOOK_S)
        raise Lost(f"{path}: the last was {str(seen)[:300]}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; moments in seconds of the system's clock, which the services' records are of too."""

    sent: float
    answered: float
    version: str
    """That answered."""
    failure: str = ""
    """Empty: there was a prediction."""


class Asking:
    """So many people ask for one prediction after the other, each as soon as the one before is there."""

    def __init__(self, people: People, count: int) -> None:
        self.answers: list[Asked] = []
        self._people = people
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(one,), daemon=True) for one in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def until_answered_by(self, version: str) -> None:
        """Returns when that version has answered. Raises Lost."""
        deadline = time.monotonic() + self._people.plan.patience
        while not any(one.version == version for one in self.answers[-100:]):
            if time.monotonic() > deadline:
                raise Lost(f"{version} serves and never answers")
            time.sleep(_LOOK_S)

    def _ask(self, person: int) -> None:
        texts = self._people.texts
        number = 0
        with self._people.client() as http:
            while not self._over.is_set():
                text = f"{texts[number % len(texts)][0]} {person}.{number}"
                self.answers.append(_ask(http, text))
                number += 1


def _ask(http: httpx.Client, text: str) -> Asked:
    sent = time.time()
    try:
        answer = http.post("/predictions", json={"data": {"text": text}}, headers={"Prefer": f"wait={_WAIT_S}"})
    except httpx.HTTPError as error:
        return Asked(sent, time.time(), "", type(error).__name__)
    if answer.status_code != httpx.codes.OK:
        return Asked(sent, time.time(), "", f"{answer.status_code}: {answer.text[:100]}")
    (said,) = answer.json()["predictions"]
    failure = "" if said["outcome"] == "created" else str(said.get("reason") or said["outcome"])
    return Asked(sent, time.time(), str(said.get("version") or ""), failure)
