"""A run under faults: a client that goes on sending, a model that is watched, and faults at chosen moments.

What makes a fault count: it hits while work is under way. So tasks are sent in stages, one per fault, and the
next stage begins when what the fault took down is back; a fault that comes when its stage is done voids the run.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.failure.checker import Promises, Report, check, read_calls
from tests.failure.log import read_log
from tests.failure.stored import read_store
from tests.rig.client import Client
from tests.rig.processes import Prelabel, worker_lives

PROJECT = "p"
MODEL = "ledger"
BATCH = 50
ANNOTATED = 20
"""Tasks that are annotated while a fault is mended."""
_UID_LINE = 37
"""Bytes of a line of the model's ledger: a UUID and the end of line."""
_LOOK_EVERY_S = 0.005


class VoidRun(Exception):
    """The fault did not hit what it was meant to hit: the run proves nothing."""


def project(**settings: Any) -> dict[str, Any]:
    """A project with one model, the one that keeps a ledger; `settings` are the model's."""
    return {
        "label_set": {
            "questions": [
                {"name": "first", "kind": "span", "field": "text", "labels": [{"value": "FIRST"}]},
                {"name": "seen", "kind": "choice", "field": "text", "labels": [{"value": "seen"}]},
            ]
        },
        "models": [{"name": MODEL, "provider": "ledger", "questions": ["first", "seen"], "settings": settings}],
    }


def tasks(first: int, count: int) -> list[dict[str, Any]]:
    """Tasks t<first>, t<first+1>, …"""
    return [{"id": f"t{n}", "data": {"text": f"word{n} and some more text"}} for n in range(first, first + count)]


def seeds() -> Sequence[int]:
    """PRELABEL_SEEDS, as 1,2,3; these three without it."""
    return [int(seed) for seed in os.environ.get("PRELABEL_SEEDS", "1,2,3").split(",")]


async def until(condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
    """Return when the condition holds. Raises TimeoutError that says what was waited for."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        await asyncio.sleep(_LOOK_EVERY_S)


@dataclass(slots=True)
class Run:
    """One run: its Prelabel, its ledgers, and what happened to it."""

    prelabel: Prelabel
    folder: Path
    rng: random.Random
    crashes: int = 0
    events: list[str] = field(default_factory=list)
    """What happened when: printed when the run fails."""
    began: float = field(default_factory=time.monotonic)

    @property
    def calls_file(self) -> Path:
        """The model's own ledger: the file that PRELABEL_LEDGER names."""
        return calls_file(self.folder)

    @property
    def client_file(self) -> Path:
        """The client's ledger."""
        return self.folder / "client.ndjson"

    def client(self) -> Client:
        """A client that writes this run's ledger."""
        return Client(self.prelabel.address, self.prelabel.key, self.client_file)

    def calls(self) -> int:
        """Inputs that the model has seen so far."""
        return self.calls_file.stat().st_size // _UID_LINE if self.calls_file.exists() else 0

    def tell(self, event: str) -> None:
        """Note an event with its moment."""
        self.events.append(f"{time.monotonic() - self.began:7.2f} s  {event}")

    def check(self) -> Report:
        """The checker's verdict on what is there now."""
        return check(
            read_log(self.prelabel.bus, self.prelabel.prefix),
            read_store(self.prelabel.store),
            promises=Promises.read(self.client_file),
            calls={MODEL: read_calls(self.calls_file)},
            crashes=self.crashes,
        )

    async def verdict(self, *, patience: float = 30.0) -> Report:
        """The checker's verdict, once nothing is lost any more, or after `patience` seconds."""
        deadline = time.monotonic() + patience
        while True:
            report = await asyncio.to_thread(self.check)
            if not report.lost or time.monotonic() > deadline:
                return report
            await asyncio.sleep(0.2)

    async def until_set_aside(self, count: int, *, timeout: float = 60.0) -> None:
        """Return once so many records are dead letters. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while len((await asyncio.to_thread(self.check)).dead_letters) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count} dead letters: not within {timeout:g} s")
            await asyncio.sleep(0.2)

    def say(self, report: Report) -> str:
        """Everything that is known, for a failed test."""
        return "\n".join([*self.events, str(report.json())])


def calls_file(folder: Path) -> Path:
    """Where a run in a folder keeps its model's ledger."""
    return folder / "calls"


def variables(folder: Path, more: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """Variables of a run's processes."""
    return {"PRELABEL_LEDGER": str(calls_file(folder)), "PRELABEL_PARTITIONS": "4", **(more or {})}


# --------------------------------------------------------------------------------------------------------- faults


async def kill_and_restart(run: Run, name: str) -> None:
    """SIGKILL a process and start it again; its model workers must be gone within 5 s."""
    workers = run.prelabel.process(name).workers()
    await asyncio.to_thread(run.prelabel.kill, name)
    run.crashes += 1
    run.tell(f"{name} killed at {run.calls()} calls")
    await until(lambda: not any(worker_lives(pid) for pid in workers), f"no orphan worker of {name}", 5.0)
    await asyncio.to_thread(run.prelabel.restart, name)
    run.tell(f"{name} ready")


async def kill_worker(run: Run, name: str) -> None:
    """SIGKILL the model worker of a process; another must take its place."""
    workers = run.prelabel.process(name).workers()
    if not workers:
        raise VoidRun(f"{name} has no worker to kill")
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    run.crashes += 1
    run.tell(f"worker of {name} killed at {run.calls()} calls")
    await until(lambda: bool(set(run.prelabel.process(name).workers()) - set(workers)), f"a new worker of {name}")
    run.tell(f"worker of {name} is back")


async def run_with_kills(run: Run, faults: Sequence[str], *, total: int, unresolved: float = 0.1) -> None:
    """Send `total` tasks, one stage per fault, each fault at a random moment of its stage; wait for the end.

    faults: names of processes to kill, or "worker of <name>".
    unresolved: the share of sends without an answer that the client does not repeat.
    Raises VoidRun.
    """
    stage = total // len(faults)
    allowed = stage
    acknowledged: list[str] = []

    async with run.client() as client:
        await client.put_project(PROJECT, project(seconds_per_task=0.001))
        run.tell("project is there")

        async def feed() -> None:
            for first in range(0, total, BATCH):
                await until(lambda first=first: first < allowed, "the next stage", 120)  # type: ignore[misc]
                batch = tasks(first, BATCH)
                resolved = run.rng.random() >= unresolved
                while True:
                    sent = await client.submit(PROJECT, batch)
                    if sent.acknowledged:
                        acknowledged.extend(task["id"] for task in batch)
                        break
                    if 400 <= sent.status < 500:
                        raise AssertionError(f"refused: {sent}")
                    if not resolved:
                        break
                    await asyncio.sleep(0.05)

        async def annotate(ids: Sequence[str]) -> None:
            spans = [{"question": "first", "field": "text", "kind": "span", "start": 0, "end": 4, "labels": ["FIRST"]}]
            for task in ids:
                one = {"id": f"of {task}", "task": task, "annotator": "ann", "regions": spans}
                await client.annotate(PROJECT, [one])

        feeding = asyncio.create_task(feed())
        try:
            for number, fault in enumerate(faults):
                moment = run.rng.randrange(number * stage + stage // 10, (number + 1) * stage - stage // 4)
                await _until_or_failed(lambda moment=moment: run.calls() >= moment, feeding)  # type: ignore[misc]
                if run.calls() >= allowed:
                    raise VoidRun(f"{fault}: all {allowed} tasks of its stage had been predicted before it")
                annotating = asyncio.create_task(
                    annotate(run.rng.sample(acknowledged, min(ANNOTATED, len(acknowledged))))
                )
                worker_of = fault.removeprefix("worker of ")
                if worker_of != fault:
                    await kill_worker(run, worker_of)
                else:
                    await kill_and_restart(run, fault)
                await annotating
                allowed += stage
            await feeding
        finally:
            feeding.cancel()
        await client.until_ended(PROJECT, len(acknowledged), 1, timeout=120)
        run.tell(f"{len(acknowledged)} acknowledged tasks have ended")


async def _until_or_failed(condition: Callable[[], bool], task: asyncio.Task[Any]) -> None:
    await until(lambda: condition() or (task.done() and bool(task.exception())), "the moment of a fault", 120)
    if task.done() and (error := task.exception()):
        raise error
