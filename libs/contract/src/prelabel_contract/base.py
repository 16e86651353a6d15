"""What every model of the contract shares: frozen values that ignore fields they do not know.

Readers of today must read what is written tomorrow, so unknown fields are dropped, never refused. A border
that wants to catch a misspelt field (an HTTP body, a settings file) validates with `extra="forbid"` for that
one call.
"""

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationInfo,
)

READING: Mapping[str, bool] = {"reading": True}
"""Validation context for what is in a log or a store: its writer, perhaps of a later version, has checked it.

Checks of meaning (is this kind known? does this option have an effect?) are for doors and are left out then.
"""


def reading(info: ValidationInfo) -> bool:
    """A value from a log or a store is being read (`context=READING`), not taken in at a door."""
    return bool(info.context and info.context.get("reading"))


class Model(BaseModel):
    """A frozen value of the contract. NaN and infinities are refused: JSON has no word for them."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        ser_json_bytes="base64",
    )


def _encodable(text: str) -> str:
    text.encode()  # a lone surrogate cannot leave this process as UTF-8; UnicodeEncodeError is a ValueError
    return text


Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")]
"""A name people choose for a project, provider or model: 1-40 of a-z, 0-9 and inner hyphens."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_encodable)]
"""A short human-chosen text: a label, a question, a field, an annotator."""

TaskId = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_encodable)]
"""The caller's own id of a task, unique within a project."""

Score = Annotated[float, Field(ge=0, le=1)]
"""A model's confidence, 0 to 1. Missing is null, never 1."""

MAX_INT = 2**53 - 1
"""The largest whole number that JSON's readers agree on (RFC 8259, 6); it fits every store."""

Count = Annotated[int, Field(ge=0, le=MAX_INT)]
"""A whole number, 0 or more."""

Milliseconds = Count
"""Milliseconds since 1970-01-01T00:00:00Z."""


def _storable(value: JsonValue) -> JsonValue:
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            rest += item.values()
        elif isinstance(item, list):
            rest += item
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError("NaN and infinities are no JSON")
        elif isinstance(item, int) and not -(2**63) <= item < 2**63:
            raise ValueError("whole numbers must fit into 64 bits")
    return value


Json = Annotated[JsonValue, AfterValidator(_storable)]
"""Any JSON value with finite numbers and whole numbers of at most 64 bits: what every store can keep."""
