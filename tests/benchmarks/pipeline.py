"""The whole pipeline, measured from outside: NDJSON in over HTTP, until the last outcome can be read over HTTP."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tests.benchmarks.processes import cpu_seconds, worker_of
from tests.rig.processes import Prelabel

_CHUNK_BYTES = 64 << 10
_LOOK_S = 0.02
_PATIENCE_S = 300.0

Model = Mapping[str, Any]
"""A model of a project: name, provider, settings."""


class Lost(Exception):
    """Not every task ended with a prediction: there is nothing to measure."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One upload."""

    tasks: int
    seconds: float
    cpu: Mapping[str, float]
    """CPU seconds by process; `all` is the sum."""

    @property
    def per_second(self) -> float:
        """Tasks per second."""
        return self.tasks / self.seconds


class Pipeline:
    """A running Prelabel, and what to ask it."""

    def __init__(self, prelabel: Prelabel, labels: Sequence[str], servers: Mapping[str, int] | None = None) -> None:
        """`servers`: process ids of what else takes part."""
        self._prelabel = prelabel
        self._labels = list(labels)
        self._servers = dict(servers or {})
        self._headers = {"Authorization": f"Bearer {prelabel.key}"}

    def measure(self, project: str, model: Model, texts: Sequence[str], *, warm_up: int = 256) -> Measurement:
        """Hand the texts in for a new project, after one interactive request and a few texts that are not counted.

        Raises Lost, and httpx.HTTPError.
        """
        with httpx.Client(headers=self._headers, timeout=_PATIENCE_S, trust_env=False) as http:
            self._set_up(http, project, model)
            self._ended(http, project, self._upload(http, project, texts[:warm_up]), warm_up)
            pids = self._pids()
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            began = time.perf_counter()
            run = self._upload(http, project, texts)
            self._ended(http, project, run, len(texts))
            seconds = time.perf_counter() - began
            cpu = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
        return Measurement(len(texts), seconds, {**cpu, "all": sum(cpu.values())})

    def _pids(self) -> dict[str, int]:
        pids = {}
        for name in self._prelabel.names:
            process = self._prelabel.process(name)
            pids[name] = process.pid
            pids |= {f"{worker_of(pid)}'s worker": pid for pid in process.workers()}
        return {**pids, **self._servers}

    def _set_up(self, http: httpx.Client, project: str, model: Model) -> None:
        question = {"name": "names", "kind": "span", "field": "text", "labels": self._labels}
        body = {"label_set": {"questions": [question]}, "models": [model]}
        http.put(self._door(project), json=body).raise_for_status()
        predicted = http.post(
            f"{self._door(project)}/predictions",
            json={"data": {"text": "Raises OSError."}},
            headers={"Prefer": "wait=60"},
        )
        predicted.raise_for_status()
        if predicted.status_code != 200 or predicted.json()["predictions"][0]["outcome"] != "created":
            raise Lost(f"{project}: {predicted.text[:500]}")

    def _upload(self, http: httpx.Client, project: str, texts: Sequence[str]) -> str:
        """Returns the run."""
        answer = http.post(
            f"{self._door(project)}/tasks",
            content=_lines(texts),
            headers={"Content-Type": "application/x-ndjson"},
        )
        answer.raise_for_status()
        return str(answer.json()["run"])

    def _ended(self, http: httpx.Client, project: str, run: str, tasks: int) -> None:
        """Returns when every outcome of a run can be read."""
        began = time.monotonic()
        path = f"{self._prelabel.address}/v1/projects/{project}/runs/{run}"
        ended = 0
        while True:
            answer = http.get(path)
            outcomes = answer.json()["outcomes"] if answer.status_code == 200 else {}
            if outcomes.get("created", 0) == tasks:
                return
            ended = sum(n for state, n in outcomes.items() if state != "pending")
            if ended >= tasks or time.monotonic() - began > _PATIENCE_S:
                raise Lost(f"{project}: {tasks} tasks came to {outcomes}")
            # Looking costs the pipeline something: seldom at first, often towards the end.
            rate = ended / (time.monotonic() - began)
            time.sleep(max(_LOOK_S, min(0.5, (tasks - ended) / rate / 3)) if rate else 10 * _LOOK_S)

    def _door(self, project: str) -> str:
        return f"{self._prelabel.address}/v1/projects/{project}"


def _lines(texts: Sequence[str]) -> Iterator[bytes]:
    chunk = bytearray()
    for text in texts:
        chunk += json.dumps({"data": {"text": text}}).encode() + b"\n"
        if len(chunk) >= _CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)
