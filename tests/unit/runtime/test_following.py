"""Following every topic of a kind, those that come later included."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest_asyncio
from prelabel_contract import names
from prelabel_runtime.bus.base import Message, Record, TopicSpec
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.following import Following
from prelabel_runtime.metrics import Metrics

from .scene import open_bus, until


class Seen:
    """A handler that remembers values, and fails as it is told to."""

    def __init__(self) -> None:
        self.values: list[bytes | None] = []
        self.errors: list[Exception] = []

    async def __call__(self, records: Sequence[Record]) -> None:
        if self.errors:
            raise self.errors.pop()
        self.values += [record.value for record in records]


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    async with open_bus(tmp_path) as bus:
        yield bus


def following(bus: SqliteBus, seen: Seen) -> Following:
    return Following(
        bus,
        group="letters",
        wanted=lambda topic: topic.startswith("prelabel.deadletters."),
        handle=seen,
        clock=SystemClock(),
        metrics=Metrics(),
        rng=random.Random(1),
        look_seconds=0.05,
    )


async def write(bus: SqliteBus, group: str, *values: bytes | None) -> None:
    topic = names.dead_letters(group)
    await bus.provision([TopicSpec(topic, partitions=1)])
    await bus.publish([Message(topic, None, value) for value in values])


async def test_topics_that_come_later_are_read_too(bus: SqliteBus) -> None:
    seen = Seen()
    await write(bus, "dispatcher", b"1", None, b"\xff")
    task = asyncio.create_task(following(bus, seen).run())
    await until(lambda: seen.values == [b"1", None, b"\xff"])
    await write(bus, "inference-echo-bulk", b"2")
    await until(lambda: b"2" in seen.values)
    task.cancel()
    # The next one goes on where this one was; what was taken and not yet committed it may read again.
    await write(bus, "dispatcher", b"3")
    again = Seen()
    await asyncio.wait({task})
    task = asyncio.create_task(following(bus, again).run())
    await until(lambda: b"3" in again.values)
    assert not {b"1", None, b"\xff"} & set(again.values)
    task.cancel()
    await asyncio.wait({task})


async def test_what_fails_is_read_again(bus: SqliteBus) -> None:
    seen = Seen()
    seen.errors = [ValueError("a defect"), Unavailable("the store")]
    await write(bus, "dispatcher", b"1")
    task = asyncio.create_task(following(bus, seen).run())
    await until(lambda: seen.values == [b"1"])
    task.cancel()
    await asyncio.wait({task})
