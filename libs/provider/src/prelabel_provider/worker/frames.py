"""What a model worker and its parent say to each other: MessagePack frames over one socket pair.

A frame is its length (4 bytes, big endian) and that many bytes of MessagePack. The child's first frame, unasked, is
`Ready` or `Broken`. From then on the parent asks as much as it likes: a question has an id, and what the child says to
it names that id. The child does one thing at a time and tells when it begins, so that the parent knows what it was at
when it dies or hangs:

    Load     Began(no places), then Loaded, Refused or Raised
    Predict  Began(no places), and Loaded or what keeps it from being loaded, if the model is not there; then for some
             of the items after others, until it was each one's turn: Began(places), then Answers or Raised
    Unload   Unloaded
    Forget   nothing: what the question asks has not begun, and never will

Regions travel as the JSON that the contract dumps, so that nobody unpickles anything and another environment's
versions cannot leak objects into ours.
"""

import struct
from typing import Any

import msgspec

PROTOCOL = 2
"""Both sides must speak the same."""

MAX_FRAME = 1 << 30
"""Bytes. A longer frame is garbage, not an answer."""

_LENGTH = struct.Struct(">I")
LENGTH_BYTES = _LENGTH.size


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load a model and keep it under `key`."""

    id: int
    key: str
    settings: bytes
    """JSON."""
    urgency: int = 0
    """Lower goes first; equals in the order in which they came."""


class Unload(msgspec.Struct, frozen=True, tag="unload"):
    """Forget a model."""

    id: int
    key: str


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One input."""

    task: str
    data: dict[str, Any]
    field: str


class Predict(msgspec.Struct, frozen=True, tag="predict"):
    """Predict a batch, in as many calls of the model as it likes to have."""

    id: int
    key: str
    settings: bytes
    """JSON: to load the model if others have pushed it out."""
    items: list[Item]
    urgency: int = 0
    most: int = 0
    """At most so many items in one call of the model; 0: as it likes."""


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """Nobody waits for the answers any more."""

    id: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker runs, and what its provider is."""

    protocol: int
    package: str
    kinds: list[str]
    settings_schema: bytes
    """JSON."""
    writes: list[str] = []
    """What files a trained version may have (`trainer.Trainer.writes`); none: no trainer that could be loaded."""
    sources: list[str] = []
    """Settings in whose place a trained version's `path` comes (`trainer.Trainer.source_settings`)."""


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """The worker cannot work, in one line."""

    detail: str


class Began(msgspec.Struct, frozen=True, tag="began"):
    """The model gets these items now; none: it is being loaded."""

    id: int
    places: list[int]
    idle: float = 0.0
    """Seconds for which the worker had nothing to do before."""


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """A model is there."""

    id: int
    version: str
    kinds: list[str]
    labels: dict[str, list[str]]
    runs_on: str = ""
    held: list[str] = []
    """Keys of all models that are loaded now, least recently used first; it changes by loading only."""


class Unloaded(msgspec.Struct, frozen=True, tag="unloaded"):
    """The model is forgotten."""

    id: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """`BadSettings`."""

    id: int
    detail: str


class Raised(msgspec.Struct, frozen=True, tag="raised"):
    """The provider raised at what was begun: a defect of it.

    Where it was given inputs, its type only: messages quote what they choke on.
    """

    id: int
    error: str


class NoAnswer(msgspec.Struct, frozen=True, array_like=True):
    """`Failed`, for one input."""

    reason: str
    detail: str


class Answers(msgspec.Struct, frozen=True, tag="answers", omit_defaults=True):
    """To the items that were begun: regions as JSON, or why there are none."""

    id: int
    items: list[bytes | NoAnswer]
    busy: float = 0.0
    """Seconds that the model took."""
    uncertainties: list[float | None] = []
    """Of each item, where the provider gives any; else nothing travels."""


Question = Load | Unload | Predict | Forget
Answer = Began | Loaded | Unloaded | Refused | Raised | Answers
Word = Ready | Broken | Answer
"""Anything that a child says."""

_encoder = msgspec.msgpack.Encoder()
_questions: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_words: msgspec.msgpack.Decoder[Word] = msgspec.msgpack.Decoder(Word)


class Garbage(Exception):
    """These bytes are no frame of ours."""


def pack(message: Question | Word) -> bytes:
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


def unpack_word(body: bytes) -> Word:
    """What the child says. Raises `Garbage`."""
    try:
        return _words.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Garbage(str(error)) from error
