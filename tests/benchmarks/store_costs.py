"""What a task costs in a store: `python -m tests.benchmarks.store_costs [--store URL] [--against FOLDER]`.

CPU microseconds per task, of this process's event loop, of its other threads and of the server: written as the
projection writes it (the task, its line and the outcome it waits for, then the outcome), and a look at how far its run
is, in microseconds of each look. Without --store: the embedded one.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prelabel_runtime.clock import SystemClock
from prelabel_runtime.process import event_loop
from prelabel_runtime.run import open_store
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.store.base import State, Store, StoredLine, StoredOutcome, StoredTask
from rich.console import Console
from rich.table import Table

from tests.benchmarks.processes import cpu_seconds

_LOOKS = 5
_BODY = json.dumps({"data": {"text": "Raises OSError when os.replace cannot move the file. " * 3}, "meta": {}})
_REGIONS = json.dumps({"regions": [{"kind": "span", "start": 7, "end": 14, "labels": ["TYPE"], "text": "OSError"}]})


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds per task, or per look."""

    loop: float
    others: float
    server: float


def _tasks(project: str, run: str, count: int) -> list[StoredTask]:
    now = time.time_ns() // 1_000_000
    return [StoredTask(str(uuid.uuid4()), project, None, 1, now, "c" * 40, _BODY, run=run) for _ in range(count)]


def _pending(task: StoredTask) -> StoredOutcome:
    return StoredOutcome(
        request=str(uuid.uuid4()), project=task.project, task=task.uid, revision=1, model="names", provider="spacy",
        task_ms=task.first_ms, state=State.PENDING, run=task.run,
    )  # fmt: skip


async def measure(store: Store, tasks: int, batch: int, server: int | None) -> dict[str, Cost]:
    """All steps, one after the other."""
    project, run = f"bench-{uuid.uuid4().hex[:8]}", str(uuid.uuid4())
    given = _tasks(project, run, tasks)
    waiting = [_pending(task) for task in given]
    ended = [
        replace(one, state=State.CREATED, offset=number, at_ms=one.task_ms + 9, version="1", score=0.9, body=_REGIONS)
        for number, one in enumerate(waiting)
    ]
    lines = [
        StoredLine(f"{run}:{number}", project, run, number, task.uid, task.first_ms)
        for number, task in enumerate(given)
    ]

    async def accept() -> None:
        for at in range(0, tasks, batch):
            await store.tasks.put(given[at : at + batch])
            await store.outcomes.put(waiting[at : at + batch])
            await store.lines.put(lines[at : at + batch])

    async def end() -> None:
        for at in range(0, tasks, batch):
            await store.outcomes.put(ended[at : at + batch])

    async def look() -> None:
        for _ in range(_LOOKS):
            await store.outcomes.counts_of_run(run)
            await store.lines.counts(run)

    await store.runs.seal(run, project, tasks, given[0].first_ms)
    return {
        "accepted": await _cost(accept, tasks, server),
        "ended": await _cost(end, tasks, server),
        "a look at the run": await _cost(look, _LOOKS, server),
    }


async def _cost(work: Callable[[], Awaitable[None]], count: int, server: int | None) -> Cost:
    served = cpu_seconds(server) if server else 0.0
    thread, process = time.thread_time(), time.process_time()
    await work()
    thread, process = time.thread_time() - thread, time.process_time() - process
    served = cpu_seconds(server) - served if server else 0.0
    return Cost(*(round(part / count * 1e6, 2) for part in (thread, process - thread, served)))


async def _once(url: str, tasks: int, batch: int, server: int | None) -> None:
    store = open_store(RuntimeSettings(store=url), SystemClock())
    await store.start()
    try:
        costs = await measure(store, tasks, batch, server)
    finally:
        await store.stop()
    print(json.dumps({name: (cost.loop, cost.others, cost.server) for name, cost in costs.items()}))


def _run(checkout: Path, words: Sequence[str]) -> dict[str, Cost]:
    """One round in a process of its own, with the code of a checkout."""
    here = Path(__file__).resolve().parents[2]
    path = [*(str(checkout / part) for part in ("libs/contract/src", "libs/runtime/src")), str(here)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.store_costs", "--once", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return {name: Cost(*cost) for name, cost in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.store_costs")
    parser.add_argument("tasks", type=int, nargs="?", default=5_000)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--store", default="", help="mongodb://HOST:PORT/NAME or sqlite:///FILE")
    parser.add_argument("--server", type=int, help="the server's process, to measure it too")
    parser.add_argument("--against", type=Path, help="another checkout, measured in turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        with asyncio.Runner(loop_factory=event_loop()) as runner:
            runner.run(_once(asked.store, asked.tasks, asked.batch, asked.server))
        return
    checkouts = {"here": Path(__file__).resolve().parents[2]}
    if asked.against:
        checkouts["against"] = asked.against.resolve()
    rounds: dict[str, list[dict[str, Cost]]] = {name: [] for name in checkouts}
    for number in range(asked.rounds):
        for name, checkout in checkouts.items():
            with tempfile.TemporaryDirectory(prefix="prelabel-store-") as folder:
                words = [str(asked.tasks), "--batch", str(asked.batch)]
                words += ["--store", asked.store or f"sqlite:///{folder}/{number}.db"]
                words += ["--server", str(asked.server)] if asked.server else []
                rounds[name].append(_run(checkout, words))
    Console().print(_table(rounds))


def _table(rounds: dict[str, list[dict[str, Cost]]]) -> Table:
    shown = Table(title="CPU µs, medians", title_justify="left")
    for column in ("what", "code", "event loop", "other threads", "server"):
        shown.add_column(column, justify="left" if column in ("what", "code") else "right")
    for what in next(iter(rounds.values()))[0]:
        for name, some in rounds.items():
            parts = [
                statistics.median(getattr(one[what], part) for one in some) for part in ("loop", "others", "server")
            ]
            shown.add_row(what, name, *(f"{part:,.1f}" for part in parts))
    return shown


if __name__ == "__main__":
    main()
