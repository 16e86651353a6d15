"""Shapes that more than one service answers."""

from typing import Literal

from prelabel_contract.base import Json
from prelabel_contract.blobs import BlobRef
from prelabel_contract.regions import Regions

from .described import Shown


class Outcome(Shown):
    """What one model said about one task; why it did not; or that it has not yet."""

    request: str
    """The id of the request, and of its outcome."""
    model: str
    provider: str
    outcome: Literal["pending", "created", "failed", "cancelled", "expired"] | str
    revision: int
    """The revision of the task that was asked about."""
    version: str | None = None
    """The model version."""
    score: float | None = None
    """The lowest score of the regions that have one."""
    uncertainty: float | None = None
    """How much the model doubts it, 0 to 1; null where it gave nothing to tell by."""
    regions: Regions = ()
    """Of one that was created."""
    regions_blob: BlobRef | None = None
    """Regions that are too large to be shown here."""
    threshold: float | None = None
    """Regions below it are marked, and kept."""
    label_set: str | None = None
    """Content hash of the label set."""
    dropped: dict[str, int] = {}
    """Regions that the model gave and that cannot be kept, counted by reason."""
    config: str | None = None
    """Content hash of the project as it was."""
    input_hash: str | None = None
    """Content hash of the fields that the model read."""
    generation: str = ""
    """Why the same was asked again: <model>/<epoch> after a promotion. Empty for what was asked first."""
    reason: str | None = None
    """Of one that was not created: a word for machines."""
    detail: str | None = None
    """Of one that was not created: a sentence."""
    at_ms: int | None = None
    superseded_by: str | None = None
    """What took its place: another request, or a newer revision of the task."""


class WrongField(Shown):
    """What is wrong, and where."""

    pointer: str
    """A JSON pointer."""
    detail: str


class WrongLine(Shown):
    """A line of an upload that was not taken."""

    line: int
    """From 1."""
    reason: str
    """A word for machines."""
    errors: list[WrongField]
    id: str | None = None
    """The caller's id of the task, if it could be read."""
    door: str | None = None


Data = dict[str, Json]
"""A task's fields."""
