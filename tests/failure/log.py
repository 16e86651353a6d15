"""The raw topics, read without any of Prelabel's own code: what the checker judges must not be what reads it."""

import asyncio
import json
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


_NO_LENGTH = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record as it lies in the log; `topic` without the deployment's prefix."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    def header(self, name: str) -> str:
        """A header's text; empty where there is none."""
        return next((value.decode(errors="replace") for key, value in self.headers if key == name), "")

    @property
    def type(self) -> str:
        """The CloudEvents type, from the header."""
        return self.header("ce_type")

    @property
    def id(self) -> str:
        """The CloudEvents id, from the header."""
        return self.header("ce_id")

    @property
    def data(self) -> Mapping[str, Any]:
        """The value as JSON; empty where it is none."""
        try:
            value = json.loads(self.value or b"")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def read_log(bus: str, prefix: str = "") -> Sequence[LogRecord]:
    """Everything that is on a bus now, named as in PRELABEL_BUS; per partition in the order of its offsets."""
    scheme, _, rest = bus.partition("://")
    if scheme == "sqlite":
        return list(_sqlite(Path(rest[1:])))
    return asyncio.run(_kafka(rest.rstrip("/").split(","), prefix))


def _sqlite(path: Path) -> Iterator[LogRecord]:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        for number, topic in connection.execute("SELECT id, name FROM topics ORDER BY id").fetchall():
            chunks = connection.execute(f"SELECT base, count, body FROM log_{int(number)} ORDER BY base")  # noqa: S608
            for base, count, body in chunks:
                yield from _chunk(topic, base, count, body)
    finally:
        connection.close()


def _chunk(topic: str, base: int, count: int, body: bytes) -> Iterator[LogRecord]:
    """Three lengths per record (key, value, headers; little endian), then their bytes, record after record."""
    lengths = iter(struct.unpack_from(f"<{3 * count}I", body))
    at = 12 * count
    for index in range(count):
        parts: list[bytes | None] = []
        for length in (next(lengths), next(lengths), next(lengths)):
            taken = 0 if length == _NO_LENGTH else length
            parts.append(None if length == _NO_LENGTH else body[at : at + taken])
            at += taken
        flat = json.loads(parts[2]) if parts[2] else []
        headers = tuple((flat[i], flat[i + 1].encode("latin-1")) for i in range(0, len(flat), 2))
        yield LogRecord(topic, 0, base + index, parts[0], parts[1], headers)


async def _kafka(servers: Sequence[str], prefix: str) -> Sequence[LogRecord]:
    # Not needed, and perhaps not installed, where the bus is SQLite.
    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient

    places = await _partitions(servers, prefix)
    if not places:
        return []
    consumer = AIOKafkaConsumer(bootstrap_servers=list(servers), enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        found: list[LogRecord] = []
        left = {place for place in places if ends[place] > 0}
        while left:
            for place, records in (await consumer.getmany(timeout_ms=500, max_records=5000)).items():
                found += [
                    LogRecord(
                        place.topic.removeprefix(prefix), place.partition, r.offset, r.key, r.value, tuple(r.headers)
                    )
                    for r in records
                    if r.offset < ends[place]
                ]
            left = {place for place in left if await consumer.position(place) < ends[place]}
        return found
    finally:
        await consumer.stop()


async def _partitions(servers: Sequence[str], prefix: str) -> Sequence[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=list(servers))
    await admin.start()
    try:
        topics = [topic for topic in await admin.list_topics() if topic.startswith(f"{prefix}prelabel.")]
        return [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in await admin.describe_topics(topics)
            for partition in topic["partitions"]
        ]
    finally:
        await admin.close()
