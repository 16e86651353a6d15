"""A run under faults: a client that goes on sending, a model that is watched, and faults at chosen moments.

What makes a fault count: it hits while work is under way. So tasks are sent in stages, one per fault, and the
next stage begins when what the fault took down is back. On a machine that stood still a stage may be through before
its moment is seen: one more follows. A fault that never comes amid work voids the run.
"""

import asyncio
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from prelabel_contract.names import task_uid

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
_TRIES = 8
"""Stages that may be through before the moment of their fault is seen."""


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


def seeds(otherwise: str = "1,2") -> Sequence[int]:
    """PRELABEL_SEEDS, as 1,2,3; without it these, or what is named."""
    return [int(seed) for seed in os.environ.get("PRELABEL_SEEDS", otherwise).split(",")]


async def until(condition: Callable[[], bool], what: str, timeout: float = 120.0) -> None:
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

    def seen(self) -> Set[str]:
        """Tasks that the model has seen so far, however often: their uids."""
        return set(read_calls(self.calls_file))

    def predicted(self) -> int:
        """How many tasks that are."""
        return len(self.seen())

    def tell(self, event: str) -> None:
        """Note an event with its moment."""
        self.events.append(f"{time.monotonic() - self.began:7.2f} s  {event}")

    def check(self) -> Report:
        """The checker's verdict on what is there now."""
        # The log last: whatever the others tell was in it before, and what moves meanwhile is not found doubled.
        store = read_store(self.prelabel.store)
        promises = Promises.read(self.client_file)
        calls = {MODEL: read_calls(self.calls_file)}
        log = read_log(self.prelabel.bus, self.prelabel.prefix)
        return check(log, store, promises=promises, calls=calls, crashes=self.crashes)

    async def verdict(self, *, patience: float = 120.0) -> Report:
        """The checker's verdict, once nothing is lost any more, or after `patience` seconds."""
        deadline = time.monotonic() + patience
        while True:
            report = await asyncio.to_thread(self.check)
            if not report.lost or time.monotonic() > deadline:
                return report
            await asyncio.sleep(0.2)

    async def until_set_aside(self, count: int, *, rejected: int = 0, timeout: float = 120.0) -> None:
        """Return once so many records are dead letters, and so many tasks rejected. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while True:
            now = await asyncio.to_thread(self.check)
            if len(now.dead_letters) >= count and now.rejected >= rejected:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count} dead letters, {rejected} rejected: not within {timeout:g} s")
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
    """SIGKILL a process and start it again; its model workers must be gone before."""
    workers = run.prelabel.process(name).workers()
    await asyncio.to_thread(run.prelabel.kill, name)
    run.crashes += 1
    run.tell(f"{name} killed at {run.calls()} calls")
    await until(lambda: not any(worker_lives(pid) for pid in workers), f"no orphan worker of {name}", 30.0)
    await asyncio.to_thread(run.prelabel.restart, name)
    run.tell(f"{name} ready")


async def kill_worker(run: Run, name: str, go_on: Callable[[], None]) -> None:
    """SIGKILL the model worker of a process; another must take its place.

    `go_on` sees to it that there is work: nobody starts a worker for nothing, and all may have been done when it died.
    """
    workers = run.prelabel.process(name).workers()
    if not workers:
        raise VoidRun(f"{name} has no worker to kill")
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    run.crashes += 1
    run.tell(f"worker of {name} killed at {run.calls()} calls")
    go_on()
    await until(lambda: bool(set(run.prelabel.process(name).workers()) - set(workers)), f"a new worker of {name}")
    run.tell(f"worker of {name} is back")


async def submit_and_meet(run: Run, client: Client, first: int, count: int) -> int:
    """Submit `count` tasks from t<first> on, and return while they are being predicted: what number comes next.

    Raises VoidRun if they were through again and again before that was seen.
    """
    for _ in range(_TRIES):
        before = run.predicted()
        await client.submit_until_acknowledged(PROJECT, tasks(first, count))
        first += count
        await until(lambda before=before: run.predicted() > before, "work to be amid of")  # type: ignore[misc]
        if run.predicted() < before + count:
            return first
    raise VoidRun(f"{_TRIES} times all had been predicted before anybody looked")


async def run_with_kills(run: Run, faults: Sequence[str], *, total: int, unresolved: float = 0.1) -> None:
    """Send `total` tasks or more, one stage per fault, each fault at a random moment of its stage; wait for the end.

    faults: names of processes to kill, or "worker of <name>".
    unresolved: the share of sends without an answer that the client does not repeat.
    Raises VoidRun.
    """
    feed = _Feed(run, total // len(faults), unresolved)
    async with run.client() as client:
        await client.put_project(PROJECT, project(seconds_per_task=0.001))
        run.tell("project is there")
        feeding = asyncio.create_task(feed.send(client))
        try:
            for fault in faults:
                await feed.until_amid(feeding)
                annotated = run.rng.sample(feed.acknowledged, min(ANNOTATED, len(feed.acknowledged)))
                annotating = asyncio.create_task(_annotate(client, annotated))
                worker_of = fault.removeprefix("worker of ")
                if worker_of != fault:
                    await kill_worker(run, worker_of, feed.open)
                else:
                    await kill_and_restart(run, fault)
                await annotating
            feed.ends = True
            await feeding
        finally:
            feeding.cancel()
        await client.until_ended(PROJECT, len(feed.acknowledged), 1, timeout=240)
        run.tell(f"{len(feed.acknowledged)} acknowledged tasks have ended")


class _Feed:
    """A client that sends stage after stage, as they are opened."""

    def __init__(self, run: Run, stage: int, unresolved: float) -> None:
        self._run = run
        self._stage = stage
        self._unresolved = unresolved
        self._opened = 0
        self._given_up: set[str] = set()
        """Uids of tasks of batches without an answer that were not repeated: the model may see them, or not."""
        self.acknowledged: list[str] = []
        self.ends = False
        """No further stage comes."""

    async def send(self, client: Client) -> None:
        """Send what is opened, until all is sent and the end is known."""
        for first in itertools.count(0, BATCH):
            await until(lambda first=first: first < self._opened or self.ends, "the next stage", 240)  # type: ignore[misc]
            if first >= self._opened:
                return
            await self._send_one(client, tasks(first, BATCH))

    async def _send_one(self, client: Client, batch: list[dict[str, Any]]) -> None:
        resolved = self._run.rng.random() >= self._unresolved
        while True:
            sent = await client.submit(PROJECT, batch)
            if sent.acknowledged:
                self.acknowledged.extend(task["id"] for task in batch)
                return
            if 400 <= sent.status < 500:
                raise AssertionError(f"refused: {sent}")
            if not resolved:
                self._given_up |= {task_uid(PROJECT, task["id"]) for task in batch}
                return
            await asyncio.sleep(0.05)

    def open(self) -> None:
        """One stage more may be sent."""
        self._opened += self._stage

    async def until_amid(self, feeding: asyncio.Task[None]) -> None:
        """Open a stage and return at a random moment of it. Raises VoidRun, and whatever ended the sending."""
        for _ in range(_TRIES):
            moment = self._opened + self._run.rng.randrange(self._stage // 10, self._stage * 3 // 4)
            self.open()
            await until(partial(self._reached, moment, feeding), "a fault's moment", 240)
            if feeding.done():
                feeding.result()
            if self._through() < self._opened:
                return
        raise VoidRun(f"{_TRIES} stages had been predicted before the moments of their faults were seen")

    def _reached(self, moment: int, feeding: asyncio.Task[None]) -> bool:
        return feeding.done() or self._through() >= moment

    def _through(self) -> int:
        """Tasks that nothing is waited for of: predicted, or given up."""
        return len(self._run.seen() | self._given_up)


async def _annotate(client: Client, ids: Sequence[str]) -> None:
    spans = [{"question": "first", "field": "text", "kind": "span", "start": 0, "end": 4, "labels": ["FIRST"]}]
    for task in ids:
        one = {"id": f"of {task}", "task": task, "annotator": "ann", "regions": spans}
        await client.annotate(PROJECT, [one])
