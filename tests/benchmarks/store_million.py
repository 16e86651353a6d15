"""The embedded store at a million tasks: `python -m tests.benchmarks.store_million [tasks]` prints a table.

Each task has one outcome, pending first, then created, one in a hundred failed; half of the tasks are in one
run, the others in 20 small ones. Everything is read alone first, then beside writes and a busy event loop.
"""

import asyncio
import random
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from prelabel_runtime.store.base import State, StoredOutcome, StoredTask
from prelabel_runtime.store.paging import PageKey
from prelabel_runtime.store.sqlite import SqliteStore

PROJECT = "p-million"
BATCH = 500
REPEATS = 15
BODY = '{"data":{"text":"' + "Some thirty tokens of text that somebody wants to have labelled. " * 3 + '"}}'
OUTCOME = '{"regions":[' + ",".join(['{"kind":"span","start":1,"end":9,"labels":["ORG"]}'] * 5) + "]}"


@dataclass(frozen=True)
class Item:
    """One task of the measurement, and its outcome."""

    task: StoredTask
    outcome: StoredOutcome


def item(number: int, tasks: int) -> Item:
    """The same one for the same number."""
    chance = random.Random(number)
    uid, request = (str(uuid.UUID(int=chance.getrandbits(128), version=5)) for _ in range(2))
    run = "run-big" if number * 2 >= tasks else f"run-{number * 40 // tasks:02}"
    ms = 1_700_000_000_000 + number // 5
    state = State.FAILED if number % 100 == 7 else State.CREATED
    return Item(
        StoredTask(uid, PROJECT, f"id-{number}", number, ms, "c" * 64, BODY, run=run),
        StoredOutcome(
            request,
            PROJECT,
            uid,
            number,
            "ner",
            "spacy",
            ms,
            state,
            number,
            ms + 1000,
            "v1",
            0.5,
            OUTCOME,
            run,
        ),
    )


async def fill(store: SqliteStore, tasks: int) -> None:
    """Write all, and say how fast: tasks with pending requests, then outcomes."""
    for name, write in (("tasks and pending", _accept), ("outcomes", _end)):
        batches = []
        began = time.perf_counter()
        spent = 0.0
        for at in range(0, tasks, BATCH):
            items = [item(number, tasks) for number in range(at, min(at + BATCH, tasks))]
            start = time.perf_counter()
            await write(store, items)
            batches.append(time.perf_counter() - start)
            spent += batches[-1]
        last = batches[-max(1, len(batches) // 10) :]
        rate = f"{tasks / spent:10,.0f} /s   last tenth {BATCH / statistics.mean(last):8,.0f} /s"
        print(
            f"{'put ' + name:44} {rate}   batch: median {1000 * statistics.median(batches):.1f} ms, "
            f"worst {1000 * max(batches):.0f} ms   ({time.perf_counter() - began:.0f} s)",
            flush=True,
        )


async def _accept(store: SqliteStore, items: list[Item]) -> None:
    await asyncio.gather(
        store.tasks.put([one.task for one in items]),
        store.outcomes.put([replace(one.outcome, state=State.PENDING, offset=0, at_ms=0, body="{}") for one in items]),
    )


async def _end(store: SqliteStore, items: list[Item]) -> None:
    await store.outcomes.put([one.outcome for one in items])


def reads(store: SqliteStore, tasks: int) -> dict[str, Callable[[], Awaitable[object]]]:
    """What is timed, by name."""
    near_end = item(tasks - 101, tasks)
    end = PageKey(near_end.task.first_ms, near_end.task.uid)
    some = [item(number, tasks).task.uid for number in range(0, tasks, max(1, tasks // 500))][:500]
    page = store.tasks.page
    return {
        "page of 100, first": lambda: page(PROJECT, limit=100),
        "page of 100, last": lambda: page(PROJECT, limit=100, after=end),
        "page of 100, failed, first": lambda: page(PROJECT, limit=100, state=State.FAILED),
        "page of 100, created of ner, first": lambda: page(PROJECT, limit=100, state=State.CREATED, model="ner"),
        "page of 100, created of ner, last": lambda: page(
            PROJECT, limit=100, state=State.CREATED, model="ner", after=end
        ),
        "page of 100, big run, last": lambda: page(PROJECT, limit=100, run="run-big", after=end),
        "page of 100, failed in big run, first": lambda: page(PROJECT, limit=100, run="run-big", state=State.FAILED),
        "page of 100, created in big run, last": lambda: page(
            PROJECT, limit=100, run="run-big", state=State.CREATED, after=end
        ),
        "500 tasks by uid": lambda: store.tasks.get_many(some),
        "outcomes of 500 tasks": lambda: store.outcomes.of_tasks(some),
        "count of tasks": lambda: store.tasks.count(PROJECT),
        "counts per model and state": lambda: store.outcomes.counts(PROJECT),
        "counts of the big run": lambda: store.outcomes.counts_of_run("run-big"),
        "counts of a small run": lambda: store.outcomes.counts_of_run("run-03"),
        "oldest pending": store.outcomes.oldest_pending_ms,
    }


async def measure(store: SqliteStore, tasks: int, heading: str) -> None:
    """Time the reads."""
    print(f"\n{heading:44} {'median':>10} {'worst':>10}   ms of {REPEATS}")
    for name, read in reads(store, tasks).items():
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            await read()
            times.append(1000 * (time.perf_counter() - start))
        print(f"{name:44} {statistics.median(times):10.2f} {max(times):10.2f}", flush=True)


async def write_on(store: SqliteStore, tasks: int) -> None:
    """Writes without end."""
    for at in count(tasks, BATCH):
        await _accept(store, [item(number, tasks) for number in range(at, at + BATCH)])


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


async def main(tasks: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="store-million-"))
    try:
        store = SqliteStore(folder / "store.db")
        await store.start()
        await fill(store, tasks)
        print(f"{'file':44} {_size(folder) / 2**20:10,.0f} MiB")
        await measure(store, tasks, "read alone")
        writing = asyncio.create_task(write_on(store, tasks))
        await measure(store, tasks, "read beside writes and a busy event loop")
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await store.stop()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
