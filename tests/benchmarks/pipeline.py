"""The whole pipeline, measured from outside: NDJSON in over HTTP, until the last outcome can be read over HTTP."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import httpx

from tests.benchmarks.case import Lost
from tests.benchmarks.processes import cpu_seconds, worker_of
from tests.rig.processes import Prelabel

_CHUNK_BYTES = 64 << 10
_LOOK_S = 0.02
_PATIENCE_S = 120.0
"""Without anything happening."""

_NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a project asks, and of which model."""

    question: Mapping[str, Any]
    """Of the label set."""
    model: Mapping[str, Any]
    """Name, provider, settings."""
    sample: str = "Raises OSError."
    """A text that the model can answer."""


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

    def __init__(self, prelabel: Prelabel, servers: Mapping[str, int] = _NOTHING) -> None:
        """`servers`: process ids of what else takes part."""
        self.prelabel = prelabel
        self._servers = dict(servers)

    def measure(self, project: str, asked: Asked, texts: Sequence[str], *, warm_up: int = 256) -> Measurement:
        """Hand the texts in for a new project, after one interactive request and a few texts that are not counted.

        Raises Lost, and httpx.HTTPError.
        """
        with self.client() as http:
            self.set_up(http, project, asked)
            first = texts[:warm_up]
            self.ended(http, project, self.upload(http, project, lines(first)), len(first))
            pids = self.pids()
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            began = time.perf_counter()
            run = self.upload(http, project, lines(texts))
            self.ended(http, project, run, len(texts))
            seconds = time.perf_counter() - began
            cpu = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
        return Measurement(len(texts), seconds, {**cpu, "all": sum(cpu.values())})

    def rate(self, project: str, asked: Asked, texts: Sequence[str], *, warm_up: int = 256) -> float:
        """Tasks per second between a tenth and seven tenths of the texts: while everybody has work. Raises Lost."""
        with self.client() as http:
            self.set_up(http, project, asked)
            first = texts[:warm_up]
            self.ended(http, project, self.upload(http, project, lines(first)), len(first))
            run = self.upload(http, project, lines(texts))
            from_, began = self._passed(http, project, run, len(texts) // 10)
            until, over = self._passed(http, project, run, len(texts) * 7 // 10)
            self.ended(http, project, run, len(texts))
        if until == from_:
            raise Lost(f"{project}: {len(texts)} tasks are too few to see a rate")
        return (until - from_) / (over - began)

    def _passed(self, http: httpx.Client, project: str, run: str, tasks: int) -> tuple[int, float]:
        """How many predictions there are once there are so many, and when. Raises Lost."""
        deadline = time.monotonic() + _PATIENCE_S
        while (created := self.created(http, project, run)) < tasks:
            if time.monotonic() > deadline:
                raise Lost(f"{project}: {created} of {tasks} tasks ended")
            time.sleep(5 * _LOOK_S)
        return created, time.perf_counter()

    def client(self) -> httpx.Client:
        """One that may call everything; to be closed."""
        headers = {"Authorization": f"Bearer {self.prelabel.key}"}
        return httpx.Client(headers=headers, timeout=_PATIENCE_S, trust_env=False)

    def pids(self) -> dict[str, int]:
        """Every process that takes part, by name."""
        pids = {}
        for name in self.prelabel.names:
            process = self.prelabel.process(name)
            pids[name] = process.pid
            pids |= {f"{worker_of(pid)}'s worker": pid for pid in process.workers()}
        return {**pids, **self._servers}

    def set_up(self, http: httpx.Client, project: str, asked: Asked) -> None:
        """Make a project, and have its model answer once: then it is loaded. Raises Lost."""
        body = {"label_set": {"questions": [asked.question]}, "models": [asked.model]}
        http.put(self._door(project), json=body).raise_for_status()
        predicted = http.post(
            f"{self._door(project)}/predictions", json={"data": {"text": asked.sample}}, headers={"Prefer": "wait=60"}
        )
        predicted.raise_for_status()
        if predicted.status_code != 200 or predicted.json()["predictions"][0]["outcome"] != "created":
            raise Lost(f"{project}: {predicted.text[:500]}")

    def upload(
        self, http: httpx.Client, project: str, content: Iterable[bytes] | Iterator[bytes], *, at: str | None = None
    ) -> str:
        """Hand in NDJSON, streamed; the run. `at`: another address than that of everything."""
        answer = http.post(
            f"{self._door(project, at)}/tasks",
            content=content,
            headers={"Content-Type": "application/x-ndjson"},
        )
        answer.raise_for_status()
        return str(answer.json()["run"])

    def ended(self, http: httpx.Client, project: str, run: str, tasks: int, *, look: float = 0.5) -> None:
        """Return when every outcome of a run can be read. Raises Lost, also when none ends for two minutes.

        `look`: the most seconds between two looks.
        """
        began = moved = time.monotonic()
        path = f"{self._door(project)}/runs/{run}"
        ended = 0
        while True:
            answer = http.get(path)
            outcomes = answer.json()["outcomes"] if answer.status_code == 200 else {}
            if outcomes.get("created", 0) == tasks:
                return
            before, ended = ended, sum(n for state, n in outcomes.items() if state != "pending")
            now = time.monotonic()
            moved = now if ended > before else moved
            if ended >= tasks or now - moved > _PATIENCE_S:
                raise Lost(f"{project}: {tasks} tasks came to {outcomes}")
            # Looking costs the pipeline something: seldom at first, often towards the end.
            rate = ended / (now - began)
            time.sleep(max(_LOOK_S, min(look, (tasks - ended) / rate / 3)) if rate else 10 * _LOOK_S)

    def accepted(self, http: httpx.Client, project: str, run: str, tasks: int) -> None:
        """Return when every task of a run was accepted, and asked of its model. Raises Lost."""
        deadline = time.monotonic() + _PATIENCE_S
        while sum(self._outcomes(http, project, run).values()) < tasks:
            if time.monotonic() > deadline:
                raise Lost(f"{project}: {self._outcomes(http, project, run)} of {tasks} tasks were accepted")
            time.sleep(10 * _LOOK_S)

    def created(self, http: httpx.Client, project: str, run: str) -> int:
        """Predictions of a run that can be read now."""
        return self._outcomes(http, project, run).get("created", 0)

    def _outcomes(self, http: httpx.Client, project: str, run: str) -> dict[str, int]:
        answer = http.get(f"{self._door(project)}/runs/{run}")
        return dict(answer.json()["outcomes"]) if answer.status_code == httpx.codes.OK else {}

    def _door(self, project: str, address: str | None = None) -> str:
        return f"{address or self.prelabel.address}/v1/projects/{project}"


def lines(texts: Iterable[str]) -> Iterator[bytes]:
    """NDJSON, in pieces as a client would send them."""
    chunk = bytearray()
    for text in texts:
        chunk += json.dumps({"data": {"text": text}}).encode() + b"\n"
        if len(chunk) >= _CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)
