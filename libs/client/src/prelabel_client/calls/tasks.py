"""Tasks: handing them in, reading them back, predictions, annotations."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from prelabel_contract.annotations import OwnAnnotation

from ..lines import Lines, Tasks
from ..models import Predicted, Receipt, Taken, Task
from ..streams import Many, Page, ndjson, pages
from ..wire import NDJSON, Call, Request, get, path, query, send

Lane = Literal["interactive", "bulk", "backfill"]
ANSWER_PATIENCE = 30.0
"""Seconds beyond the wait itself."""


def submit(project: str, tasks: Tasks, *, key: str | None = None, lane: Lane = "bulk") -> Call[Receipt]:
    """Hand in tasks from any iterable, streamed. `key`: the same again under the same key adds nothing.

    Without a key one is made, so that a retry goes on where the first attempt was lost.
    """
    request = Request(
        "POST",
        path("projects", project, "tasks"),
        query=query(lane=lane),
        headers={"Content-Type": NDJSON, "Idempotency-Key": key or str(uuid.uuid4())},
        body=Lines(tasks),
        repeatable=True,
        patience=600.0,
    )
    return Call(request, lambda reply: Receipt.of(reply.json()))


def add(project: str, task: Mapping[str, Any], *, key: str | None = None, lane: Lane = "bulk") -> Call[Taken]:
    """Hand in one task."""
    headers = {"Idempotency-Key": key or str(uuid.uuid4())}
    where = path("projects", project, "tasks")
    return send("POST", where, Taken.of, dict(task), asked=query(lane=lane), headers=headers, repeatable=True)


def predict(
    project: str, data: str | Mapping[str, Any], *, field: str = "text", wait: float = 30.0, key: str | None = None
) -> Call[Predicted]:
    """Predict one task while you wait, at most `wait` seconds (60 at most). A text is `field` of its data."""
    body = {"data": {field: data} if isinstance(data, str) else dict(data)}
    headers = {"Idempotency-Key": key or str(uuid.uuid4()), "Prefer": f"wait={max(0, round(wait))}"}
    return send(
        "POST",
        path("projects", project, "predictions"),
        Predicted.of,
        body,
        headers=headers,
        repeatable=True,
        patience=wait + ANSWER_PATIENCE,
    )


def every(
    project: str,
    *,
    run: str | None = None,
    model: str | None = None,
    state: str | None = None,
    predictions: bool = False,
    limit: int | None = None,
) -> Many[Task]:
    """Tasks in the order in which they were accepted, `limit` at most; with what the models said, if asked for."""
    where = path("projects", project, "tasks")
    size = 500 if limit is None else max(1, min(limit, 500))
    asked = get(where, _page, run=run, model=model, state=state, predictions=predictions or None, limit=size)
    return pages(asked, limit=limit)


def _page(found: Any) -> Page[Task]:
    return Page([Task.of(task) for task in found["tasks"]], found.get("next"))


def one(project: str, task: str) -> Call[Task]:
    """One task by its uid or its caller's id, with predictions and annotations."""
    return get(path("projects", project, "tasks", task), Task.of)


def delete(project: str, task: str) -> Call[Taken]:
    """Delete a task and everything that was said about it, for good."""
    return send("DELETE", path("projects", project, "tasks", task), Taken.of)


def export(
    project: str, *, run: str | None = None, model: str | None = None, state: str | None = None
) -> Many[dict[str, Any]]:
    """Every task with its predictions and annotations, streamed, as it was sent."""
    where = path("projects", project, "export")
    return ndjson(Request("GET", where, query=query(run=run, model=model, state=state), repeatable=True), dict)


def annotate(project: str, *annotations: OwnAnnotation | Mapping[str, Any]) -> Call[tuple[str, ...]]:
    """Hand in annotations: all of them are taken, or none. Their uids.

    One without an id gets one, so that a retry replaces it instead of adding another.
    One without an `annotator` is the key's own; a labeler's key hands in no others (`NoAccess`).
    """
    body = list(_named(annotations))
    where = path("projects", project, "annotations")
    return send("POST", where, lambda found: tuple(found["annotations"]), body, repeatable=True)


def _named(annotations: Iterable[OwnAnnotation | Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    for one in annotations:
        value = one.model_dump(mode="json", exclude_defaults=True) if isinstance(one, OwnAnnotation) else dict(one)
        yield {"id": str(uuid.uuid4()), **value}


def withdraw(project: str, task: str, annotation: str, *, annotator: str | None = None) -> Call[dict[str, Any]]:
    """Withdraw an annotation, by its uid. `annotator`: who does so; the key's own name unless said.

    A labeler's key withdraws its own only (`NoAccess`).
    """
    where = path("projects", project, "tasks", task, "annotations", annotation)
    return send("DELETE", where, dict, asked=query(annotator=annotator))


def emit(source: str, *events: Mapping[str, Any]) -> Call[int]:
    """Hand in CloudEvents as an inbound source would over Kafka; returns how many were taken: all, or none."""
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    where = path("inbound", source)
    return send("POST", where, lambda found: int(found["accepted"]), list(events), headers=headers, repeatable=True)
