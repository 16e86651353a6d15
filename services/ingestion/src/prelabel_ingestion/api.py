"""Ingestion's routes: projects, tasks, annotations, and predictions while you wait."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Request, Response
from prelabel_contract import names
from prelabel_contract.annotations import Annotation
from prelabel_contract.base import Slug
from prelabel_contract.errors import FieldError, InvalidEvent
from prelabel_contract.events import (
    AnnotationDeleted,
    AnyEvent,
    EventData,
    PredictionCreated,
    PredictionFailed,
    ProjectChanged,
    TaskAccepted,
    TaskDeleted,
    TaskRejected,
    event,
)
from prelabel_contract.names import Lane
from prelabel_contract.projects import Project
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.http.problems import Problem, invalid, not_found, unavailable
from prelabel_runtime.loop import messages
from prelabel_runtime.run import Runtime
from pydantic import TypeAdapter, ValidationError

from . import projects as projects_
from .annotations import known_task, submitted_annotation
from .handlers import Dispatcher
from .replies import Replies
from .settings import IngestionSettings
from .submission import Door
from .tables import Tables
from .upload import Line, Receipt, Upload, lines

_SLUG = TypeAdapter(Slug)
_ANNOTATIONS = TypeAdapter(list[Annotation])

JSON_OR_NDJSON = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"description": "a task {id?, data, meta?}, or an array of tasks"}},
            "application/x-ndjson": {"schema": {"description": "a task per line; streamed, any length"}},
        },
    }
}


def _json_body(description: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": {"description": description}}}}}


def routes(
    runtime: Runtime, tables: Tables, dispatcher: Dispatcher, replies: Replies, settings: IngestionSettings
) -> APIRouter:
    """The doors over HTTP."""
    router = APIRouter(prefix="/v1", tags=["ingestion"])
    bus, clock = runtime.bus, runtime.clock

    async def current(project: str) -> Project:
        found = await tables.projects.find(project)
        if found is None or found.deleted:
            raise not_found("project", project)
        return found.project

    async def publish(*events: AnyEvent) -> None:
        await bus.publish(messages(events))

    def door(project: str, **more: Any) -> Door:
        return Door(project=project, name="http", now_ms=clock.now_ms, new_id=runtime.new_id, **more)

    def made(data: EventData, **more: Any) -> AnyEvent:
        return event(data, id=runtime.new_id(), source="/ingestion/http", time_ms=clock.now_ms(), **more)

    # -------------------------------------------------------------------------------------------------- projects

    @router.get("/projects")
    async def list_projects() -> Response:
        """All projects."""
        rows = sorted(tables.projects.rows().values(), key=lambda row: row.project.id)
        return _json({"projects": [_shown(row) for row in rows if not row.deleted]})

    @router.get("/projects/{project}")
    async def get_project(project: str) -> Response:
        """One project as it is now."""
        await current(project)
        row = tables.projects.rows()[project]
        return _json(_shown(row), headers={"ETag": f'"{row.version}"'})

    @router.put("/projects/{project}", openapi_extra=_json_body("the project: label_set, models, title"))
    async def put_project(
        project: str, request: Request, if_match: Annotated[str | None, Header()] = None
    ) -> Response:
        """Create or change a project. Checked as a whole: label set, models, their providers and settings."""
        body = _object(await _json_of(request))
        if body.setdefault("id", project) != project:
            raise Problem(422, "invalid", "id differs from the address", [FieldError(pointer="/id", detail=f"must be {project!r}")])
        wanted = _validated(body)
        await tables.projects.catch_up()
        before = tables.projects.get(project)
        if if_match is not None and (before is None or if_match.strip('"') != str(before.version)):
            raise Problem(412, "changed_meanwhile", "the project has changed since that ETag; read it again")
        await tables.providers.catch_up()
        projects_.check_models(wanted, tables.providers.rows())
        version = before.version + 1 if before else 1
        if before is None or before.project != wanted or before.deleted:
            news = projects_.publication(wanted, version, now_ms=clock.now_ms(), new_id=runtime.new_id())
            await publish(*news)
            await tables.configs.catch_up()
            await tables.projects.catch_up()
        row = tables.projects.rows()[project]
        return _json(_shown(row), status=200 if before else 201, headers={"ETag": f'"{row.version}"'})

    # ----------------------------------------------------------------------------------------------------- tasks

    @router.post("/projects/{project}/tasks", status_code=202, openapi_extra=JSON_OR_NDJSON)
    async def post_tasks(
        project: str,
        request: Request,
        lane: Lane = Lane.BULK,
        idempotency_key: Annotated[str | None, Header(max_length=250)] = None,
    ) -> Response:
        """Hand in tasks: one, an array, or NDJSON of any length.

        202 means that the bus has acknowledged all of it. Sending the same again, with the same Idempotency-Key or
        the same ids, adds nothing.
        """
        await current(project)
        key = idempotency_key.strip('"') if idempotency_key else None
        kind = _content_type(request)
        if kind == "application/x-ndjson":
            upload = _upload(project, lane, key)
            receipt = await _streamed(upload, lines(request.stream()))
        elif kind == "application/json":
            value = await _json_of(request)
            if not isinstance(value, list):
                return await _one(door(project, lane=lane, idempotency_key=key), value)
            upload = _upload(project, lane, key, keep_uids=True)
            await upload.open()
            await upload.take_values(value)
            receipt = await upload.seal()
        else:
            raise Problem(415, "content_type", "send application/json or application/x-ndjson")
        return _receipt(project, receipt)

    def _upload(project: str, lane: Lane, key: str | None, *, keep_uids: bool = False) -> Upload:
        run = names.run_id(project, key) if key else runtime.new_id()
        where = door(project, lane=lane, idempotency_key=key, run=run)
        return Upload(bus, where, runtime.metrics, keep_uids=keep_uids)

    async def _one(where: Door, value: Any) -> Response:
        submitted = where.submit(where.parse(value))
        try:
            await publish(submitted)
        except InvalidEvent as error:
            raise invalid(error, 413) from None
        runtime.metrics.submitted.labels("http").inc()
        location = f"/v1/projects/{where.project}/tasks/{submitted.data.task}"
        return _json({"task": submitted.data.task, "id": submitted.data.id}, status=202, headers={"Location": location})

    @router.delete("/projects/{project}/tasks/{task}", status_code=202)
    async def delete_task(project: str, task: str) -> Response:
        """Delete a task and everything that was said about it, for good."""
        await current(project)
        try:
            uid = await known_task(task, project, dispatcher.submissions, tables.configs)
        except InvalidEvent:
            raise not_found("task", task) from None
        await publish(made(TaskDeleted(project=project, task=uid), topic=names.SUBMITTED))
        return _json({"task": uid}, status=202)

    # ----------------------------------------------------------------------------------------------- annotations

    @router.post(
        "/projects/{project}/annotations",
        status_code=202,
        openapi_extra=_json_body("an annotation {task, annotator, regions, …}, or an array of them"),
    )
    async def post_annotations(project: str, request: Request) -> Response:
        """Hand in annotations of tasks of this project: all of them are taken, or none."""
        spec = await current(project)
        value = await _json_of(request)
        many = isinstance(value, list)
        try:
            parsed = _ANNOTATIONS.validate_python(value if many else [value], extra="forbid")
        except ValidationError as error:
            raise _unindexed(InvalidEvent.from_validation(error, what="annotation"), many) from None
        events = []
        for index, annotation in enumerate(parsed):
            try:
                data = await submitted_annotation(
                    annotation, spec, dispatcher.submissions, tables.configs, otherwise=runtime.new_id()
                )
            except InvalidEvent as error:
                at = f"/{index}" if many else ""
                located = [FieldError(pointer=at + e.pointer, detail=e.detail) for e in error.errors]
                raise InvalidEvent(error.reason, error.detail, located) from None
            events.append(made(data))
        await publish(*events)
        uids = [e.data.annotation for e in events]
        return _json({"annotations": uids} if many else {"annotation": uids[0]}, status=202)

    @router.delete("/projects/{project}/tasks/{task}/annotations/{annotation}", status_code=202)
    async def delete_annotation(project: str, task: str, annotation: str, annotator: str = "api") -> Response:
        """Withdraw an annotation, by its uid."""
        await current(project)
        try:
            uid = await known_task(task, project, dispatcher.submissions, tables.configs)
        except InvalidEvent:
            raise not_found("task", task) from None
        await publish(made(AnnotationDeleted(project=project, task=uid, annotation=annotation, annotator=annotator)))
        return _json({"annotation": annotation}, status=202)

    # ----------------------------------------------------------------------------------------------- predictions

    @router.post("/projects/{project}/predictions", openapi_extra=_json_body("a task {id?, data, meta?}"))
    async def predict(
        project: str,
        request: Request,
        prefer: Annotated[str | None, Header()] = None,
        idempotency_key: Annotated[str | None, Header(max_length=250)] = None,
    ) -> Response:
        """Predict one task while you wait: 200 with what every model says, or 202 and where it will be."""
        await current(project)
        key = idempotency_key.strip('"') if idempotency_key else None
        where = door(project, lane=Lane.INTERACTIVE, idempotency_key=key)
        task = where.parse(await _json_of(request))
        wait = _wait(prefer, settings.wait_seconds)
        correlation = runtime.new_id()
        with replies.expect(correlation) as inbox:
            submitted = where.submit(task, correlation=correlation)
            await publish(submitted)
            runtime.metrics.submitted.labels("http").inc()
            try:
                async with asyncio.timeout(wait):
                    outcomes = await _outcomes(inbox)
            except TimeoutError:
                uid = submitted.data.task
                location = f"/v1/projects/{project}/tasks/{uid}/predictions"
                return _json({"task": uid, "predictions": None}, status=202, headers={"Location": location})
        return _json({"task": submitted.data.task, "id": task.id, "predictions": [_outcome(o) for o in outcomes]})

    return router


# ------------------------------------------------------------------------------------------------------- requests


async def _streamed(upload: Upload, batches: AsyncIterator[list[Line]]) -> Receipt:
    try:
        await upload.open()
        async for batch in batches:
            await upload.take_lines(batch)
        return await upload.seal()
    except Unavailable as error:
        problem = unavailable(error)
        problem.detail = (
            f"{error.what} does not answer; {upload.receipt.accepted + upload.receipt.rejected} lines are in. "
            "Send the whole upload again under the same Idempotency-Key (or with ids): nothing is taken twice"
        )
        raise problem from None


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
    """Seconds from `Prefer: wait=N` (RFC 7240), at most 60."""
    found = re.search(r"\bwait\s*=\s*\"?(\d{1,4})\b", prefer or "")
    return min(float(found.group(1)), 60.0) if found else otherwise


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _json_of(request: Request) -> Any:
    kind = _content_type(request)
    if kind != "application/json":
        raise Problem(415, "content_type", f"send application/json, not {kind or 'a body without a type'}")
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise Problem(400, "not_json", f"the body is not JSON: {error}") from None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Problem(422, "invalid", "send a JSON object")
    return value


def _validated(body: dict[str, Any]) -> Project:
    try:
        return Project.model_validate(body, extra="forbid")
    except ValidationError as error:
        raise InvalidEvent.from_validation(error, what="project") from None


def _unindexed(error: InvalidEvent, many: bool) -> InvalidEvent:
    """A single annotation was checked as a list of one: its pointers start behind that."""
    if many:
        return error
    errors = [FieldError(pointer=e.pointer.removeprefix("/0"), detail=e.detail) for e in error.errors]
    return InvalidEvent(error.reason, f"annotation: {errors[0].pointer}: {errors[0].detail}", errors)


# -------------------------------------------------------------------------------------------------------- answers


def _json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status_code=status, headers=headers, media_type="application/json")


def _shown(row: ProjectChanged) -> dict[str, Any]:
    return {**row.project.model_dump(mode="json"), "config": row.config, "version": row.version}


def _receipt(project: str, receipt: Receipt) -> Response:
    base = f"/v1/projects/{project}/runs/{receipt.run}"
    body: dict[str, Any] = {
        "run": receipt.run,
        "accepted": receipt.accepted,
        "rejected": receipt.rejected,
        "errors": receipt.errors,
        "links": {"run": base, "errors": f"{base}/errors", "events": f"{base}/events"},
    }
    if receipt.tasks:
        body["tasks"] = receipt.tasks
    return _json(body, status=202, headers={"Location": base})


def _outcome(data: PredictionCreated | PredictionFailed) -> dict[str, Any]:
    shown = data.model_dump(
        mode="json",
        exclude_none=True,
        exclude={"correlation", "lane", "run", "accepted_ms", "meta", "project", "task", "id"},
    )
    state = "created" if isinstance(data, PredictionCreated) else data.outcome
    return {"outcome": state, **shown}
