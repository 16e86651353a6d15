"""Records set aside: what is written to retry.<group> and deadletters.<group>, and how it is read back.

A record set aside keeps its key, value and headers byte for byte. One header is added that says where it stood, why
it was set aside and how often it was tried; on the way back that header is taken off again. Only a record so large that
nothing can be added to it is cut: a broker may take more from upstream systems than it would take from us with a header
more. Its header says so, and where the whole of it stands.
"""

from dataclasses import asdict, dataclass, replace

import orjson
from prelabel_contract import names
from pydantic import TypeAdapter, ValidationError

from .bus.base import Headers, Message, Record

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
    cut_from: int = 0
    """Bytes of the value where it had to be cut; 0: it is whole."""
    letter: str = ""
    """The dead letter that this is a replay of; empty: of none."""


MAX_BYTES = 980_000
"""Of a record that can be set aside whole: what every bus takes (1,000,000), less the header that is added."""

_ASIDE = TypeAdapter(Aside)


def for_retry(record: Record, group: str, aside: Aside) -> Message:
    """The record, to be read again by the same group no earlier than `aside.not_before_ms`."""
    return _set_aside(record, names.retry(group), RETRY_HEADER, aside)


def for_burial(record: Record, group: str, aside: Aside) -> Message:
    """The record, to be looked at by a person."""
    return _set_aside(record, names.dead_letters(group), DEAD_LETTER_HEADER, aside)


def for_replay(letter: Record, group: str, aside: Aside) -> Message:
    """A dead letter, to be read again by the group that gave it up. Raises ValueError for one that had to be cut."""
    whole = letter._replace(headers=original_headers(letter))
    if not fits(whole):
        raise ValueError("a record so large cannot be read again")
    return _set_aside(whole, names.retry(group), RETRY_HEADER, aside)


def original_headers(record: Record) -> Headers:
    """The headers as their sender wrote them."""
    return tuple(h for h in record.headers if h[0] not in (RETRY_HEADER, DEAD_LETTER_HEADER))


def read_aside(record: Record, header: str) -> Aside | None:
    """What the added header says; None if there is none or it is not ours.

    Only topics that we write ourselves are believed: anybody may put such a header on what they send.
    """
    if not names.holds_set_aside(record.topic):
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


def fits(record: Record) -> bool:
    """Whether it can be set aside whole."""
    return _size(record) <= MAX_BYTES


def _set_aside(record: Record, topic: str, header: str, aside: Aside) -> Message:
    kept = original_headers(record)
    value = record.value
    if not fits(record):
        room = max(0, MAX_BYTES - (_size(record) - len(value or b"")))
        kept = kept if room else ()
        aside = replace(aside, cut_from=len(value or b""))
        value = (value or b"")[: room or MAX_BYTES // 2]
    return Message(topic, record.key, value, (*kept, (header, orjson.dumps(asdict(aside)))))


def _size(record: Record) -> int:
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers
