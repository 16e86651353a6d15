"""Drives a running Prelabel as annotators do, batch by batch, and says how its versions differ from those in memory."""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from prelabel_contract.names import task_uid
from prelabel_inference_spacy.provider import SpacyProvider
from prelabel_inference_spacy.trainer import SpacyTrainer
from prelabel_training.examples.holdout import in_holdout

from tests.failure.log import read_log
from tests.rig.client import NotDone
from tests.rig.processes import Prelabel

from .loop import InMemory, Version
from .recorded import Recorded

MODEL: Final = "names"
LABELS: Final = ("MODULE", "TYPE")
_MODULES = ("json", "csv", "socket", "shutil", "pathlib", "asyncio", "hashlib", "zlib", "email", "queue")
_TYPES = ("int", "str", "bytes", "float", "list", "dict", "tuple", "bool")
_FRAMES = ("Call {} with {} first.", "Give {1}, says {0}.", "Use {} to make {} of it.")
_LOOK_EVERY_S = 0.1
_CHANGED = 0.2
"""Of what was said before a batch: half of it changed, half withdrawn."""
HOLDOUT: Final = 0.3


@dataclass(frozen=True, slots=True)
class Plan:
    """What is annotated, and when."""

    project: str
    seed: int
    batches: int = 4
    batch: int = 40
    """Tasks annotated in each."""
    epochs: int = 4
    spare: int = 0
    """Tasks that nobody annotates: they are predicted again after each promotion."""
    patience: float = 240.0
    """Seconds until something must have come."""
    trained: float = 400.0
    """The same for a training: it stands back where processors are short, and takes long where others need them."""

    @property
    def body(self) -> dict[str, Any]:
        """The project."""
        patterns = [{"label": "MODULE", "pattern": one} for one in _MODULES[:2]]
        training = {"every_n": None, "quiet_seconds": 1.5, "minimum": 12, "settings": {"epochs": self.epochs}}
        question = {"name": "names", "kind": "span", "field": "text", "labels": list(LABELS)}
        return {
            "title": "The loop, streamed",
            "label_set": {"questions": [question]},
            "models": [
                {
                    "name": MODEL,
                    "provider": "spacy",
                    "settings": {"blank": "en", "patterns": patterns},
                    "training": training,
                }
            ],
            "learning": {"holdout": HOLDOUT},
        }

    @property
    def texts(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Texts, and what is true of them."""
        chance = random.Random(self.seed)
        return [_text(chance, number) for number in range(self.batches * self.batch + self.spare)]


def _text(chance: random.Random, number: int) -> tuple[str, list[dict[str, Any]]]:
    module, kind = chance.choice(_MODULES), chance.choice(_TYPES)
    text = f"{number}: {chance.choice(_FRAMES).format(module, kind)}"
    return text, [_span(text, name, label) for name, label in ((module, "MODULE"), (kind, "TYPE"))]


def _span(text: str, name: str, label: str) -> dict[str, Any]:
    start = text.index(name)
    return {
        "kind": "span",
        "field": "text",
        "question": "names",
        "start": start,
        "end": start + len(name),
        "labels": [label],
    }


@dataclass(slots=True)
class Annotators:
    """They submit, change and withdraw; whatever gets no answer is said again, under the same name."""

    prelabel: Prelabel
    plan: Plan
    disturb: "Callable[[Annotators, int], None]" = lambda _, number: None
    """Called with the number of the batch that has just been handed in."""
    client: httpx.Client = field(init=False)
    _uids: dict[int, str] = field(default_factory=dict)
    """Of annotations, by the numbers of their tasks."""

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.prelabel.key}"}
        self.client = httpx.Client(headers=headers, timeout=60, trust_env=False)

    def work(self) -> list[Mapping[str, Any]]:
        """All batches, each until its trainings are judged; the versions that there are then, oldest first."""
        self._send("PUT", "", json=self.plan.body)
        texts = self.plan.texts
        lines = "\n".join(json.dumps({"id": f"t{n}", "data": {"text": text}}) for n, (text, _) in enumerate(texts))
        self._send("POST", "/tasks", content=lines, headers={"Content-Type": "application/x-ndjson"})
        self._until("/counts", lambda seen: seen["tasks"] == len(texts))
        for number in range(self.plan.batches):
            self._annotate(number)
            self.disturb(self, number)
            # What was said last is counted last: then all is heard. Each look stands on the one before.
            trained = self.plan.trained
            self._until("/examples", lambda seen: _usable(seen) == len(self._uids) and _learned(seen), trained)
            self._until(f"/trainings?model={MODEL}", self._judged, trained)
        return sorted(self._versions(), key=lambda one: int(one["number"]))

    def reached(self, batch: int, moment: str) -> None:
        """Returns when what was handed in is heard, or a training of this batch or a later one was at a state."""
        order = ("requested", "training", "trained")
        if moment == "heard":
            self._until("/examples", lambda seen: _usable(seen) == len(self._uids))
            return

        def ready(seen: Any) -> bool:
            states = [one["state"] for one in seen["trainings"]]
            return len(states) > batch and (states[0] not in order or order.index(states[0]) >= order.index(moment))

        self._until(f"/trainings?model={MODEL}", ready, self.plan.trained)

    def _annotate(self, number: int) -> None:
        """Of what was said before some is changed and some withdrawn; then new annotations.

        Tasks that are held out stay as they are: a verdict is about what is true when it is given, whatever the cut.
        """
        chance = random.Random(f"{self.plan.seed}/{number}")
        first = number * self.plan.batch
        before = [n for n in self._uids if not self._held_out(n)]
        chosen = chance.sample(before, int(_CHANGED * len(before)))
        for n in chosen[::2]:
            self._submit(n, whole=False)
        for n in chosen[1::2]:
            self._send("DELETE", f"/tasks/t{n}/annotations/{self._uids.pop(n)}")
        self._submit(*range(first, first + self.plan.batch))

    def _held_out(self, number: int) -> bool:
        return in_holdout(self.plan.project, task_uid(self.plan.project, f"t{number}"), HOLDOUT)

    def _submit(self, *numbers: int, whole: bool = True) -> None:
        answer = self._send("POST", "/annotations", json=[self._said(n, whole=whole) for n in numbers])
        self._uids |= dict(zip(numbers, answer.json()["annotations"], strict=True))

    def _said(self, number: int, *, whole: bool) -> dict[str, Any]:
        regions = self.plan.texts[number][1]
        return {
            "task": f"t{number}",
            "id": f"a{number}",
            "annotator": "eve",
            "regions": regions if whole else regions[:1],
        }

    def _judged(self, seen: Any) -> bool:
        """Whether none is under way, all that was trained is a version, and what may serve does.

        One that was trained may be judged again, and its verdict is there before it serves.
        """
        if not _settled(seen):
            return False
        done = {one["version"] for one in seen["trainings"] if one["state"] == "trained"}
        states = {one["version"]: one["state"] for one in self._versions()}
        return done <= states.keys() and "kept" not in states.values()

    def _versions(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self._get(f"/models/{MODEL}/versions")["versions"]
        return found

    def serving(self) -> str:
        """The version that is to answer."""
        return str(self._get(f"/models/{MODEL}/serving")["version"])

    def until_serves(self, version: str) -> None:
        """Returns when a version is to answer: its verdict is there a moment earlier."""
        self._until(f"/models/{MODEL}/serving", lambda seen: seen["version"] == version)

    def roll_back(self, **to: str) -> str:
        """To what served before, or to the `version` that is named; the one that is to answer now."""
        self._send("POST", f"/models/{MODEL}/rollback", json={"reason": "to see", **to})
        return self.serving()

    def answered_by(self, text: str) -> str:
        """The version that answers a request now."""
        headers = {"Prefer": "wait=60"}
        answer = self._send("POST", "/predictions", json={"data": {"text": text}}, headers=headers)
        return str(answer.json()["predictions"][0]["version"])

    def _get(self, path: str) -> Any:
        return self._send("GET", path).json()

    def _until(self, path: str, ready: Callable[[Any], bool], patience: float | None = None) -> None:
        deadline = time.monotonic() + (patience or self.plan.patience)
        seen: Any = None
        while time.monotonic() < deadline:
            if ready(seen := self._get(path)):
                return
            time.sleep(_LOOK_EVERY_S)
        raise NotDone(f"{path}: the last was {str(seen)[:1000]}")

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Until it is answered: whoever is killed meanwhile comes back."""
        deadline = time.monotonic() + self.plan.patience
        said = "no answer"
        while time.monotonic() < deadline:
            try:
                url = f"{self.prelabel.address}/v1/projects/{self.plan.project}{path}"
                answer = self.client.request(method, url, **more)
            except httpx.HTTPError as error:
                said = type(error).__name__
            else:
                if answer.is_success:
                    return answer
                said = f"{answer.status_code} {answer.text[:300]}"
                if answer.status_code in (400, 401, 403, 422):
                    break
            time.sleep(_LOOK_EVERY_S)
        raise NotDone(f"{method} {path}: {said}")


def _usable(seen: Any) -> int:
    (model,) = seen["models"]
    return int(model["examples"]) + int(model["held_out"])


def _learned(seen: Any) -> bool:
    """All is in a training that has ended. One that is decided on, and has no record yet, counts too."""
    (model,) = seen["models"]
    return model["new"] == 0 and model["training"] is None


def _settled(seen: Any) -> bool:
    """None is under way."""
    return all(one["state"] not in ("requested", "training", "evaluating") for one in seen["trainings"])


def in_memory(prelabel: Prelabel, project: str, folder: Path) -> list[Version]:
    """What must have come of the trainings that the log names."""
    recorded = Recorded.of(read_log(prelabel.bus, prelabel.prefix), project)
    return InMemory(recorded, SpacyProvider, SpacyTrainer(), folder).versions()


_COMPARED = ("examples", "fingerprint", "seed", "artifact", "version", "outcome", "text")


def differences(streamed: Sequence[Mapping[str, Any]], reference: Sequence[Version]) -> list[str]:
    """What is not the same, in words; a version that only one of the two has too."""
    found = []
    told = {one["training"]: one for one in streamed}
    for one in reference:
        there = told.pop(one.training, None)
        if there is None:
            found.append(f"{one.training}: no version")
            continue
        said = {**there["verdict"], **there}
        found += [
            f"{one.training}: {name} is {said[name]!r}, in memory {getattr(one, name)!r}"
            for name in _COMPARED
            if said[name] != getattr(one, name)
        ]
    return found + [f"{name}: nobody asked for it in the log" for name in told]
