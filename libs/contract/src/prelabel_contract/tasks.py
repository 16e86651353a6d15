"""A task: data to label."""

from typing import Annotated

import orjson
from pydantic import Field, ValidationInfo, field_validator

from .base import Json, Model, Name, NotEmpty, TaskId
from .limits import MAX_BLOB_BYTES, MAX_META_BYTES


class Task(Model):
    """What a caller hands in: data under named fields, as in Label Studio, and a little meta."""

    id: TaskId | None = None
    """The caller's own id. Sent again, the same content changes nothing; other content is a new revision."""
    data: Annotated[dict[Name, Json], NotEmpty()]
    meta: dict[str, Json] = Field(default_factory=dict)
    """Comes back in every event and webhook."""

    @field_validator("data", "meta")
    @classmethod
    def _size(cls, value: dict[str, Json], info: ValidationInfo) -> dict[str, Json]:
        if not value:
            return value
        size, limit = json_size(value), MAX_BLOB_BYTES if info.field_name == "data" else MAX_META_BYTES
        if size > limit:
            raise ValueError(f"{info.field_name} is {size} bytes as JSON, the limit is {limit}")
        return value


def json_size(value: object) -> int:
    """Bytes of a value as JSON. Raises ValueError for what JSON in UTF-8 cannot hold."""
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from error
