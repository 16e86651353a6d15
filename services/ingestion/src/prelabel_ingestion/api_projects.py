"""Routes of projects."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from prelabel_contract.errors import FieldError, InvalidEvent
from prelabel_contract.events import ProjectChanged
from prelabel_contract.projects import Project
from prelabel_runtime.http.access import ADMINS, READERS, Reach, allow, caller_of, changes
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import Problem
from pydantic import ValidationError

from .answers import Projects, ShownProject
from .bodies import described, json_of
from .doors import Doors
from .projects import check_models, publication


def routes(doors: Doors) -> APIRouter:
    """Create, change and read projects."""
    router = APIRouter()
    tables = doors.tables

    @router.get("/projects", dependencies=[allow("project.list", READERS, Reach.LISTING)])
    @gives(Projects)
    async def list_projects(request: Request) -> Response:
        """The caller's projects."""
        caller = caller_of(request)
        rows = sorted(tables.projects.rows().values(), key=lambda row: row.project.id)
        shown = [_shown(row) for row in rows if not row.deleted and caller.reaches(row.project.id)]
        return answer({"projects": shown, "next": None})

    @router.get("/projects/{project}", dependencies=[allow("project.get", READERS)])
    @gives(ShownProject, headers=("ETag",))
    async def get_project(project: str) -> Response:
        """One project as it is now."""
        await doors.current(project)
        row = tables.projects.rows()[project]
        return answer(_shown(row), headers={"ETag": f'"{row.version}"'})

    @router.put(
        "/projects/{project}",
        dependencies=[changes("project.put", ADMINS)],
        openapi_extra=described(Project),
    )
    @gives(ShownProject, headers=("ETag",))
    @gives(ShownProject, 201, headers=("ETag",))
    async def put_project(project: str, request: Request, if_match: Annotated[str | None, Header()] = None) -> Response:
        """Create or change a project. Checked as a whole: label set, models, their providers, settings and training."""
        wanted = _validated(project, await json_of(request))
        await tables.projects.catch_up()
        before = tables.projects.get(project)
        if if_match is not None and (before is None or if_match.strip('"') != str(before.version)):
            raise Problem(412, "changed_meanwhile", "the project has changed since that ETag; read it again")
        await tables.providers.catch_up()
        await tables.trainers.catch_up()
        trainers = frozenset(row.provider for row in tables.trainers.rows().values())
        check_models(wanted, tables.providers.rows(), trainers)
        if before is None or before.project != wanted or before.deleted:
            await _publish(doors, wanted, before.version + 1 if before else 1)
        row = tables.projects.rows()[project]
        return answer(_shown(row), status=200 if before else 201, headers={"ETag": f'"{row.version}"'})

    return router


async def _publish(doors: Doors, project: Project, version: int) -> None:
    """Make it the current one, and wait until this process knows: what is sent next meets the new project."""
    runtime = doors.runtime
    await doors.publish(*publication(project, version, now_ms=runtime.clock.now_ms(), new_id=runtime.new_id()))
    await doors.tables.configs.catch_up()
    await doors.tables.projects.catch_up()


_SHOWN_ONLY = ("config", "version")
"""What a project is shown with beside what it says: somebody who changes what they read sends it back."""


def _validated(project: str, body: Any) -> Project:
    if not isinstance(body, dict):
        raise Problem(422, "invalid", "send a JSON object")
    body = {name: value for name, value in body.items() if name not in _SHOWN_ONLY}
    if body.setdefault("id", project) != project:
        wrong = FieldError(pointer="/id", detail=f"must be {project!r}, or left out")
        raise Problem(422, "invalid", "id differs from the address", [wrong])
    try:
        return Project.model_validate(body, extra="forbid")
    except ValidationError as error:
        raise InvalidEvent.from_validation(error, what="project") from None


def _shown(row: ProjectChanged) -> dict[str, Any]:
    return {**row.project.model_dump(mode="json"), "config": row.config, "version": row.version}
