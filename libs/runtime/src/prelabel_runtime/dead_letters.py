"""Records set aside: what is written to retry.<group> and deadletters.<group>, and how it is read back.

A record set aside keeps its key, value and headers byte for byte. One header is added that says where it stood, why
it was set aside and how often it was tried; on the way back that header is taken off again.
"""

from dataclasses import asdict, dataclass

import orjson
from prelabel_contract import names
from pydantic import TypeAdapter, ValidationError

from .bus.base import Message, Record

RETRY_HEADER = "prelabel-retry"
DEAD_LETTER_HEADER = "prelabel-dead-letter"


@dataclass(frozen=True, slots=True)
class Aside:
    """Why and where: the content of the added header."""

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    attempts: int
    at_ms: int
    not_before_ms: int = 0


_OURS = ("prelabel.retry.", "prelabel.deadletters.")
_ASIDE = TypeAdapter(Aside)


def for_retry(record: Record, group: str, aside: Aside) -> Message:
    """The record, to be read again by the same group no earlier than `aside.not_before_ms`."""
    return _set_aside(record, names.retry(group), RETRY_HEADER, aside)


def for_burial(record: Record, group: str, aside: Aside) -> Message:
    """The record, to be looked at by a person."""
    return _set_aside(record, names.dead_letters(group), DEAD_LETTER_HEADER, aside)


def read_aside(record: Record, header: str) -> Aside | None:
    """What the added header says; None if there is none or it is not ours.

    Only topics that we write ourselves are believed: anybody may put such a header on what they send.
    """
    if not record.topic.startswith(_OURS):
        return None
    for name, value in record.headers:
        if name == header:
            try:
                return _ASIDE.validate_json(value)
            except ValidationError:
                return None
    return None


def origin(record: Record) -> tuple[str, int, int, int]:
    """Topic, partition, offset and timestamp at which the record was first read."""
    aside = read_aside(record, RETRY_HEADER)
    if aside is None:
        return record.topic, record.partition, record.offset, record.timestamp_ms
    return aside.topic, aside.partition, aside.offset, aside.timestamp_ms


def _set_aside(record: Record, topic: str, header: str, aside: Aside) -> Message:
    kept = tuple(h for h in record.headers if h[0] not in (RETRY_HEADER, DEAD_LETTER_HEADER))
    return Message(topic, record.key, record.value, (*kept, (header, orjson.dumps(asdict(aside)))))
