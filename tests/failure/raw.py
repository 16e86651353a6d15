"""Writing records to a topic past every door, as an upstream system would, good ones and bad ones."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer
from prelabel_runtime.bus.base import Message
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock

from tests.rig.processes import ALL_IN_ONE, Prelabel

Headers = tuple[tuple[str, bytes], ...]
Raw = tuple[Headers, bytes]


async def write_raw(prelabel: Prelabel, topic: str, records: Sequence[Raw]) -> None:
    """Write records in order. The embedded log has one owner, so all in one is stopped and started for it."""
    if prelabel.bus.startswith("sqlite:"):
        await asyncio.to_thread(prelabel.terminate, ALL_IN_ONE)
        bus = SqliteBus(Path(prelabel.bus.removeprefix("sqlite:///")), clock=SystemClock())
        await bus.start()
        try:
            await bus.publish([Message(topic, None, value, headers) for headers, value in records])
        finally:
            await bus.stop()
        await asyncio.to_thread(prelabel.restart, ALL_IN_ONE)
        return
    producer = AIOKafkaProducer(bootstrap_servers=prelabel.bus.removeprefix("kafka://"))
    await producer.start()
    try:
        for headers, value in records:
            await producer.send(prelabel.prefix + topic, value, headers=list(headers))
        await producer.flush()
    finally:
        await producer.stop()
