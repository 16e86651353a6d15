"""The route of the audit: who changed what."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from prelabel_contract.base import MAX_INT
from prelabel_runtime.http.access import ADMINS, Caller, Reach, allow, caller_of
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.cursors import cursor_of, key_of
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import not_found
from prelabel_runtime.store.audit import StoredAudit
from prelabel_runtime.store.base import Store
from prelabel_runtime.store.paging import PageKey

from .answers import Audit
from .limits import Limit


def routes(store: Store) -> APIRouter:
    """Reading the audit."""
    router = APIRouter(prefix="/v1", tags=["projection"])

    @router.get("/audit", dependencies=[allow("audit.list", ADMINS, Reach.LISTING)])
    @gives(Audit)
    async def list_audit(
        request: Request,
        project: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        since: Annotated[int, Query(ge=0, le=MAX_INT)] = 0,
        limit: Limit = 100,
        cursor: str | None = None,
    ) -> Response:
        """Who changed what, newest first, since a moment (ms since 1970). A key of some projects sees theirs only."""
        rows = await store.audit.page(
            limit=limit + 1,
            after=key_of(cursor),
            projects=_projects(caller_of(request), project),
            actor=actor,
            action=action,
            since_ms=since,
        )
        last = PageKey(rows[limit - 1].at_ms, rows[limit - 1].id) if len(rows) > limit else None
        return answer({"audit": [_shown(row) for row in rows[:limit]], "next": cursor_of(last)})

    return router


def _projects(caller: Caller, project: str | None) -> list[str] | None:
    if project is not None:
        if not caller.reaches(project):
            raise not_found("project", project)
        return [project]
    return None if caller.projects is None else sorted(caller.projects)


def _shown(row: StoredAudit) -> dict[str, Any]:
    return {
        "id": row.id,
        "at_ms": row.at_ms,
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "project": row.project,
        **orjson.loads(row.body),
    }
