"""Routes of tasks: one, many, a stream of them; and their deletion."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from prelabel_contract import names
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import TaskDeleted
from prelabel_contract.names import Lane
from prelabel_contract.tasks import Task
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.http.access import REVIEWERS, SUBMITTERS, allow, changes
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import Problem, invalid, unavailable

from .answers import DeletedTask, TakenTask, TakenUpload
from .bodies import bare, content_type, json_of, one_or
from .doors import Doors
from .submission import REUSED, reuses_key
from .upload import Line, Receipt, Upload, first_together, lines

IdempotencyKey = Annotated[str | None, Header(max_length=250)]

_BODIES = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": one_or(Task, many=True)},
            "application/x-ndjson": {"schema": {"description": "a Task per line; streamed, any length"}},
        },
    }
}


def routes(doors: Doors) -> APIRouter:
    """Hand in tasks, and delete them."""
    router = APIRouter()

    @router.post(
        "/projects/{project}/tasks",
        status_code=202,
        dependencies=[allow("task.submit", SUBMITTERS)],
        openapi_extra=_BODIES,
    )
    @gives(TakenTask, 202, headers=("Location",))
    @gives(TakenUpload, 202, headers=("Location",))
    async def post_tasks(
        project: str, request: Request, lane: Lane = Lane.BULK, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Hand in tasks: one, an array, or NDJSON of any length.

        202 means that the bus has acknowledged all of it. Sending the same again, with the same Idempotency-Key or
        the same ids, adds nothing.
        """
        await doors.current(project)
        key = bare(idempotency_key)
        match content_type(request):
            case "application/x-ndjson":
                upload = _upload(doors, project, lane, key)
                room = doors.dispatcher.shares.room(project)
                return _receipt(project, await _streamed(upload, first_together(lines(request.stream()), room + 1)))
            case "application/json":
                value = await json_of(request)
                if not isinstance(value, list):
                    return await _one(doors, project, lane, key, value)
                upload = _upload(doors, project, lane, key, keep_uids=True)
                await upload.open()
                await upload.take_values(value)
                return _receipt(project, await upload.seal())
            case _:
                raise Problem(415, "content_type", "send application/json or application/x-ndjson")

    @router.delete(
        "/projects/{project}/tasks/{task}", status_code=202, dependencies=[changes("task.delete", REVIEWERS)]
    )
    @gives(DeletedTask, 202)
    async def delete_task(project: str, task: str) -> Response:
        """Delete a task and everything that was said about it, for good."""
        uid = await doors.task(project, task)
        await doors.publish(doors.made(TaskDeleted(project=project, task=uid), topic=names.SUBMITTED))
        return answer({"task": uid}, status=202)

    return router


async def _one(doors: Doors, project: str, lane: Lane, key: str | None, value: Any) -> Response:
    door = doors.door(project, lane=lane, idempotency_key=key)
    task = door.parse(value)
    try:
        submitted = await door.submit(task)
    except InvalidEvent as error:
        raise invalid(error, 413) from None
    uid = submitted.data.task
    if key is not None and reuses_key(submitted.data, (await doors.dispatcher.submissions.get_many([uid])).get(uid)):
        raise REUSED
    try:
        await doors.publish(submitted)
    except InvalidEvent as error:
        raise invalid(error, 413) from None
    doors.runtime.metrics.submitted.labels(door.name).inc()
    location = f"/v1/projects/{project}/tasks/{uid}"
    return answer({"task": uid, "id": submitted.data.id}, status=202, headers={"Location": location})


def _upload(doors: Doors, project: str, lane: Lane, key: str | None, *, keep_uids: bool = False) -> Upload:
    run = names.run_id(project, key) if key else doors.runtime.new_id()
    door = doors.door(project, lane=lane, idempotency_key=key, run=run)
    return Upload(doors.runtime.bus, door, doors.dispatcher.submissions, doors.runtime.metrics, keep_uids=keep_uids)


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
    return answer(body, status=202, headers={"Location": base})
