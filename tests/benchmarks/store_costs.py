"""What a task costs in a store: `python -m tests.benchmarks.store_costs [--store URL] [--against FOLDER]`.

CPU microseconds per task, of this process's event loop, of its other threads and of the server: written as the
projection writes it (the task, its line and the outcome it waits for, then the outcome), and a look at how far its run
is, in microseconds of each look. Without --store: the embedded one.
"""

import asyncio
import json
import time
import uuid
from dataclasses import replace

from prelabel_runtime.clock import SystemClock
from prelabel_runtime.process import event_loop
from prelabel_runtime.run import open_store
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.store.base import State, Store, StoredLine, StoredOutcome, StoredTask

from tests.benchmarks.costs import Cost, compare, cost, parser, tell

_MODULE = "tests.benchmarks.store_costs"
_LOOKS = 5
_BODY = json.dumps({"data": {"text": "Raises OSError when os.replace cannot move the file. " * 3}, "meta": {}})
_REGIONS = json.dumps({"regions": [{"kind": "span", "start": 7, "end": 14, "labels": ["TYPE"], "text": "OSError"}]})


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
        "accepted": await cost(accept, tasks, server),
        "ended": await cost(end, tasks, server),
        "a look at the run": await cost(look, _LOOKS, server),
    }


async def _once(url: str, tasks: int, batch: int, server: int | None) -> None:
    store = open_store(RuntimeSettings(store=url), SystemClock())
    await store.start()
    try:
        costs = await measure(store, tasks, batch, server)
    finally:
        await store.stop()
    tell(costs)


def main() -> None:
    """Measure and print."""
    taken = parser(_MODULE)
    taken.add_argument("tasks", type=int, nargs="?", default=5_000)
    taken.add_argument("--batch", type=int, default=250)
    taken.add_argument("--store", default="", help="mongodb://HOST:PORT/NAME or sqlite:///FILE")
    taken.add_argument("--server", type=int, help="the server's process, to measure it too")
    asked = taken.parse_args()
    if asked.once:
        with asyncio.Runner(loop_factory=event_loop()) as runner:
            runner.run(_once(asked.store, asked.tasks, asked.batch, asked.server))
        return

    def words(file: str) -> list[str]:
        server = ["--server", str(asked.server)] if asked.server else []
        return [str(asked.tasks), "--batch", str(asked.batch), "--store", asked.store or file, *server]

    compare(_MODULE, asked, words, "server")


if __name__ == "__main__":
    main()
