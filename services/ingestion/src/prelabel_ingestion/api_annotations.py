"""Routes of annotations."""

from typing import Any

from fastapi import APIRouter, Request, Response
from prelabel_contract import names
from prelabel_contract.annotations import OwnAnnotation
from prelabel_contract.base import Name
from prelabel_contract.errors import FieldError, InvalidEvent
from prelabel_contract.events import AnnotationDeleted, AnnotationSubmitted
from prelabel_contract.projects import Project
from prelabel_runtime.http.access import ANNOTATORS, Caller, Role, allow, caller_of
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import Problem
from prelabel_runtime.http.speaking import annotator_of, not_its_own
from pydantic import TypeAdapter, ValidationError

from .annotations import submitted_annotation
from .answers import TakenAnnotation, TakenAnnotations
from .bodies import described, json_of
from .doors import Doors

_ANNOTATIONS = TypeAdapter(list[OwnAnnotation])


def routes(doors: Doors) -> APIRouter:
    """Hand in annotations, and withdraw them."""
    router = APIRouter()

    @router.post(
        "/projects/{project}/annotations",
        status_code=202,
        dependencies=[allow("annotation.submit", ANNOTATORS)],
        openapi_extra=described(OwnAnnotation, many=True),
    )
    @gives(TakenAnnotation, 202)
    @gives(TakenAnnotations, 202)
    async def post_annotations(project: str, request: Request) -> Response:
        """Hand in annotations of tasks of this project: all of them are taken, or none.

        Without an `annotator` one is the key's own; a labeler's key hands in no others (403, `forbidden_annotator`).
        What is marked as reviewed (`ground_truth`) decides what models learn: a labeler does not mark it so.
        """
        spec = await doors.current(project)
        value = await json_of(request)
        parsed = _parsed(value)
        said = _spoken(caller_of(request), _located(parsed, value))
        submitted = [await _checked(doors, spec, one, annotator, at) for at, one, annotator in said]
        await doors.publish(*(doors.made(data) for data in submitted))
        uids = [data.annotation for data in submitted]
        return answer({"annotations": uids} if isinstance(value, list) else {"annotation": uids[0]}, status=202)

    @router.delete(
        "/projects/{project}/tasks/{task}/annotations/{annotation}",
        status_code=202,
        dependencies=[allow("annotation.delete", ANNOTATORS)],
    )
    @gives(TakenAnnotation, 202)
    async def delete_annotation(
        project: str, task: str, annotation: str, request: Request, annotator: Name | None = None
    ) -> Response:
        """Withdraw an annotation, by its uid. A labeler's key withdraws its own only (403, `forbidden_annotator`)."""
        uid = await doors.task(project, task)
        caller = caller_of(request)
        who = annotator_of(caller, annotator, "/query/annotator")
        if caller.role == Role.LABELER and not names.annotated_by(annotation, project, uid, who):
            raise not_its_own(caller, "annotation")
        data = AnnotationDeleted(project=project, task=uid, annotation=annotation, annotator=who)
        await doors.publish(doors.made(data))
        return answer({"annotation": annotation}, status=202)

    return router


def _located(parsed: list[OwnAnnotation], value: Any) -> list[tuple[str, OwnAnnotation]]:
    """Each with the pointer to it: a single one is the whole body."""
    return [(f"/{place}" if isinstance(value, list) else "", one) for place, one in enumerate(parsed)]


def _spoken(caller: Caller, located: list[tuple[str, OwnAnnotation]]) -> list[tuple[str, OwnAnnotation, str]]:
    """Each with whose it is. Raises a 403 for what the caller must not say."""
    if caller.role == Role.LABELER and any(one.ground_truth for _, one in located):
        raise Problem(403, "forbidden_role", "ground_truth: this key is a labeler, whose answers others review")
    return [(at, one, annotator_of(caller, one.annotator, f"{at}/annotator")) for at, one in located]


def _parsed(value: Any) -> list[OwnAnnotation]:
    many = isinstance(value, list)
    try:
        return _ANNOTATIONS.validate_python(value if many else [value], extra="forbid")
    except ValidationError as error:
        wrong = InvalidEvent.from_validation(error, what="annotation")
        if many:
            raise wrong from None
        errors = [FieldError(pointer=e.pointer.removeprefix("/0"), detail=e.detail) for e in wrong.errors]
        raise InvalidEvent("invalid", f"annotation: {errors[0].pointer}: {errors[0].detail}", errors) from None


async def _checked(
    doors: Doors, project: Project, annotation: OwnAnnotation, annotator: str, at: str
) -> AnnotationSubmitted:
    try:
        return await submitted_annotation(
            annotation,
            annotator,
            project,
            doors.dispatcher.submissions,
            doors.tables.configs,
            otherwise=doors.runtime.new_id(),
        )
    except InvalidEvent as error:
        located = [FieldError(pointer=at + e.pointer, detail=e.detail) for e in error.errors]
        raise InvalidEvent(error.reason, error.detail, located) from None
