"""Dead letters read: from a record in some group's dead letters to a row of the index.

A dead letter may be anything, that is why it is one. Whatever can be read of it is; nothing of it is believed to be of
the right kind, and nothing here fails on any bytes.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from prelabel_contract import names
from prelabel_contract.errors import FORBIDDEN_PROJECT
from prelabel_contract.events import DeadLetterResolved
from prelabel_runtime.bus.base import Headers, Record
from prelabel_runtime.dead_letters import DEAD_LETTER_HEADER, Aside, original_headers, read_aside
from prelabel_runtime.store.dead_letters import StoredLetter
from pydantic_core import from_json

WHOLE_BYTES = 16 << 10
"""Key, value and headers of a record that the index keeps whole; of a larger one it keeps a beginning."""
_BEGINNING = 4 << 10
_PROJECT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_TEXT_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Original:
    """A record as its sender wrote it, or the beginning of it."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    whole: bool

    def json(self) -> str:
        """For the index."""
        fields = {
            "key": _base64(self.key),
            "value": _base64(self.value),
            "headers": [[name, _base64(value)] for name, value in self.headers],
        }
        return orjson.dumps(fields).decode()

    @classmethod
    def read(cls, letter: StoredLetter) -> "Original":
        """From the index."""
        fields = orjson.loads(letter.record)
        headers = tuple((name, base64.b64decode(value)) for name, value in fields["headers"])
        return cls(_bytes(fields["key"]), _bytes(fields["value"]), headers, letter.whole)

    @classmethod
    def of(cls, record: Record, aside: Aside | None) -> "Original":
        """From a dead letter in the log."""
        whole = aside is None or not aside.cut_from
        return cls(record.key, record.value, original_headers(record), whole)


def is_dead_letters(topic: str) -> bool:
    """Whether a topic holds some group's dead letters."""
    try:
        return names.parse_topic(topic).kind == "deadletters"
    except ValueError:
        return False


def resolved(record: Record) -> tuple[str, int] | None:
    """The letter that a record says was handled after all, and when; None for a dead letter."""
    if any(name == DEAD_LETTER_HEADER for name, _ in record.headers):
        return None
    headers = dict(record.headers)
    if headers.get("ce_type") != DeadLetterResolved.TYPE.encode():
        return None
    said = _document(record.value)
    letter = said.get("letter")
    return (letter, record.timestamp_ms) if isinstance(letter, str) else None


def letter_of(record: Record) -> StoredLetter:
    """The row of a dead letter."""
    group = names.parse_topic(record.topic).parts["group"]
    aside = read_aside(record, DEAD_LETTER_HEADER)
    original = Original.of(record, aside)
    about = _about(original)
    if aside is not None and aside.reason == FORBIDDEN_PROJECT:
        about = {name: value for name, value in about.items() if name != "project"}
    kept = _kept(original)
    return StoredLetter(
        letter=names.letter_id(group, record.partition, record.offset),
        group=group,
        partition=record.partition,
        offset=record.offset,
        at_ms=aside.at_ms if aside is not None else record.timestamp_ms,
        reason=aside.reason if aside is not None else "unknown",
        detail=aside.detail if aside is not None else "the record does not say why it is here",
        topic=aside.topic if aside is not None else record.topic,
        origin_partition=aside.partition if aside is not None else record.partition,
        origin_offset=aside.offset if aside is not None else record.offset,
        origin_ms=aside.timestamp_ms if aside is not None else record.timestamp_ms,
        attempts=aside.attempts if aside is not None else 0,
        follows=(aside.letter or None) if aside is not None else None,
        project=about.get("project"),
        task=about.get("task"),
        type=about.get("type"),
        size=(aside.cut_from if aside is not None else 0) or len(record.value or b""),
        whole=kept.whole,
        record=kept.json(),
    )


def _kept(original: Original) -> Original:
    if _size(original) <= WHOLE_BYTES:
        return original
    headers: list[tuple[str, bytes]] = []
    room = _BEGINNING
    for name, value in original.headers:
        room -= len(name) + len(value)
        if room < 0:
            break
        headers.append((name, value))
    beginning = None if original.value is None else original.value[:_BEGINNING]
    key = None if original.key is None else original.key[:_BEGINNING]
    return Original(key, beginning, tuple(headers), whole=False)


def _size(original: Original) -> int:
    headers = sum(len(name) + len(value) for name, value in original.headers)
    return len(original.key or b"") + len(original.value or b"") + headers


def _about(original: Original) -> Mapping[str, str]:
    """Project, task and type, as far as the record says them."""
    headers = {name.lower(): value for name, value in original.headers}
    document = _document(original.value)
    kind: object = headers.get("ce_type", b"").decode(errors="replace")
    if headers.get("content-type", b"").lower().startswith(b"application/cloudevents"):
        kind, data = document.get("type"), document.get("data")
        document = data if isinstance(data, dict) else {}
    found = {"project": document.get("project"), "task": document.get("task"), "type": kind}
    known = {name: value for name, value in found.items() if isinstance(value, str) and 0 < len(value) <= _TEXT_LIMIT}
    if "project" in known and not _PROJECT.fullmatch(known["project"]):
        del known["project"]
    return {name: value.encode(errors="replace").decode() for name, value in known.items()}


def _document(value: bytes | None) -> Mapping[str, Any]:
    try:
        document = from_json(value or b"")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def parted(records: Sequence[Record]) -> tuple[list[StoredLetter], dict[str, int]]:
    """Dead letters, and the letters that were handled after all."""
    letters: list[StoredLetter] = []
    ends: dict[str, int] = {}
    for record in records:
        if (end := resolved(record)) is not None:
            ends[end[0]] = min(end[1], ends.get(end[0], end[1]))
        else:
            letters.append(letter_of(record))
    return letters, ends
