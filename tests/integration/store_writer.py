"""A process that writes to a store until it is killed, and says which writes returned.

Arguments: path of the SQLite file, names' mark. Prints the numbers of each batch once it is acknowledged.
"""

import asyncio
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from prelabel_runtime.store.base import State, Store
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import outcome, task

BATCH = 20
AT_ONCE = 8


async def write_on(store: Store, mark: str, numbers: Iterator[int]) -> None:
    """Batches without end: tasks, and outcomes that were pending a moment before."""
    while True:
        batch = [next(numbers) for _ in range(BATCH)]
        uids = [f"{mark}-{number}" for number in batch]
        pending = [outcome(mark, uid, f"r-{uid}", run=mark) for uid in uids]
        await store.tasks.put([task(mark, uid, run=mark) for uid in uids])
        await store.outcomes.put(pending)
        await store.outcomes.put(
            [outcome(mark, uid, f"r-{uid}", state=State.CREATED, at_ms=1, run=mark) for uid in uids]
        )
        print(*batch, flush=True)


async def _main(path: Path, mark: str) -> None:
    store = SqliteStore(path)
    await store.start()
    numbers = count()
    await asyncio.gather(*(write_on(store, mark, numbers) for _ in range(AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2]))
