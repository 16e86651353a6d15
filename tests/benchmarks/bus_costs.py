"""What a record costs on a bus: `python -m tests.benchmarks.bus_costs [--bus URL] [--against FOLDER]` prints a table.

CPU microseconds per record, of the thread that runs the event loop, of this process's other threads, and of the broker.
Without --bus: the embedded one, in a temporary folder. With --against another checkout of this repository is measured,
too, in turn with this one, each time in a process of its own.
"""

import asyncio
import json
import uuid
from collections.abc import Collection, Sequence

from prelabel_runtime.bus.base import Bus, Committed, Consumer, Message, Partition, Record, TopicSpec
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.process import event_loop
from prelabel_runtime.run import open_bus
from prelabel_runtime.settings import RuntimeSettings

from tests.benchmarks.costs import Cost, compare, cost, parser, tell

_HEADERS = (
    ("ce_specversion", b"1.0"),
    ("ce_type", b"prelabel.prediction.requested.v1"),
    ("ce_source", b"/ingestion/dispatcher"),
    ("ce_time", b"2026-01-01T00:00:00.000Z"),
    ("content-type", b"application/json"),
)
_MODULE = "tests.benchmarks.bus_costs"
_CALL = 256


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
    costs = {"publish": await cost(lambda: _publish(bus, out), records, broker)}
    everything = records + _CALL
    costs["read"] = await cost(lambda: _consume(bus, source, f"{mine}-r", everything, None), everything, broker)
    costs["hop"] = await cost(lambda: _consume(bus, source, f"{mine}-h", everything, target), everything, broker)
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


async def _once(url: str, records: int, partitions: int, broker: int | None) -> None:
    settings = RuntimeSettings(bus=url)
    bus = open_bus(settings, SystemClock())
    await bus.start()
    try:
        costs = await measure(bus, records, partitions, broker)
    finally:
        await bus.stop()
    tell(costs)


def main() -> None:
    """Measure and print."""
    taken = parser(_MODULE)
    taken.add_argument("records", type=int, nargs="?", default=20_000)
    taken.add_argument("--partitions", type=int, default=12)
    taken.add_argument("--bus", default="", help="kafka://HOST:PORT or sqlite:///FILE")
    taken.add_argument("--broker", type=int, help="the broker's process, to measure it too")
    asked = taken.parse_args()
    if asked.once:
        with asyncio.Runner(loop_factory=event_loop()) as runner:
            runner.run(_once(asked.bus, asked.records, asked.partitions, asked.broker))
        return

    def words(file: str) -> list[str]:
        broker = ["--broker", str(asked.broker)] if asked.broker else []
        return [str(asked.records), "--bus", asked.bus or file, "--partitions", str(asked.partitions), *broker]

    compare(_MODULE, asked, words, "broker")


if __name__ == "__main__":
    main()
