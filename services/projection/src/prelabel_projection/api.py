"""Projection's routes: tasks with what was said about them, counts, runs, export."""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from prelabel_contract import names
from prelabel_contract.events import ProjectChanged
from prelabel_runtime.http.problems import Problem, not_found
from prelabel_runtime.run import Runtime
from prelabel_runtime.store.base import (
    PageKey,
    RunState,
    State,
    StoredAnnotation,
    StoredOutcome,
    StoredRun,
    StoredTask,
)
from prelabel_runtime.tables import Table

from .runs import Progress

EXPORT_PAGE = 500
HEARTBEAT_SECONDS = 10.0
LOOK_SECONDS = 0.3
"""How often a followed run is looked at."""

Limit = Annotated[int, Query(ge=1, le=1000)]


def routes(runtime: Runtime, projects: Table[ProjectChanged]) -> APIRouter:
    """Reading, over HTTP."""
    router = APIRouter(prefix="/v1/projects/{project}", tags=["projection"])
    store = runtime.store

    async def known(project: str) -> None:
        found = await projects.find(project)
        if found is None or found.deleted:
            raise not_found("project", project)

    async def task_of(project: str, task: str) -> StoredTask:
        await known(project)
        for uid in (names.task_uid(project, task), task):
            if (found := await store.tasks.get(project, uid)) is not None:
                return found
        raise not_found("task", task)

    async def run_of(project: str, run: str) -> StoredRun:
        await known(project)
        found = await store.runs.get(project, run)
        if found is None:
            raise not_found("run", run)
        return found

    async def with_predictions(tasks: Sequence[StoredTask]) -> list[dict[str, Any]]:
        outcomes = await store.outcomes.of_tasks([t.uid for t in tasks])
        return [{**shown_task(t), "predictions": [shown_outcome(o, t) for o in outcomes.get(t.uid, ())]} for t in tasks]

    # ----------------------------------------------------------------------------------------------------- tasks

    @router.get("/tasks")
    async def list_tasks(
        project: str,
        limit: Limit = 100,
        cursor: str | None = None,
        run: str | None = None,
        model: str | None = None,
        state: State | None = None,
        predictions: bool = False,
    ) -> Response:
        """Tasks in the order in which they were accepted; `predictions=true` adds what the models said."""
        await known(project)
        _refuse_model_alone(model, state)
        page = await store.tasks.page(project, limit=limit + 1, after=_key(cursor), run=run, model=model, state=state)
        more = page[limit - 1][0] if len(page) > limit else None
        tasks = [task for _, task in page[:limit]]
        shown = await with_predictions(tasks) if predictions else [shown_task(t) for t in tasks]
        return _json({"tasks": shown, "next": _cursor(more) if more else None})

    @router.get("/tasks/{task}")
    async def get_task(project: str, task: str) -> Response:
        """One task, by its uid or its caller's id, with predictions and annotations."""
        found = await task_of(project, task)
        shown = (await with_predictions([found]))[0]
        annotations = await store.annotations.of_tasks([found.uid])
        shown["annotations"] = [shown_annotation(a) for a in annotations.get(found.uid, ())]
        return _json(shown)

    @router.get("/tasks/{task}/predictions")
    async def get_predictions(project: str, task: str) -> Response:
        """What every model said about a task, or that it has not said it yet."""
        found = await task_of(project, task)
        shown = (await with_predictions([found]))[0]
        return _json({"task": found.uid, "predictions": shown["predictions"]})

    @router.get("/counts")
    async def counts(project: str) -> Response:
        """Tasks of a project, and its requests by model and state."""
        await known(project)
        by_model = await store.outcomes.counts(project)
        models = {model: {str(state): n for state, n in states.items()} for model, states in by_model.items()}
        return _json({"tasks": await store.tasks.count(project), "models": models})

    @router.get("/export")
    async def export(
        project: str, run: str | None = None, model: str | None = None, state: State | None = None
    ) -> Response:
        """Every task with its predictions and annotations, as NDJSON, streamed."""
        await known(project)
        _refuse_model_alone(model, state)

        async def stream() -> AsyncIterator[bytes]:
            after: PageKey | None = None
            while page := await store.tasks.page(
                project, limit=EXPORT_PAGE, after=after, run=run, model=model, state=state
            ):
                tasks = [task for _, task in page]
                annotations = await store.annotations.of_tasks([t.uid for t in tasks])
                lines = await with_predictions(tasks)
                for task, line in zip(tasks, lines, strict=True):
                    line["annotations"] = [shown_annotation(a) for a in annotations.get(task.uid, ())]
                yield b"".join(orjson.dumps(line) + b"\n" for line in lines)
                after = page[-1][0]

        return StreamingResponse(stream(), media_type="application/x-ndjson")

    # ------------------------------------------------------------------------------------------------------ runs

    @router.get("/runs")
    async def list_runs(project: str, limit: Limit = 100, cursor: str | None = None) -> Response:
        """Runs, newest first."""
        await known(project)
        runs = await store.runs.page(project, limit=limit + 1, after=_key(cursor))
        more = runs[limit - 1] if len(runs) > limit else None
        shown = [(await Progress.read(store, r)).shown() for r in runs[:limit]]
        return _json({"runs": shown, "next": _cursor(PageKey(more.opened_ms, more.run)) if more else None})

    @router.get("/runs/{run}")
    async def get_run(project: str, run: str) -> Response:
        """How far a run is."""
        return _json((await Progress.read(store, await run_of(project, run))).shown())

    @router.get("/runs/{run}/errors")
    async def run_errors(project: str, run: str, limit: Limit = 100, after: int = 0) -> Response:
        """Lines of the upload that could not be taken, in order."""
        await run_of(project, run)
        lines = await store.lines.rejected(run, after=after, limit=limit + 1)
        shown = [{"line": line.line, **orjson.loads(line.body)} for line in lines[:limit]]
        return _json({"errors": shown, "next": lines[limit - 1].line if len(lines) > limit else None})

    @router.get("/runs/{run}/events")
    async def follow_run(
        project: str, run: str, request: Request, last_event_id: Annotated[str | None, Header()] = None
    ) -> Response:
        """A run's progress as server-sent events, until it ends."""
        await run_of(project, run)

        async def stream() -> AsyncIterator[bytes]:
            told = int(last_event_id) if last_event_id and last_event_id.isdigit() else -1
            yield b"retry: 1000\n\n"
            silent_since = runtime.clock.monotonic()
            while not await request.is_disconnected():
                progress = await Progress.read(store, await run_of(project, run))
                over = progress.run.state not in (RunState.OPEN, RunState.SEALED)
                # Counts only grow, so they number the events, also across restarts and replicas.
                number = 2 * (progress.accepted + progress.rejected + progress.ended) + over
                if number > told or over:
                    told = number
                    silent_since = runtime.clock.monotonic()
                    yield progress.sse(number)
                    if over:
                        return
                elif runtime.clock.monotonic() - silent_since > HEARTBEAT_SECONDS:
                    silent_since = runtime.clock.monotonic()
                    yield b": still here\n\n"
                await asyncio.sleep(LOOK_SECONDS)

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return router


# -------------------------------------------------------------------------------------------------------- answers


def shown_task(task: StoredTask) -> dict[str, Any]:
    """A task as JSON."""
    body = orjson.loads(task.body)
    return {
        "task": task.uid,
        "id": task.id,
        "data": body["data"],
        "meta": body["meta"],
        "revision": task.revision,
        "accepted_ms": task.first_ms,
        "config": task.config,
    }


def shown_outcome(outcome: StoredOutcome, task: StoredTask) -> dict[str, Any]:
    """An outcome as JSON. One of an older revision of the task is superseded by the newer one."""
    body = orjson.loads(outcome.body)
    superseded = outcome.superseded_by or (str(task.revision) if outcome.revision < task.revision else None)
    return {
        "request": outcome.request,
        "model": outcome.model,
        "provider": outcome.provider,
        **body,
        "outcome": str(outcome.state),
        "version": outcome.version,
        "score": outcome.score,
        "revision": outcome.revision,
        "at_ms": outcome.at_ms or None,
        "superseded_by": superseded,
    }


def shown_annotation(annotation: StoredAnnotation) -> dict[str, Any]:
    """An annotation as JSON."""
    return {
        "annotation": annotation.annotation,
        "annotator": annotation.annotator,
        "at_ms": annotation.at_ms,
        **orjson.loads(annotation.body),
    }


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


def _refuse_model_alone(model: str | None, state: State | None) -> None:
    if model is not None and state is None:
        raise Problem(422, "invalid", "model filters outcomes: name a state as well, such as state=created")


def _cursor(key: PageKey) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([key.ms, key.id])).decode().rstrip("=")


def _key(cursor: str | None) -> PageKey | None:
    if cursor is None:
        return None
    try:
        ms, last = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return PageKey(int(ms), str(last))
    except (binascii.Error, orjson.JSONDecodeError, ValueError, TypeError):
        raise Problem(400, "bad_cursor", "that cursor is not one of ours; take `next` from the page before") from None
