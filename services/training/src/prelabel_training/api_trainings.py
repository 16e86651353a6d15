"""Routes of trainings: ask for one, look at them, cancel one."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from prelabel_contract.base import Model, Slug
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import ProjectChanged
from prelabel_contract.projects import Project
from prelabel_provider.training.trainings import TrainingRecord, parse_training_id
from prelabel_runtime.http.access import READERS, REVIEWERS, allow, changes
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.audit import note
from prelabel_runtime.http.bodies import inline, json_of
from prelabel_runtime.http.cursors import cursor_of, key_of
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import Problem, not_found
from prelabel_runtime.store.paging import PageKey
from prelabel_runtime.tables import Table
from pydantic import ValidationError

from . import answers
from .triggers.asking import Asking

Limit = Annotated[int, Query(ge=1, le=200)]
OfModel = Annotated[Slug | None, Query(description="Only this model's.")]
ModelName = Annotated[str, Path(description="The name of a model of the project.")]
Number = Annotated[str, Path(description="The training's number, from 1 per model.")]
"""A text: what is no number is not there, and nobody hears that sooner than whether they reach the project."""


class TrainingWish(Model):
    """Which model to train, on all there is to learn from now."""

    model: Slug


def routes(asking: Asking, projects: Table[ProjectChanged]) -> APIRouter:
    """Trainings, over HTTP."""
    router = APIRouter(prefix="/v1/projects/{project}", tags=["training"])

    @router.post(
        "/trainings",
        status_code=202,
        dependencies=[changes("training.start", REVIEWERS)],
        openapi_extra=inline(TrainingWish),
    )
    @gives(answers.AskedTraining, 202, headers=("Location",))
    async def post_training(project: str, request: Request) -> Response:
        """Train a model now. With fewer examples than its minimum there is a problem that says how many are missing.

        While another training of the model is under way this one starts after it, with what has come meanwhile. Where
        nothing has, the one under way is the answer (`why.reason` is `already`): the same is not trained twice. Asked
        when none is under way, it is trained whether or not anything is new.
        """
        spec = await _project(projects, project)
        wish = _wish(await json_of(request))
        if (model := spec.model(wish.model)) is None:
            raise not_found("model", wish.model)
        note(request, model=wish.model)
        asked = await asking.ask(project, model)
        shown = answers.shown(asked.record) if asked.record is not None else None
        where = f"/v1/projects/{project}/trainings"
        if asked.record is not None:
            where += f"/{asked.record.model}/{asked.record.number}"
        said = {"training": shown, "why": asked.why.model_dump(mode="json")}
        return answer(said, status=202, headers={"Location": where})

    @router.get("/trainings", dependencies=[allow("training.list", READERS)])
    @gives(answers.Trainings)
    async def list_trainings(
        project: str, model: OfModel = None, limit: Limit = 50, cursor: str | None = None
    ) -> Response:
        """Trainings, by model, the newest of each first."""
        await _project(projects, project)
        after = key_of(cursor)
        records = await asking.page(project, model, limit + 1, after)
        last = _key(records[limit - 1]) if len(records) > limit else None
        return answer({"trainings": [answers.shown(one) for one in records[:limit]], "next": cursor_of(last)})

    @router.get("/trainings/{model}/{number}", dependencies=[allow("training.get", READERS)])
    @gives(answers.ShownTraining)
    async def get_training(project: str, model: ModelName, number: Number) -> Response:
        """One training: how far it is, what it was given, what came of it."""
        return answer(answers.shown(await found(project, model, number)))

    @router.get("/trainings/{model}/{number}/log", dependencies=[allow("training.log", READERS)])
    @gives(answers.TrainingLog)
    async def get_log(project: str, model: ModelName, number: Number) -> Response:
        """What was done and said in a training."""
        record = await found(project, model, number)
        lines = [{"at_ms": at_ms, "line": line} for at_ms, line in record.log]
        return answer({"training": record.training, "lines": lines})

    @router.delete("/trainings/{model}/{number}", status_code=202, dependencies=[changes("training.cancel", REVIEWERS)])
    @gives(answers.ShownTraining, 202)
    async def cancel_training(project: str, model: ModelName, number: Number) -> Response:
        """Cancel a training. What it would have learned is in the next one; one that has ended stays as it is."""
        record = await found(project, model, number)
        if record.state.final:
            raise Problem(409, "ended", f"training {record.training} has ended: {record.state}")
        return answer(answers.shown(await asking.cancel(record)), status=202)

    async def found(project: str, model: str, number: str) -> TrainingRecord:
        await _project(projects, project)
        known = re.fullmatch("[1-9][0-9]{0,7}", number) is not None
        record = await asking.trainings.get(project, model, int(number)) if known else None
        if record is None:
            raise not_found("training", f"{model}/{number}")
        return record

    return router


async def _project(projects: Table[ProjectChanged], project: str) -> Project:
    row = await projects.find(project)
    if row is None or row.deleted:
        raise not_found("project", project)
    return row.project


def _wish(body: Any) -> TrainingWish:
    try:
        return TrainingWish.model_validate(body, extra="forbid")
    except ValidationError as error:
        raise InvalidEvent.from_validation(error, what="training") from None


def _key(record: TrainingRecord) -> PageKey:
    _, model, number = parse_training_id(record.training)
    return PageKey(number, model)
