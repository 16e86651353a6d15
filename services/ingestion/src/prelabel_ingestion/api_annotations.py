"""Routes of annotations."""

from typing import Any

from fastapi import APIRouter, Request, Response
from prelabel_contract.annotations import Annotation
from prelabel_contract.base import Name
from prelabel_contract.errors import FieldError, InvalidEvent
from prelabel_contract.events import AnnotationDeleted, AnnotationSubmitted
from prelabel_contract.projects import Project
from prelabel_runtime.http.access import ANNOTATORS, Role, allow, caller_of
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import Problem
from pydantic import TypeAdapter, ValidationError

from .annotations import submitted_annotation
from .answers import TakenAnnotation, TakenAnnotations
from .bodies import described, json_of
from .doors import Doors

_ANNOTATIONS = TypeAdapter(list[Annotation])


def routes(doors: Doors) -> APIRouter:
    """Hand in annotations, and withdraw them."""
    router = APIRouter()

    @router.post(
        "/projects/{project}/annotations",
        status_code=202,
        dependencies=[allow("annotation.submit", ANNOTATORS)],
        openapi_extra=described(Annotation, many=True),
    )
    @gives(TakenAnnotation, 202)
    @gives(TakenAnnotations, 202)
    async def post_annotations(project: str, request: Request) -> Response:
        """Hand in annotations of tasks of this project: all of them are taken, or none.

        What is marked as reviewed (`ground_truth`) decides what models learn: a labeler does not mark it so.
        """
        spec = await doors.current(project)
        value = await json_of(request)
        parsed = _parsed(value)
        if caller_of(request).role == Role.LABELER and any(one.ground_truth for one in parsed):
            raise Problem(403, "forbidden_role", "ground_truth: this key is a labeler, whose answers others review")
        submitted = [await _checked(doors, spec, one, at) for at, one in _located(parsed, value)]
        await doors.publish(*(doors.made(data) for data in submitted))
        uids = [data.annotation for data in submitted]
        return answer({"annotations": uids} if isinstance(value, list) else {"annotation": uids[0]}, status=202)

    @router.delete(
        "/projects/{project}/tasks/{task}/annotations/{annotation}",
        status_code=202,
        dependencies=[allow("annotation.delete", ANNOTATORS)],
    )
    @gives(TakenAnnotation, 202)
    async def delete_annotation(project: str, task: str, annotation: str, annotator: Name = "api") -> Response:
        """Withdraw an annotation, by its uid."""
        uid = await doors.task(project, task)
        data = AnnotationDeleted(project=project, task=uid, annotation=annotation, annotator=annotator)
        await doors.publish(doors.made(data))
        return answer({"annotation": annotation}, status=202)

    return router


def _located(parsed: list[Annotation], value: Any) -> list[tuple[str, Annotation]]:
    """Each with the pointer to it: a single one is the whole body."""
    return [(f"/{place}" if isinstance(value, list) else "", one) for place, one in enumerate(parsed)]


def _parsed(value: Any) -> list[Annotation]:
    many = isinstance(value, list)
    try:
        return _ANNOTATIONS.validate_python(value if many else [value], extra="forbid")
    except ValidationError as error:
        wrong = InvalidEvent.from_validation(error, what="annotation")
        if many:
            raise wrong from None
        errors = [FieldError(pointer=e.pointer.removeprefix("/0"), detail=e.detail) for e in wrong.errors]
        raise InvalidEvent("invalid", f"annotation: {errors[0].pointer}: {errors[0].detail}", errors) from None


async def _checked(doors: Doors, project: Project, annotation: Annotation, at: str) -> AnnotationSubmitted:
    try:
        return await submitted_annotation(
            annotation,
            project,
            doors.dispatcher.submissions,
            doors.tables.configs,
            otherwise=doors.runtime.new_id(),
        )
    except InvalidEvent as error:
        located = [FieldError(pointer=at + e.pointer, detail=e.detail) for e in error.errors]
        raise InvalidEvent(error.reason, error.detail, located) from None
