"""What a request weighs: with the data that it names, which lies in the blob store, and not only what it holds.

Looked at before it is decoded, for each request: one search through its bytes for the usual one, which names nothing.
"""

import msgspec
from prelabel_runtime.bus.base import Record

LARGE = 1_000_000
"""Bytes. A request of more is a batch by itself: others need not wait for its answer."""
_NAMES_SOMETHING = b'"blobs":{"'
"""As `cloudevents.encode` writes it. Within a text of JSON these quotes would be escaped."""


class _Ref(msgspec.Struct):
    bytes: int


class _Request(msgspec.Struct):
    blobs: dict[str, _Ref] = {}


_requests = msgspec.json.Decoder(_Request)


def weight(record: Record) -> int:
    """Bytes that a request and its data have; of what is no request, those that it has itself."""
    value = record.value or b""
    if _NAMES_SOMETHING not in value:
        return len(value)
    try:
        named = _requests.decode(value).blobs.values()
    except (msgspec.DecodeError, UnicodeDecodeError):  # decoding it properly says what is wrong with it
        return len(value)
    return len(value) + sum(max(0, ref.bytes) for ref in named)
