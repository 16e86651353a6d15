"""Routes of models and their versions: which serves, what is known of the others, promote, roll back."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import ProjectChanged
from prelabel_contract.projects import ModelSpec
from prelabel_provider.models.manifest import ArtifactRefused
from prelabel_provider.models.store import Models as ModelStore
from prelabel_runtime.http.access import ADMINS, READERS, allow, caller_of, changes
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.audit import note
from prelabel_runtime.http.bodies import inline, json_of
from prelabel_runtime.http.cursors import cursor_of, key_of
from prelabel_runtime.http.described import gives, page
from prelabel_runtime.http.problems import Problem, not_found
from prelabel_runtime.store.paging import PageKey
from prelabel_runtime.tables import Table
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from . import models_answers as shown
from .registry.loads import Loads
from .registry.registry import Moved, Pointer, Registry, Target, promoted
from .registry.versions import SETTINGS, VersionRecord, Versions

Limit = Annotated[int, Query(ge=1, le=200)]


class PromoteWanted(BaseModel):
    """Why a version is to serve."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    reason: Annotated[str, Field(max_length=500)] = ""
    """For whoever reads the audit."""


class RollbackWanted(BaseModel):
    """To which version, and why."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    version: Annotated[str | None, Field(min_length=1, max_length=100)] = None
    """Null: what served before; `settings`: the model as its settings say."""
    reason: Annotated[str, Field(max_length=500)] = ""
    """For whoever reads the audit, and for `model.rolled_back`."""


class Desk:
    """Models, for callers: what is not there raises a 404."""

    def __init__(
        self, projects: Table[ProjectChanged], registry: Registry, versions: Versions, loads: Loads, models: ModelStore
    ) -> None:
        self.registry = registry
        self.versions = versions
        self.loads = loads
        self._projects = projects
        self._models = models

    async def row(self, project: str) -> ProjectChanged:
        """A project."""
        row = await self._projects.find(project)
        if row is None or row.deleted:
            raise not_found("project", project)
        return row

    async def model(self, project: str, model: str) -> ModelSpec:
        """A model of a project."""
        spec = (await self.row(project)).project.model(model)
        if spec is None:
            raise not_found("model", model)
        return spec

    async def known(self, project: str, model: str) -> str | None:
        """The provider of a model; None of one that has only versions left. Raises a 404 where there is neither."""
        spec = (await self.row(project)).project.model(model)
        if spec is None and not await self.versions.page(project, model, limit=1):
            raise not_found("model", model)
        return None if spec is None else spec.provider

    async def version(self, project: str, model: str, version: str) -> VersionRecord:
        """A version."""
        found = await self.versions.named(project, model, version)
        if found is None:
            raise not_found("version", version)
        return found

    async def newest(
        self, project: str, model: str, limit: int, *, before: int | None = None
    ) -> tuple[Pointer | None, Sequence[VersionRecord]]:
        """What serves, and the newest versions, those before a number."""
        # In this order, or what is promoted between the two looks serves and is no version yet.
        pointer = await self.registry.pointer(project, model)
        return pointer, await self.versions.page(project, model, limit=limit, before=before)

    async def loadable(self, record: VersionRecord, spec: ModelSpec) -> None:
        """Raises a 409 for a version that cannot be loaded. What was said of it before does not count: it is tried."""
        if record.provider != spec.provider:
            detail = f"{record.version} is of {record.provider}, and the model is of {spec.provider} now"
            raise Problem(409, "other_provider", detail)
        try:
            await self._models.manifest(record.artifact)
        except ArtifactRefused as error:
            raise Problem(409, "artifact_gone", f"{record.version} cannot be loaded: {error}") from None

    async def tried_again(self, project: str, model: str, target: Target) -> Target:
        """The same, to begin to serve once more where it serves already and was refused: that asks for a new try."""
        pointer = await self.registry.pointer(project, model)
        refused = pointer is not None and await self.loads.refused_at(pointer)
        return replace(target, refused_epoch=pointer.epoch) if refused and pointer is not None else target


def routes(desk: Desk) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/v1/projects/{project}/models", tags=["models"])
    _models(router, desk)
    _versions(router, desk)
    _changing(router, desk)
    return router


def _models(router: APIRouter, desk: Desk) -> None:
    @router.get("", dependencies=[allow("model.list", READERS)])
    @gives(shown.Models)
    async def list_models(project: str) -> Response:
        """The models of a project, and what serves each of them."""
        row = await desk.row(project)
        pointers = {one.model: one for one in await desk.registry.pointers(project)}
        listed = [
            {
                "name": one.name,
                "provider": one.provider,
                "serving": shown.shown_serving(project, one.name, one.provider, pointers.get(one.name)),
            }
            for one in row.project.models
        ]
        return answer({"models": listed, "next": None})

    @router.get("/{model}/serving", dependencies=[allow("model.serving", READERS)])
    @gives(shown.ShownServing, headers=("ETag",))
    async def get_serving(project: str, model: str) -> Response:
        """What serves a model. Its epoch is the ETag."""
        provider = await desk.known(project, model)
        return _serving(project, model, provider, await desk.registry.pointer(project, model))

    @router.get("/{model}/changes", dependencies=[allow("model.changes", READERS)])
    @gives(page("changes", shown.ShownChange))
    async def list_changes(project: str, model: str) -> Response:
        """What served a model, the newest first: the last 200 changes."""
        await desk.known(project, model)
        pointer = await desk.registry.pointer(project, model)
        made = () if pointer is None else tuple(reversed(pointer.changes))
        return answer({"changes": [shown.shown_change(one) for one in made], "next": None})


def _versions(router: APIRouter, desk: Desk) -> None:
    @router.get("/{model}/versions", dependencies=[allow("version.list", READERS)])
    @gives(shown.Versions)
    async def list_versions(project: str, model: str, limit: Limit = 50, cursor: str | None = None) -> Response:
        """The versions of a model, the newest first, with what was decided about them and why."""
        await desk.known(project, model)
        after = key_of(cursor)
        pointer, found = await desk.newest(project, model, limit + 1, before=None if after is None else after.ms)
        there = found[:limit]
        refused = await desk.loads.refusals(project, model, [one.version for one in there], pointer)
        listed = [shown.shown_version(one, pointer, refused.get(one.version)) for one in there]
        last = PageKey(there[-1].number, "") if len(found) > limit else None
        return answer({"versions": listed, "next": cursor_of(last)})

    @router.get("/{model}/versions/{version}", dependencies=[allow("version.get", READERS)])
    @gives(shown.WholeVersion)
    async def get_version(project: str, model: str, version: str) -> Response:
        """One version with its report: overall and by label, with 95 % intervals; and who has loaded it."""
        await desk.known(project, model)
        record = await desk.version(project, model, version)
        pointer = await desk.registry.pointer(project, model)
        refused = (await desk.loads.refusals(project, model, [version], pointer)).get(version)
        more = record.model_dump(mode="json", include={"settings", "report"})
        loads = await desk.loads.of(project, model, version)
        return answer({**shown.shown_version(record, pointer, refused), **more, "loads": loads})


def _optional(body: type[BaseModel]) -> dict[str, Any]:
    """A body that may be left out."""
    described = inline(body)
    described["requestBody"]["required"] = False
    return described


IfMatch = Annotated[str | None, Header()]


def _changing(router: APIRouter, desk: Desk) -> None:
    @router.post(
        "/{model}/versions/{version}/promote",
        dependencies=[changes("version.promote", ADMINS)],
        openapi_extra=_optional(PromoteWanted),
    )
    @gives(shown.ShownServing, headers=("ETag",))
    async def promote(project: str, model: str, version: str, request: Request, if_match: IfMatch = None) -> Response:
        """Let a version serve, whatever the gate decided. One that serves already goes on.

        Where it was refused as it was loaded it is tried anew; what comes of it is in the version's `loads`.
        """
        wanted = await _wanted(request, PromoteWanted)
        spec = await desk.model(project, model)
        record = await desk.version(project, model, version)
        await desk.loadable(record, spec)
        target = promoted(record, caller_of(request).id, wanted.reason)
        return await _moved(desk, request, project, spec, target, if_match)

    @router.post(
        "/{model}/rollback", dependencies=[changes("model.rollback", ADMINS)], openapi_extra=_optional(RollbackWanted)
    )
    @gives(shown.ShownServing, headers=("ETag",))
    async def rollback(project: str, model: str, request: Request, if_match: IfMatch = None) -> Response:
        """Let an older version serve again: the one before, or the one that is named.

        Sent twice it goes back and forth; with `If-Match` the second one is refused.
        """
        wanted = await _wanted(request, RollbackWanted)
        spec = await desk.model(project, model)
        pointer = await desk.registry.pointer(project, model)
        if pointer is None and wanted.version in (None, SETTINGS):
            raise Problem(409, "nothing_before", f"{model} is served as its settings say, and was never otherwise")
        version = wanted.version or (pointer.previous_version if pointer is not None else SETTINGS)
        if if_match is None and wanted.version is None and pointer is not None:
            if_match = str(pointer.epoch)  # what is before it is decided: nobody may have gone on meanwhile
        target = await _older(desk, request, project, spec, version, wanted.reason)
        return await _moved(desk, request, project, spec, target, if_match)


async def _older(desk: Desk, request: Request, project: str, spec: ModelSpec, version: str, reason: str) -> Target:
    by = caller_of(request).id
    if version == SETTINGS:
        return Target(SETTINGS, "", spec.provider, "", "rolled_back", by, detail=reason)
    record = await desk.version(project, spec.name, version)
    await desk.loadable(record, spec)
    return Target(record.version, record.artifact, record.provider, record.training, "rolled_back", by, detail=reason)


async def _moved(
    desk: Desk, request: Request, project: str, spec: ModelSpec, target: Target, if_match: str | None
) -> Response:
    wanted = await desk.tried_again(project, spec.name, target)
    try:
        pointer = await desk.registry.move(project, spec.name, wanted, epoch=_epoch(if_match))
    except Moved:
        raise Problem(412, "changed_meanwhile", "what serves has changed since; read it again") from None
    note(request, version=pointer.version, epoch=pointer.epoch, reason=target.detail)
    return _serving(project, spec.name, spec.provider, pointer)


def _serving(project: str, model: str, provider: str | None, pointer: Pointer | None) -> Response:
    told = shown.shown_serving(project, model, provider, pointer)
    return answer(told, headers={"ETag": f'"{told["epoch"]}"'})


def _epoch(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    bare = if_match.strip().strip('"')
    if not (bare.isascii() and bare.isdecimal() and len(bare) < 16):
        raise Problem(412, "changed_meanwhile", "that is not the ETag of what serves; read it again")
    return int(bare)


async def _wanted(request: Request, shape: type[Any]) -> Any:
    """The body, which may be left out."""
    body = await json_of(request) if await request.body() else {}
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        raise InvalidEvent.from_validation(error, what="body") from None
