"""What every model of the contract shares: frozen values that ignore fields they do not know.

Readers of today must read what is written tomorrow, so unknown fields are dropped, never refused. A border that
wants to catch a misspelt field (an HTTP body, a settings file) validates with `extra="forbid"` for that one call.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints



class Model(BaseModel):
    """A frozen value of the contract. NaN and infinities are refused: JSON has no word for them."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True, ser_json_bytes="base64"
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

Milliseconds = Annotated[int, Field(ge=0)]
"""Milliseconds since 1970-01-01T00:00:00Z."""
