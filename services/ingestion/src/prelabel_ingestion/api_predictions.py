"""The route that predicts while you wait."""

import asyncio
import contextlib
import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import (
    AnyEvent,
    PredictionCreated,
    PredictionFailed,
    TaskAccepted,
    TaskRejected,
    TaskSubmitted,
)
from prelabel_contract.names import Lane
from prelabel_contract.tasks import Task
from prelabel_runtime.blobs import BlobError
from prelabel_runtime.http.access import ANNOTATORS, SUBMITTERS, allow, caller_of
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import Problem

from .answers import NotYetPredicted, Predicted
from .api_tasks import IdempotencyKey
from .bodies import bare, described, json_of
from .doors import Doors
from .submission import content_of

LONGEST_WAIT = 60.0
"""Seconds."""


def routes(doors: Doors) -> APIRouter:
    """Predict one task on the interactive lane."""
    router = APIRouter()

    @router.post(
        "/projects/{project}/predictions",
        dependencies=[allow("prediction.request", ANNOTATORS)],
        openapi_extra=described(Task),
    )
    @gives(Predicted)
    @gives(NotYetPredicted, 202, headers=("Location",))
    async def predict(
        project: str,
        request: Request,
        prefer: Annotated[str | None, Header()] = None,
        idempotency_key: IdempotencyKey = None,
        expires: Annotated[float | None, Query(ge=0, le=86_400)] = None,
    ) -> Response:
        """Predict one task while you wait: 200 with what every model says, or 202 and where it will be.

        Nobody wants it later than `expires` seconds from now: no model is asked any more then, and the outcome is
        "expired". Without it, it comes some time.
        """
        await doors.current(project)
        door = doors.door(project, lane=Lane.INTERACTIVE, idempotency_key=bare(idempotency_key))
        task = door.parse(await json_of(request))
        correlation = doors.runtime.new_id()
        deadline_ms = doors.runtime.clock.now_ms() + round(expires * 1000) if expires is not None else None
        submitted = await door.submit(task, correlation=correlation, deadline_ms=deadline_ms)
        uid = submitted.data.task
        if task.id is not None and caller_of(request).role not in SUBMITTERS:
            await _check_unchanged(submitted.data, doors)
        with doors.replies.expect(correlation) as inbox:
            await doors.publish(submitted)
            doors.runtime.metrics.submitted.labels(door.name).inc()
            try:
                async with asyncio.timeout(_wait(prefer, doors.settings.wait_seconds)):
                    outcomes = await _outcomes(inbox)
            except TimeoutError:
                location = f"/v1/projects/{project}/tasks/{uid}/predictions"
                return answer({"task": uid, "predictions": None}, status=202, headers={"Location": location})
        return answer({"task": uid, "id": task.id, "predictions": [await _shown(o, doors) for o in outcomes]})

    return router


async def _check_unchanged(data: TaskSubmitted, doors: Doors) -> None:
    """Who may not hand in tasks may ask about one of a name as it is, not make or change it so. Raises a 403."""
    known = (await doors.dispatcher.submissions.get_many([data.task])).get(data.task)
    if known is None or known.content != content_of(data):
        allowed = ", ".join(sorted(SUBMITTERS))
        raise Problem(403, "forbidden_role", f"to make or change a task of this id is for the roles {allowed}")


async def _outcomes(inbox: "asyncio.Queue[AnyEvent]") -> list[PredictionCreated | PredictionFailed]:
    """Every outcome of a task, once it is known which there will be. Raises `InvalidEvent` if it is rejected."""
    wanted: dict[str, int] | None = None
    outcomes: dict[str, PredictionCreated | PredictionFailed] = {}
    while wanted is None or not wanted.keys() <= outcomes.keys():
        reply = (await inbox.get()).data
        if isinstance(reply, TaskAccepted):
            wanted = {ref.request: place for place, ref in enumerate(reply.requests)}
        elif isinstance(reply, TaskRejected):
            raise InvalidEvent(reply.reason, reply.errors[0].detail if reply.errors else reply.reason, reply.errors)
        elif isinstance(reply, (PredictionCreated, PredictionFailed)):
            outcomes.setdefault(reply.request, reply)
    return [outcomes[request] for request in sorted(wanted, key=wanted.__getitem__)]


def _wait(prefer: str | None, otherwise: float) -> float:
    """Seconds from `Prefer: wait=N` (RFC 7240)."""
    found = re.search(r"\bwait\s*=\s*\"?(\d{1,4})\b", prefer or "")
    return min(float(found.group(1)), LONGEST_WAIT) if found else otherwise


async def _shown(data: PredictionCreated | PredictionFailed, doors: Doors) -> dict[str, Any]:
    known_to_caller = {"correlation", "lane", "run", "accepted_ms", "meta", "project", "task", "id"}
    shown = data.model_dump(mode="json", exclude_none=True, exclude=known_to_caller)
    if isinstance(data, PredictionCreated) and data.regions_blob is not None:
        with contextlib.suppress(BlobError):  # the reference stays, and tells that something is missing
            shown["regions"] = await doors.runtime.blobs.value(data.project, data.task, data.regions_blob)
            del shown["regions_blob"]
    return {"outcome": "created" if isinstance(data, PredictionCreated) else data.outcome, **shown}
