"""Routes of leases: take open tasks, keep them longer, give them back; and whether it is worth going on."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response
from prelabel_contract.base import Model, Slug
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import ProjectChanged
from prelabel_contract.projects import Project
from prelabel_runtime.http.access import ANNOTATORS, READERS, allow, caller_of
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.bodies import inline, json_of
from prelabel_runtime.http.described import gives, gives_nothing
from prelabel_runtime.http.problems import Problem, not_found
from prelabel_runtime.http.speaking import annotator_of, not_its_own, speaks_for
from prelabel_runtime.tables import Table
from pydantic import Field, ValidationError

from .lease_answers import LeasedTasks, RenewedLease, StopSignal
from .leases.leases import Lease
from .leases.lending import LONGEST, SHORTEST, LeaseWish, Lending, lease_id, parsed, shown
from .leases.stopping import Point, StopRules, signal

Curve = Callable[[Project, str], Awaitable[Sequence[Point]]]
"""The learning curve of a project's model: its versions in the order in which they were trained."""
LeaseName = Annotated[str, Path(description="A lease, as it was answered.")]
OfModel = Annotated[
    Slug | None, Query(description="The model that is to be sure. Without it the first of the project.")
]
_ROUTES: Final = "/v1/projects/{project}"
Body = TypeVar("Body", bound=Model)


class Renewal(Model):
    """For how long a lease goes on."""

    ttl: Annotated[float, Field(ge=SHORTEST, le=LONGEST)] = 600.0
    """Seconds from now."""


def routes(lending: Lending, projects: Table[ProjectChanged], curve: Curve) -> APIRouter:
    """Leases, over HTTP."""
    router = APIRouter(prefix=_ROUTES, tags=["training"])

    @router.post("/leases", dependencies=[allow("lease.take", ANNOTATORS)], openapi_extra=inline(LeaseWish))
    @gives(LeasedTasks)
    async def post_leases(project: str, request: Request) -> Response:
        """Take open tasks to answer: nobody else is given them until the leases end or are given back.

        Tasks that have an annotation (a skipped one, too) are not open; one whose annotations were all withdrawn is.
        Answered tasks need not be given back. Of the hold-out, and of the share that the project says, no suggestions
        are shown (`blind`). With no task open and free the answer is an empty list.

        A labeler's key takes tasks for itself only (403, `forbidden_annotator`). Nobody holds more tasks of a project
        than the settings allow: who asks for more is given as many as there is room for; with no room it is a 409,
        `too_many_leases`, that says how many are held.
        """
        spec = await _project(projects, project)
        wish = _wish(LeaseWish, await json_of(request), "lease")
        if wish.model is not None and spec.model(wish.model) is None:
            raise not_found("model", wish.model)
        lent = await lending.lend(spec, wish, annotator_of(caller_of(request), wish.annotator))
        seen = {"open": len(lent.pool.tasks), "held": lent.held, "seen": lent.pool.seen, "whole": lent.pool.whole}
        return answer({"leases": [shown(one) for one in lent.given], "pool": seen})

    @router.post(
        "/leases/{lease}/renewal", dependencies=[allow("lease.renew", ANNOTATORS)], openapi_extra=inline(Renewal)
    )
    @gives(RenewedLease)
    async def renew_lease(project: str, lease: LeaseName, request: Request) -> Response:
        """Keep a task longer, also late, unless it was given back or somebody else was given it: a 409 then.

        A labeler's key renews its own leases only (403, `forbidden_annotator`). A late one counts anew among those that
        its annotator holds; with no room for it the task is given back (409, `too_many_leases`).
        """
        await _project(projects, project)
        wish = _wish(Renewal, await json_of(request) if await request.body() else {}, "renewal")
        task, token = _named(lease)
        known = await held(request, project, task, token)
        kept = None if known is None else await lending.renew(project, task, known, wish.ttl)
        if kept is None:
            raise Problem(409, "lease_lost", "the task was given back, or to somebody else: take another one")
        said = {"lease": lease_id(task, kept), "task": task, "annotator": kept.annotator, "until_ms": kept.until_ms}
        return answer(said)

    @router.delete("/leases/{lease}", status_code=204, dependencies=[allow("lease.release", ANNOTATORS)])
    @gives_nothing(204)
    async def release_lease(project: str, lease: LeaseName, request: Request) -> Response:
        """Give a task back, unanswered or not. The answer is the same where it is not held (any more).

        It is free a few seconds later, so that an answer handed in just before is known by then. A labeler's key gives
        back its own leases only (403, `forbidden_annotator`).
        """
        await _project(projects, project)
        task, token = _named(lease)
        if await held(request, project, task, token) is not None:
            await lending.leases.release(project, task, token)
        return Response(status_code=204)

    @router.get("/stopping", dependencies=[allow("stopping.get", READERS)])
    @gives(StopSignal)
    async def get_stopping(project: str, model: OfModel = None) -> Response:
        """Whether it is worth going on annotating, and why. Nothing is stopped by it."""
        spec = await _project(projects, project)
        if model is not None and spec.model(model) is None:
            raise not_found("model", model)
        names = [one.name for one in spec.models]
        asked = model or next(iter(names), None)
        pool = await lending.pools.read(project, names, wanted=StopRules().minimum)
        points = await curve(spec, asked) if asked is not None else ()
        # Nothing found in a part of the tasks does not say that nothing is left.
        doubts = [one.uncertainty(asked) for one in pool.tasks] or ([] if pool.whole else [None])
        found = signal(points, doubts, StopRules())
        said = {"stop": found.stop, "reason": str(found.reason), "text": found.text}
        return answer({**said, "open": len(pool.tasks), "whole": pool.whole})

    async def held(request: Request, project: str, task: str, token: str) -> Lease | None:
        """A lease, by its token, that the caller may change; None: it is lost. Raises a 403."""
        found = await lending.leases.find(project, task, token)
        if found is not None and not speaks_for(caller := caller_of(request), found.annotator):
            raise not_its_own(caller, "lease")
        return found

    return router


async def _project(projects: Table[ProjectChanged], project: str) -> Project:
    row = await projects.find(project)
    if row is None or row.deleted:
        raise not_found("project", project)
    return row.project


def _wish(kind: type[Body], body: Any, what: str) -> Body:
    try:
        return kind.model_validate(body, extra="forbid")
    except ValidationError as error:
        raise InvalidEvent.from_validation(error, what=what) from None


def _named(lease: str) -> tuple[str, str]:
    named = parsed(lease)
    if named is None:
        raise not_found("lease", lease)
    return named
