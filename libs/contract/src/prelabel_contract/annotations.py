"""An annotation: what a person submitted about a task."""

from typing import Annotated

from pydantic import Field

from .base import Model, Name
from .limits import MAX_REGIONS
from .regions import Regions


class OwnAnnotation(Model):
    """An annotation as it is handed in with a key, which knows a name: regions and how they came about.

    No region at all is a valid answer: there is nothing to label here.
    """

    id: Name | None = None
    """The caller's id, unique within the task and the annotator; sending it again replaces the annotation."""
    task: str
    """The task's uid, or the caller's own id of it."""
    annotator: Name | None = None
    """Whose it is. Null: the key's name. A key of the role labeler annotates under its own name only."""
    regions: Annotated[Regions, Field(max_length=MAX_REGIONS)] = ()
    lead_time: Annotated[float, Field(ge=0)] | None = None
    """Seconds the person took."""
    skipped: bool = False
    """The person declined to answer; it trains nothing."""
    ground_truth: bool = False
    """Reviewed: it outranks other annotations of the task."""
    parent_prediction: str | None = None
    """The request id of the prediction that the person started from."""


class Annotation(OwnAnnotation):
    """Regions and how they came about. None at all is a valid answer: there is nothing to label here."""

    annotator: Name
