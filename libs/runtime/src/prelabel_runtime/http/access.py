"""Who may call what: every route names its rule, and a route without one keeps the application from starting.

    @router.get("/projects/{project}/tasks", dependencies=[allow("task.list", READERS)])

A rule says which roles may call, and how far their keys must reach. What a caller cannot reach looks to it as if it
were not there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute
from starlette.types import Scope

from .problems import Problem, not_found


class Role(StrEnum):
    """What a key is for."""

    ADMIN = "admin"
    REVIEWER = "reviewer"
    LABELER = "labeler"
    SERVICE = "service"


class Reach(StrEnum):
    """What a route is about, and so how far a caller must reach."""

    PROJECT = "project"
    """The project in its path."""
    LISTING = "listing"
    """Whatever of the caller's projects there is: the route leaves out the rest."""
    EVERYTHING = "everything"
    """All projects at once: only for keys that are not bound to some."""
    ANYONE = "anyone"
    """No key is needed."""


ADMINS = frozenset({Role.ADMIN})
REVIEWERS = frozenset({Role.ADMIN, Role.REVIEWER})
SUBMITTERS = frozenset({Role.ADMIN, Role.REVIEWER, Role.SERVICE})
READERS = frozenset(Role)
ANNOTATORS = frozenset(Role)


_RULE = "rule"
AUDITED = "audited"
"""Where a request keeps what is to be recorded of it."""
NDJSON = "application/x-ndjson"
BOOTSTRAP = "bootstrap"
"""The id of the key from the settings."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `projects` is None for all of them."""

    id: str
    name: str
    role: str
    projects: frozenset[str] | None = None
    kind: str = "key"
    """key, or session."""
    expires_ms: int | None = None

    def reaches(self, project: str) -> bool:
        """Whether the project is one of the caller's."""
        return self.projects is None or project in self.projects


def caller_of(request: Request) -> Caller:
    """Who calls this route. Raises a 401 for nobody."""
    caller: Caller | None = request.state.caller
    if caller is None:
        raise no_key()
    return caller


def no_key() -> Problem:
    """Nobody that is known here asks for something that needs a key."""
    return Problem(
        401,
        "no_key",
        'no key that is known here: send the API key as "Authorization: Bearer KEY"',
        headers={"WWW-Authenticate": 'Bearer realm="prelabel"'},
    )


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a route. `action` is noun.verb; `audited` ones change what others rely on."""

    action: str
    roles: frozenset[Role]
    reach: Reach = Reach.PROJECT
    audited: bool = False

    def described(self) -> dict[str, Any]:
        """As `x-prelabel-rule` in OpenAPI."""
        roles = [] if self.reach is Reach.ANYONE else sorted(self.roles)
        return {"action": self.action, "roles": roles, "reach": str(self.reach), "audited": self.audited}

    async def __call__(self, request: Request) -> None:
        """Let the request through, or raise the problem that says why not."""
        setattr(request.state, _RULE, self)
        if self.reach is Reach.ANYONE:
            return
        caller = caller_of(request)
        if self.reach is Reach.PROJECT and not caller.reaches(request.path_params["project"]):
            raise not_found("project", request.path_params["project"])
        if caller.role not in self.roles:
            allowed = ", ".join(sorted(self.roles))
            raise Problem(
                403, "forbidden_role", f"{self.action} is for the roles {allowed}; this key is a {caller.role}"
            )
        if self.reach is Reach.EVERYTHING and caller.projects is not None:
            raise Problem(403, "forbidden_reach", f"{self.action} needs a key that reaches all projects")


def rule_met(scope: Scope) -> Rule | None:
    """The rule of the route that a request came to; None if it came to none."""
    rule: Rule | None = scope.get("state", {}).get(_RULE)
    return rule


def allow(action: str, roles: Iterable[Role], reach: Reach = Reach.PROJECT) -> Any:
    """The rule of a route that reads, or hands in work."""
    return Depends(Rule(action, frozenset(roles), reach))


def changes(action: str, roles: Iterable[Role], reach: Reach = Reach.PROJECT) -> Any:
    """The rule of a route that changes what others rely on: who did it is recorded."""
    return Depends(Rule(action, frozenset(roles), reach, audited=True))


@dataclass(frozen=True, slots=True)
class Ruled:
    """A route as it is reached, with its rule."""

    path: str
    methods: frozenset[str]
    rule: Rule
    original: BaseRoute
    """The route as it was written, which may not know the prefixes before its path."""
    streams: bool
    """It takes lines of NDJSON, as they come; every other body is read whole."""


def ruled(app: FastAPI) -> Sequence[Ruled]:
    """Every route of an application with its rule; its own description, which any key may read, is none.

    Raises TypeError for a route that has no rule, several, or one that its path cannot keep; for one that the
    description would not show; and for one that could carry no rule.
    """
    return [_ruled(route) for route in iter_route_contexts(app.routes) if route.path != app.openapi_url]


def _ruled(route: RouteContext) -> Ruled:
    methods = frozenset(route.methods or ())
    path = route.path or ""
    where = f"{', '.join(sorted(methods))} {path}"
    if not isinstance(route.original_route, APIRoute) or not route.include_in_schema:
        raise TypeError(f"{where} can name no rule, or is not described: write it with a router's get(), post(), …")
    rules = [d.dependency for d in route.dependencies if isinstance(d.dependency, Rule)]
    if len(rules) != 1:
        raise TypeError(f"{where} has {len(rules)} rules: name one with allow() or changes()")
    (rule,) = rules
    if (rule.reach is Reach.PROJECT) != ("{project}" in path):
        raise TypeError(f"{where} has the reach {rule.reach}, which does not fit its path")
    if rule.reach is Reach.ANYONE and "{" in path:
        raise TypeError(f"{where} is for anyone, so its path must be one path")
    bodies = (route.openapi_extra or {}).get("requestBody", {}).get("content", {})
    return Ruled(path, methods, rule, route.original_route, streams=NDJSON in bodies)


def public_paths(routes: Iterable[Ruled]) -> frozenset[str]:
    """The paths that need no key."""
    return frozenset(route.path for route in routes if route.rule.reach is Reach.ANYONE)
