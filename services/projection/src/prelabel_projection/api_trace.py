"""The route of traces: where a task has been, and what it waits for."""

from typing import Literal

from fastapi import APIRouter, Response
from prelabel_runtime.http.access import READERS, allow
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.described import Shown, gives

from .trace import Tracing


class ShownHop(Shown):
    """One step."""

    hop: str
    """submitted, accepted, annotated, or the outcome of a model: created, failed, cancelled, expired."""
    at_ms: int
    after_ms: int | None
    """Since the hop before; null for the first."""
    door: str | None = None
    """Where it came in."""
    lane: str | None = None
    """The lane that it was given there; backfill too where bulk was asked for and its project's share used up."""
    run: str | None = None
    revision: int | None = None
    model: str | None = None
    provider: str | None = None
    version: str | None = None
    reason: str | None = None
    detail: str | None = None
    annotator: str | None = None


class ShownWaiting(Shown):
    """A model that has not answered."""

    model: str
    provider: str
    request: str
    lane: str | None
    """null where the log no longer tells."""
    group: str | None
    """The consumer group that is to handle it."""
    since_ms: int
    behind: int | None
    """Records that the group has not handled; null where that may not be asked."""


class ConcernedLetter(Shown):
    """A dead letter that concerns the task."""

    id: str
    group: str
    reason: str
    at_ms: int
    state: Literal["open", "replayed", "discarded"]
    result: Literal["succeeded", "dead_lettered_again"] | None


class ShownTrace(Shown):
    """The way of a task at its newest revision."""

    task: str
    id: str | None
    revision: int
    now_ms: int
    hops: list[ShownHop]
    """In the order of their times."""
    waiting: list[ShownWaiting]
    dead_letters: list[ConcernedLetter]
    """Oldest first. One that is open may be what a model is waited for."""


def routes(tracing: Tracing) -> APIRouter:
    """Reading traces."""
    router = APIRouter(prefix="/v1/projects/{project}", tags=["projection"])

    @router.get("/tasks/{task}/trace", dependencies=[allow("task.trace", READERS)])
    @gives(ShownTrace)
    async def get_trace(project: str, task: str) -> Response:
        """Each step of a task with its time, and what it waits for now."""
        return answer(await tracing.of(project, task))

    return router
