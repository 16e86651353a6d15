"""CloudEvents 1.0 over Kafka: binary mode out, binary and structured mode in.

Source: CloudEvents 1.0.2 and its Kafka protocol binding. In binary mode the attributes are headers `ce_*` and
the value is the data; a content-type that starts with application/cloudevents means structured mode: the
value is the whole event as JSON.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from . import names
from .base import READING
from .errors import InvalidEvent
from .events import EVENTS, Event, EventData

Headers = tuple[tuple[str, bytes], ...]

_JSON = ("content-type", b"application/json")
_SPEC = ("ce_specversion", b"1.0")
_NAMES = ("ce_specversion", "ce_type", "ce_source", "ce_id", "ce_time", "content-type")
"""The headers that `encode` writes, in its order."""
_EXTENSIONS = frozenset(names.LANE_HEADERS.values())
"""What it may write behind them."""
_LONGEST_TIME = 40
"""Characters of a time that is worth remembering: a sender may write any number."""
# Milliseconds are counted in whole numbers: through floats, some moments would come back one earlier.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode(event: Event[EventData]) -> tuple[Headers, bytes]:
    """Headers and value of an event, in binary mode. Fields that are null are left out."""
    data = event.data
    headers: Headers = (
        _SPEC,
        _header("ce_type", data.TYPE),
        _header("ce_source", event.source),
        ("ce_id", event.id.encode()),
        _time_header(event.time_ms),
        _JSON,
    )
    if (extension := data.extension) is not None:
        headers = (*headers, extension)
    return headers, data.__pydantic_serializer__.to_json(data, exclude_none=True)


@lru_cache(maxsize=256)  # there are few types and few sources
def _header(name: str, text: str) -> tuple[str, bytes]:
    return name, text.encode()


@lru_cache(maxsize=256)  # what is written together was made within few milliseconds
def _time_header(ms: int) -> tuple[str, bytes]:
    return "ce_time", _rfc3339(ms).encode()


def decode(
    headers: Iterable[tuple[str, bytes]],
    value: bytes | None,
    *,
    topic: str,
    key: bytes | None = None,
    offset: int = -1,
    types: Mapping[str, type[EventData]] = EVENTS,
) -> Event[EventData] | None:
    """The event in a record; None for a type this version does not know.

    Raises:
        InvalidEvent: no CloudEvent, a known type in an unknown major version, or data that does not fit its
        type.
    """
    if value is None:
        raise InvalidEvent("tombstone", "a record without a value is no event")
    headers = tuple(headers)
    data = value
    if (usual := _as_we_write(headers, types)) is not None:
        cls, source, event_id, time = usual
    else:
        attributes, data = _as_others_write(headers, value)
        known = _class_of(attributes, types)
        if known is None:
            return None
        if "dataref" in attributes:  # we write none, and fetch nothing from where somebody else tells us to
            raise InvalidEvent("dataref", "data behind a dataref is not fetched: send it in the event, or over HTTP")
        cls, source, event_id, time = known, attributes["source"], attributes["id"], attributes.get("time")
    try:
        fields = cls.__pydantic_validator__.validate_json(data, context=READING)
    except ValidationError as error:
        raise InvalidEvent.from_validation(error, what=cls.TYPE) from None
    return Event(
        fields,
        event_id,
        source,
        _milliseconds(time),
        topic,
        key.decode(errors="replace") if key is not None else "",
        offset,
    )


def _as_we_write(
    headers: Headers, types: Mapping[str, type[EventData]]
) -> tuple[type[EventData], str, str, str | None] | None:
    """Class, source, id and time of a record of a known type whose headers are those that `encode` writes: most are.

    There is no case to fold then, nothing to look for, and neither a dataref nor a structured mode. None for any other.
    """
    if len(headers) != len(_NAMES):
        if len(headers) != len(_NAMES) + 1 or headers[-1] not in _EXTENSIONS:
            return None
        headers = headers[:-1]
    (n1, version), (n2, kind), (n3, source), (n4, id_), (n5, time), (n6, content) = headers
    if (n1, n2, n3, n4, n5, n6) != _NAMES or content != _JSON[1] or version != _SPEC[1] or not id_ or not source:
        return None
    try:
        cls = types.get(kind.decode())
        return None if cls is None else (cls, source.decode(), id_.decode(), time.decode())
    except (AttributeError, UnicodeDecodeError):  # on the wire a header may be null
        return None


def _as_others_write(headers: Headers, value: bytes) -> tuple[dict[str, str], bytes]:
    """The attributes and the data in any mode and spelling."""
    known = {name.lower(): content for name, content in headers if content is not None}
    if known.get("content-type", b"").lower().startswith(b"application/cloudevents"):
        return _structured(value)
    return _binary(known), value


def _binary(headers: Mapping[str, bytes]) -> dict[str, str]:
    try:
        return {name[3:]: value.decode() for name, value in headers.items() if name.startswith("ce_")}
    except UnicodeDecodeError:
        raise InvalidEvent("not_a_cloudevent", "a ce_ header is not UTF-8") from None


def _structured(value: bytes) -> tuple[dict[str, str], bytes]:
    try:
        document = from_json(value, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidEvent("not_json", f"the value is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidEvent("not_a_cloudevent", "a structured CloudEvent is a JSON object")
    if "data_base64" in document:
        try:
            data = base64.b64decode(document["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise InvalidEvent("not_a_cloudevent", "data_base64 is not base64") from None
    else:
        data = to_json(document.get("data"))
    return {name: item for name, item in document.items() if isinstance(item, str)}, data


def _class_of(attributes: Mapping[str, str], types: Mapping[str, type[EventData]]) -> type[EventData] | None:
    if attributes.get("specversion") != "1.0":
        raise InvalidEvent("not_a_cloudevent", "specversion must be 1.0 (header ce_specversion, or in the JSON)")
    for name in ("id", "source", "type"):
        if not attributes.get(name):
            raise InvalidEvent("not_a_cloudevent", f"attribute {name!r} is missing")
    kind = attributes["type"]
    found = types.get(kind)
    if found is None and kind.rpartition(".v")[0] in _majors(tuple(types)):
        raise InvalidEvent("unknown_major_version", f"{kind} is of a major version that this release cannot read")
    return found


@lru_cache(maxsize=8)
def _majors(types: tuple[str, ...]) -> frozenset[str]:
    return frozenset(kind.rpartition(".v")[0] for kind in types)


def structured(event: Event[Any]) -> dict[str, Any]:
    """An event as one JSON document, for people and for HTTP."""
    return {
        "specversion": "1.0",
        "type": event.type,
        "source": event.source,
        "id": event.id,
        "time": _rfc3339(event.time_ms),
        "datacontenttype": "application/json",
        "data": event.data.model_dump(mode="json", exclude_none=True),
    }


def _rfc3339(ms: int) -> str:
    seconds, rest = divmod(ms, 1000)
    return f"{_to_the_second(seconds)}.{rest:03}Z"


@lru_cache(maxsize=64)  # what is written together was made within few seconds
def _to_the_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()


def _milliseconds(text: str | None) -> int:
    if not text:
        return 0
    return _moment(text) if len(text) <= _LONGEST_TIME else _moment.__wrapped__(text)


@lru_cache(maxsize=256)  # as in _time_header
def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEvent("not_a_cloudevent", "attribute 'time' is not an RFC 3339 time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)
