"""What a model worker and its parent say to each other: MessagePack frames over one socket pair.

A frame is its length (4 bytes, big endian) and that many bytes of MessagePack. The parent asks, the child
answers, one question at a time; the child's first frame, unasked, is `Ready` or `Broken`. Regions travel as
the JSON that the contract dumps, so that nobody unpickles anything and another environment's versions
cannot leak objects into ours.
"""

import struct
from typing import Any

import msgspec

PROTOCOL = 1
"""Both sides must speak the same."""

MAX_FRAME = 1 << 30
"""Bytes. A longer frame is garbage, not an answer."""

_LENGTH = struct.Struct(">I")
LENGTH_BYTES = _LENGTH.size


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load a model and keep it under `key`."""

    key: str
    settings: bytes
    """JSON."""


class Unload(msgspec.Struct, frozen=True, tag="unload"):
    """Forget a model."""

    key: str


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One input."""

    task: str
    data: dict[str, Any]
    field: str


class Predict(msgspec.Struct, frozen=True, tag="predict"):
    """Predict a batch."""

    key: str
    items: list[Item]


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker runs, and what its provider is."""

    protocol: int
    package: str
    kinds: list[str]
    settings_schema: bytes
    """JSON."""


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """The worker cannot work, in one line."""

    detail: str


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """A model is there."""

    version: str
    kinds: list[str]
    labels: dict[str, list[str]]


class NotLoaded(msgspec.Struct, frozen=True, tag="not_loaded"):
    """No model under that key: load it first."""


class Unloaded(msgspec.Struct, frozen=True, tag="unloaded"):
    """The model is forgotten."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """`BadSettings`."""

    detail: str


class Raised(msgspec.Struct, frozen=True, tag="raised"):
    """The provider raised: a defect of it. Its type only: messages quote what they choke on."""

    error: str


class NoAnswer(msgspec.Struct, frozen=True, array_like=True):
    """`Failed`, for one input."""

    reason: str
    detail: str


class Answers(msgspec.Struct, frozen=True, tag="answers"):
    """A batch's answers: regions as JSON, or why there are none."""

    items: list[bytes | NoAnswer]


Question = Load | Unload | Predict
Answer = Ready | Broken | Loaded | NotLoaded | Unloaded | Refused | Raised | Answers

_encoder = msgspec.msgpack.Encoder()
_questions: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


class Garbage(Exception):
    """These bytes are no frame of ours."""


def pack(message: Question | Answer) -> bytes:
    """A whole frame. Raises OverflowError, ValueError, TypeError or RecursionError for what cannot travel."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME:
        raise OverflowError(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


def body_length(head: bytes) -> int:
    """How many bytes follow the first four. Raises `Garbage`."""
    (length,) = _LENGTH.unpack(head)
    if length > MAX_FRAME:
        raise Garbage(f"a frame of {length} bytes is over the limit of {MAX_FRAME}")
    return int(length)


def unpack_question(body: bytes) -> Question:
    """What the parent asks. Raises `Garbage`."""
    try:
        return _questions.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Garbage(str(error)) from error


def unpack_answer(body: bytes) -> Answer:
    """What the child answers. Raises `Garbage`."""
    try:
        return _answers.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Garbage(str(error)) from error
