"""Annotations at the door: which task they are about, and whether the label set allows what they say."""

from prelabel_contract import names
from prelabel_contract.annotations import OwnAnnotation
from prelabel_contract.errors import MAX_ERRORS, FieldError, InvalidEvent
from prelabel_contract.events import AnnotationSubmitted, ConfigPublished
from prelabel_contract.projects import Project
from prelabel_runtime.store.base import Submissions
from prelabel_runtime.tables import Table


async def submitted_annotation(
    annotation: OwnAnnotation,
    annotator: str,
    project: Project,
    submissions: Submissions,
    configs: Table[ConfigPublished],
    *,
    otherwise: str,
) -> AnnotationSubmitted:
    """The annotation as an event, as that annotator's. `otherwise` stands for its id if the caller gave none.

    Raises:
        InvalidEvent: the project has no such task, or its label set does not allow a region.
    """
    task = await known_task(annotation.task, project.id, submissions, configs)
    errors = list(project.label_set.errors(annotation.regions))[:MAX_ERRORS]
    if errors:
        raise InvalidEvent("invalid", f"{errors[0].pointer}: {errors[0].detail}", errors)
    return AnnotationSubmitted(
        project=project.id,
        task=task,
        annotation=names.annotation_uid(project.id, task, annotator, annotation.id or otherwise),
        annotator=annotator,
        regions=annotation.regions,
        lead_time=annotation.lead_time,
        skipped=annotation.skipped,
        ground_truth=annotation.ground_truth,
        parent_prediction=annotation.parent_prediction,
    )


async def known_task(name: str, project: str, submissions: Submissions, configs: Table[ConfigPublished]) -> str:
    """The uid of a task of a project, named by its caller's id or by its uid. Raises `InvalidEvent`."""
    by_id = names.task_uid(project, name)
    known = await submissions.get_many([by_id, name])
    for uid in (by_id, name):
        if uid in known:
            config = await configs.find(known[uid].config)
            if config is not None and config.project.id == project:
                return uid
    detail = f"project {project!r} has no task {name!r}"
    raise InvalidEvent("unknown_task", detail, [FieldError(pointer="/task", detail=detail)])
