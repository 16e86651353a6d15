"""What a training's process and its parent say to each other: lines of JSON over one socket pair, and a job's file.

The child says `Known` first, unasked; with a job then `Stepped`, as often as it likes, and one of `Made`, `Refused` and
`Raised` at the end. The parent says nothing but until when the child may go on (`Until`), again and again.
"""

from typing import Any

import msgspec
from prelabel_contract.base import Model
from prelabel_contract.projects import Question
from pydantic import Field, JsonValue

LEASE_OVER = 78
"""Exit code: nobody said that it may go on."""
MOST_BYTES = 4 << 20
"""Of a line."""


class Known(msgspec.Struct, frozen=True, tag="known"):
    """What a provider's trainer says about itself."""

    package: str
    """Version of its package."""
    kinds: list[str]
    """Of region, that it learns from."""
    writes: list[str]
    """Files that its artifacts may have."""
    sources: list[str]
    """The provider's settings that say which model is loaded."""
    settings_schema: dict[str, Any]
    """JSON Schema of one training's settings."""


class Stepped(msgspec.Struct, frozen=True, tag="stepped"):
    """How far it is. Numbers that are none are null."""

    step: int
    steps: int
    loss: float | None = None
    score: float | None = None
    seconds_left: float | None = None


class Made(msgspec.Struct, frozen=True, tag="made"):
    """The files are written."""

    files: list[str]
    metrics: dict[str, float | None]
    libraries: dict[str, str]


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """There is no model in these examples."""

    reason: str
    detail: str


class Raised(msgspec.Struct, frozen=True, tag="raised"):
    """The trainer has a defect, or its environment."""

    error: str
    """The exception's type: its text may quote an example."""


class Until(msgspec.Struct, frozen=True):
    """It may go on until then, by the machine's monotonic clock, in seconds."""

    until: float


Word = Known | Stepped | Made | Refused | Raised

_words: msgspec.json.Decoder[Word] = msgspec.json.Decoder(Word)
_until = msgspec.json.Decoder(Until)


class JobFile(Model):
    """A job, for another process: `trainer.Job`, whose examples lie in a file of their own."""

    examples: str
    """Path of the examples, as a workspace has them."""
    label_set: tuple[Question, ...]
    folder: str
    """Path of the folder for the artifact's files."""
    seed: int
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    base: str | None = None
    """Path of the files that are trained further."""
    base_settings: dict[str, JsonValue] | None = None
    """Settings of the model that is trained further, where there is no `base`."""
    threads: int = 1


def line(word: Word | Until) -> bytes:
    """A word, as it travels."""
    return msgspec.json.encode(word) + b"\n"


def word(said: bytes) -> Word:
    """A word of the child. Raises `msgspec.DecodeError`."""
    return _words.decode(said)


def until(said: bytes) -> float:
    """Until when the child may go on. Raises `msgspec.DecodeError`."""
    return _until.decode(said).until
