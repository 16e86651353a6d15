"""What a task costs in each hop alone, on both sides: `python -m tests.benchmarks.hops` tells more."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.benchmarks.case import Case, Figure, Turn, Values
from tests.benchmarks.stage import Stage

UNIT = "CPU µs/task"
HOPS = {
    "upload": "split, parse, check, encode, publish",
    "dispatcher": "decode, hash, accept and request, encode, publish, commit",
    "other_lanes": "a look at each record by the two groups whose lane it is not",
    "inference": "decode, pack, align, encode, publish, commit; the model answers at once",
    "projection": "decode two events, rows, two upserts",
}
SIDES = {"sqlite": "on SQLite, all threads", "kafka": "on Kafka and a MongoDB-wire server, without those servers"}


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """A turn per side: every hop after the other, over what the hops before it have written."""

    def turn(side: str) -> Callable[[int], Values]:
        return lambda _: _measure(stage, side)

    yield [Turn(f"hops.{side}", turn(side)) for side in SIDES if stage.wants(f"hops.{side}")]


def _measure(stage: Stage, side: str) -> Values:
    from prelabel_runtime.process import event_loop

    from tests.benchmarks import hops

    with hops.on(side, stage.folder) as servers, asyncio.Runner(loop_factory=event_loop()) as runner:
        costs = runner.run(hops.measure(servers, max(2000, stage.sizes.texts), rounds=1))
    found = {name.replace(" ", "_"): cost for name, cost in costs.items()}
    own = {name: cost.loop + cost.others for name, cost in found.items()}
    stage.note(f"hops.{side}.servers", {name: cost.servers for name, cost in found.items()})
    stage.note_cpu(f"hops.{side}", {**own, "all": sum(own.values())})
    return {f"hops.{side}.{name}": cost for name, cost in own.items()}


CASE = Case(
    "hops",
    tuple(
        Figure(f"hops.{side}.{name}", UNIT, f"{what}: {where}")
        for side, where in SIDES.items()
        for name, what in HOPS.items()
    ),
    start,
    long=True,
)
