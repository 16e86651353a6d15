"""From annotation events to what is stored of them: the same for everybody who keeps annotations."""

from dataclasses import replace

from prelabel_contract.events import AnnotationDeleted, AnnotationSubmitted, Event

from .base import StoredAnnotation

_KEPT_BESIDE = {"project", "task", "annotation", "annotator"}


def stored_annotation(event: Event[AnnotationSubmitted | AnnotationDeleted]) -> StoredAnnotation:
    """An annotation's newest version, or its end."""
    data = event.data
    stored = StoredAnnotation(
        annotation=data.annotation,
        project=data.project,
        task=data.task,
        annotator=data.annotator,
        offset=event.offset,
        at_ms=event.time_ms,
    )
    if isinstance(data, AnnotationDeleted):
        return replace(stored, deleted=True)
    body = data.model_dump_json(exclude_none=True, exclude=_KEPT_BESIDE)
    return replace(stored, skipped=data.skipped, ground_truth=data.ground_truth, body=body)
