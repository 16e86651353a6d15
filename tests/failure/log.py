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
    from tests.failure.log_kafka import read_kafka  # its driver is not installed for the demo on SQLite

    return asyncio.run(read_kafka(rest.rstrip("/").split(","), prefix))


def _sqlite(path: Path) -> Iterator[LogRecord]:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=60)
    try:
        connection.execute("BEGIN")  # all topics at one moment
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
