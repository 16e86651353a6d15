"""Who may call what: every route names its rule, and a route without one keeps the application from starting.

    @router.get("/projects/{project}/tasks", dependencies=[allow("task.list", READERS)])

A rule says which roles may call, and how far their keys must reach. What a caller cannot reach looks to it as if it
were not there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

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


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `projects` is None for all of them."""

    id: str
    name: str
    role: str
    projects: frozenset[str] | None = None

    def reaches(self, project: str) -> bool:
        """Whether the project is one of the caller's."""
        return self.projects is None or project in self.projects


def caller_of(request: Request) -> Caller:
    """Who calls this route. The guard has seen to it that there is somebody."""
    caller: Caller = request.state.caller
    return caller


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a route. `action` is noun.verb; `audited` ones change what others rely on."""

    action: str
    roles: frozenset[Role]
    reach: Reach = Reach.PROJECT
    audited: bool = False

    async def __call__(self, request: Request) -> None:
        """Let the request through, or raise the problem that says why not."""
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


def allow(action: str, roles: Iterable[Role], reach: Reach = Reach.PROJECT) -> Any:
    """The rule of a route that reads, or hands in work."""
    return Depends(Rule(action, frozenset(roles), reach))


def changes(action: str, roles: Iterable[Role], reach: Reach = Reach.PROJECT) -> Any:
    """The rule of a route that changes what others rely on: who did it is recorded."""
    return Depends(Rule(action, frozenset(roles), reach, audited=True))


def rule_of(route: BaseRoute) -> Rule:
    """The rule of a route. Raises TypeError where it has none, several, or one that its path cannot keep."""
    assert isinstance(route, APIRoute)  # noqa: S101
    rules = [d.dependency for d in route.dependencies if isinstance(d.dependency, Rule)]
    where = f"{', '.join(sorted(route.methods or ()))} {route.path}"
    if len(rules) != 1:
        raise TypeError(f"{where} has {len(rules)} rules: name one with allow() or changes()")
    if (rules[0].reach is Reach.PROJECT) != ("{project}" in route.path):
        raise TypeError(f"{where} has the reach {rules[0].reach}, which does not fit its path")
    return rules[0]


def public_paths(routes: Iterable[BaseRoute]) -> frozenset[str]:
    """The paths that need no key. Raises TypeError for a route without a rule."""
    ruled = [(route.path, rule_of(route)) for route in routes if isinstance(route, APIRoute)]
    return frozenset(path for path, rule in ruled if rule.reach is Reach.ANYONE)
