"""Annotations as a store keeps them."""

from collections.abc import Collection
from typing import Any

import orjson
from prelabel_runtime.store.base import StoredAnnotation


def annotated(
    offset: int,
    *labels: str,
    by: str = "ann",
    task: str = "t",
    name: str | None = None,
    regions: list[dict[str, Any]] | None = None,
    marked: Collection[str] = (),
) -> StoredAnnotation:
    """What somebody said of a task, at a place in the log. `marked`: deleted, skipped, ground_truth."""
    said = regions if regions is not None else [{"kind": "choice", "question": "q", "labels": list(labels)}]
    return StoredAnnotation(
        annotation=name or by,
        project="p",
        task=task,
        annotator=by,
        offset=offset,
        at_ms=offset,
        body=orjson.dumps({"regions": said}).decode(),
        deleted="deleted" in marked,
        skipped="skipped" in marked,
        ground_truth="ground_truth" in marked,
    )
