"""What is too large for an event: kept in the blob store, and named in the event by its hash.

A field of a task that does not fit stands in `data` as null, and in `blobs` under its name with hash, size and the
beginning of its text. Where it lies follows from the event: <project>/<task uid>/<sha256>, so no reference can lead
anywhere else. Whoever needs the field reads it there and checks both hash and size.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import Field, StringConstraints

from .base import Model
from .limits import MAX_BLOB_BYTES, MAX_BLOBS, MAX_DATA_BYTES

PREVIEW_CHARACTERS = 200

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class BlobRef(Model):
    """A JSON value that is kept in the blob store."""

    sha256: Sha256
    """Of the value as JSON, as it is stored."""
    bytes: Annotated[int, Field(ge=0, le=MAX_BLOB_BYTES)]
    """Its size, stored."""
    preview: str = ""
    """The first characters, if it is a text."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A JSON value, encoded, with its reference."""

    ref: BlobRef
    content: bytes


def blob_of(value: Any) -> Blob:
    """A value as it is stored: one value has one encoding, whatever order its keys came in."""
    content = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    preview = value[:PREVIEW_CHARACTERS] if isinstance(value, str) else ""
    return Blob(BlobRef(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), preview=preview), content)


def split(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Blob]]:
    """The data as it travels, and the fields that are kept beside: none if it fits, else the largest ones.

    The same data is always split the same way. Raises ValueError if it is too much in too many fields.
    """
    left = len(orjson.dumps(data))
    if left <= MAX_DATA_BYTES:
        return dict(data), {}
    sizes = {name: len(orjson.dumps(value)) for name, value in data.items()}
    moved: dict[str, Blob] = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        if left <= MAX_DATA_BYTES // 2:  # what names the others has room too
            break
        if len(moved) == MAX_BLOBS:
            raise ValueError(f"the {MAX_BLOBS} largest fields can be kept apart, and the others are still too large")
        moved[name] = blob_of(data[name])
        left -= sizes[name]
    return {name: None if name in moved else value for name, value in data.items()}, moved


def hashed(data: Mapping[str, Any], refs: Mapping[str, BlobRef]) -> dict[str, Any]:
    """What the hash of split data is made of: the same for the same data, without reading what is kept beside."""
    if not refs:
        return dict(data)
    return {"data": dict(data), "blobs": {name: ref.sha256 for name, ref in refs.items()}}


_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def folder(project: str, task: str) -> str:
    """Where a task's blobs lie: they go when it goes. Raises ValueError for names that could lead elsewhere."""
    if not (_PART.fullmatch(project) and _PART.fullmatch(task)):
        raise ValueError("no names that a folder can have")
    return f"{project}/{task}"
