"""An annotation: what a person submitted about a task."""

from typing import Annotated

from pydantic import Field

from .base import Model, Name
from .limits import MAX_REGIONS
from .regions import Regions


class Annotation(Model):
    """Regions and how they came about. None at all is a valid answer: there is nothing to label here."""

    id: Name | None = None
    """The caller's id, unique within the task; sending it again replaces the annotation."""
    task: str
    """The task's uid, or the caller's own id of it."""
    annotator: Name
    regions: Annotated[Regions, Field(max_length=MAX_REGIONS)] = ()
    lead_time: Annotated[float, Field(ge=0)] | None = None
    """Seconds the person took."""
    skipped: bool = False
    """The person declined to answer; it trains nothing."""
    ground_truth: bool = False
    """Reviewed: it outranks other annotations of the task."""
    parent_prediction: str | None = None
    """The request id of the prediction that the person started from."""
