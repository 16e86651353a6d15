"""What a record costs on a bus: `python -m tests.benchmarks.bus_costs [--bus URL] [--against FOLDER]` prints a table.

CPU microseconds per record, of the thread that runs the event loop, of this process's other threads, and of the broker.
Without --bus: the embedded one, in a temporary folder. With --against another checkout of this repository is measured,
too, in turn with this one, each time in a process of its own.
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
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from prelabel_runtime.bus.base import Bus, Committed, Consumer, Message, Partition, Record, TopicSpec
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.process import event_loop
from prelabel_runtime.run import open_bus
from prelabel_runtime.settings import RuntimeSettings
from rich.console import Console
from rich.table import Table

from tests.benchmarks.processes import cpu_seconds

_HEADERS = (
    ("ce_specversion", b"1.0"),
    ("ce_type", b"prelabel.prediction.requested.v1"),
    ("ce_source", b"/ingestion/dispatcher"),
    ("ce_time", b"2026-01-01T00:00:00.000Z"),
    ("content-type", b"application/json"),
)
_CODE = ("libs/contract/src", "libs/runtime/src", ".")
_CALL = 256


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds per record."""

    loop: float
    others: float
    broker: float


def messages(topic: str, count: int) -> list[Message]:
    """Records of about 450 bytes and six headers, as the services write them."""
    found = []
    for number in range(count):
        uid = str(uuid.uuid4())
        value = json.dumps({"task": uid, "project": "bench", "n": number, "data": {"text": f"words {uid} " * 7}})
        headers = (*_HEADERS, ("ce_id", uid.encode()))
        found.append(Message(topic, uid.encode(), value.encode(), headers))
    return found


async def measure(bus: Bus, records: int, partitions: int, broker: int | None) -> dict[str, Cost]:
    """Publishing, reading, and reading, publishing and committing, as a hop does it."""
    mine = uuid.uuid4().hex[:8]
    source, target = f"bench-{mine}-a", f"bench-{mine}-b"
    await bus.provision([TopicSpec(name, partitions) for name in (source, target)])
    out = messages(source, records)
    await bus.publish(out[:_CALL])
    costs = {"publish": await _cost(lambda: _publish(bus, out), records, broker)}
    everything = records + _CALL
    costs["read"] = await _cost(lambda: _consume(bus, source, f"{mine}-r", everything, None), everything, broker)
    costs["hop"] = await _cost(lambda: _consume(bus, source, f"{mine}-h", everything, target), everything, broker)
    return costs


async def _publish(bus: Bus, out: Sequence[Message]) -> None:
    for at in range(0, len(out), _CALL):
        await bus.publish(out[at : at + _CALL])


async def _consume(bus: Bus, topic: str, group: str, records: int, target: str | None) -> None:
    """With a target: each record goes there, and is committed with it."""

    async def nothing(_: Collection[Partition]) -> None:
        return

    consumer = bus.consumer((topic,), group=group)
    await consumer.start(on_assign=nothing, on_revoke=nothing)
    left = records
    while left > 0:
        batch = await consumer.poll(_CALL, 1.0)
        left -= len(batch)
        if target is not None and batch:
            await _pass_on(bus, consumer, target, batch)
    await consumer.stop()


async def _pass_on(bus: Bus, consumer: Consumer, target: str, batch: Sequence[Record]) -> None:
    offsets = {record.place: Committed(record.offset + 1) for record in batch}
    out = [Message(target, record.key, record.value, record.headers) for record in batch]
    await consumer.complete(bus, out, offsets)


async def _cost(work: Callable[[], Awaitable[None]], records: int, broker: int | None) -> Cost:
    served = cpu_seconds(broker) if broker else 0.0
    thread, process = time.thread_time(), time.process_time()
    await work()
    thread, process = time.thread_time() - thread, time.process_time() - process
    served = cpu_seconds(broker) - served if broker else 0.0
    return Cost(*(round(part / records * 1e6, 2) for part in (thread, process - thread, served)))


async def _once(url: str, records: int, partitions: int, broker: int | None) -> None:
    settings = RuntimeSettings(bus=url)
    bus = open_bus(settings, SystemClock())
    await bus.start()
    try:
        costs = await measure(bus, records, partitions, broker)
    finally:
        await bus.stop()
    print(json.dumps({name: (cost.loop, cost.others, cost.broker) for name, cost in costs.items()}))


def _run(checkout: Path, words: Sequence[str]) -> dict[str, Cost]:
    """One round in a process of its own, with the code of a checkout."""
    here = Path(__file__).resolve().parents[2]
    path = [str(checkout / part) for part in _CODE[:-1]] + [str(here)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bus_costs", "--once", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return {name: Cost(*cost) for name, cost in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bus_costs")
    parser.add_argument("records", type=int, nargs="?", default=20_000)
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--bus", default="", help="kafka://HOST:PORT or sqlite:///FILE")
    parser.add_argument("--broker", type=int, help="the broker's process, to measure it too")
    parser.add_argument("--against", type=Path, help="another checkout, measured in turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        with asyncio.Runner(loop_factory=event_loop()) as runner:
            runner.run(_once(asked.bus, asked.records, asked.partitions, asked.broker))
        return
    checkouts = {"here": Path(__file__).resolve().parents[2]}
    if asked.against:
        checkouts["against"] = asked.against.resolve()
    rounds: dict[str, list[dict[str, Cost]]] = {name: [] for name in checkouts}
    for number in range(asked.rounds):
        for name, checkout in checkouts.items():
            with tempfile.TemporaryDirectory(prefix="prelabel-bus-") as folder:
                url = asked.bus or f"sqlite:///{folder}/{number}.db"
                words = [str(asked.records), "--bus", url, "--partitions", str(asked.partitions)]
                words += ["--broker", str(asked.broker)] if asked.broker else []
                rounds[name].append(_run(checkout, words))
    Console().print(_table(rounds))


def _table(rounds: dict[str, list[dict[str, Cost]]]) -> Table:
    shown = Table(title="CPU µs per record, medians", title_justify="left")
    for column in ("what", "code", "event loop", "other threads", "broker"):
        shown.add_column(column, justify="left" if column in ("what", "code") else "right")
    for what in next(iter(rounds.values()))[0]:
        for name, some in rounds.items():
            parts = [
                statistics.median(getattr(one[what], part) for one in some) for part in ("loop", "others", "broker")
            ]
            shown.add_row(what, name, *(f"{part:,.1f}" for part in parts))
    return shown


if __name__ == "__main__":
    main()
