"""What a task costs in each hop alone, on the embedded bus and store: `python -m tests.benchmarks.hops` tells more."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.case import Case, Figure, Turn, Values
from tests.benchmarks.stage import Stage

HOPS = {
    "upload": "split, parse, check, encode, publish",
    "dispatcher": "decode, hash, accept and request, encode, publish, commit",
    "other lanes": "a look at each record by the two groups whose lane it is not",
    "inference": "decode, pack, align, encode, publish, commit; the model answers at once",
    "projection": "decode two events, rows, two upserts",
}


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """One turn: every hop after the other."""

    def measure(_: int) -> Values:
        from tests.benchmarks import hops

        with tempfile.TemporaryDirectory(prefix="hops-", dir=stage.folder) as folder:
            costs = asyncio.run(hops.measure(hops.embedded(Path(folder)), max(2000, stage.sizes.texts), rounds=1))
        return {f"hops.{name}": cost.loop + cost.others for name, cost in costs.items()}

    yield [Turn("hops", measure)] if any(stage.wants(f"hops.{name}") for name in HOPS) else []


CASE = Case(
    "hops",
    tuple(Figure(f"hops.{name}", "CPU µs per task", f"{what}, on SQLite, all threads") for name, what in HOPS.items()),
    start,
)
