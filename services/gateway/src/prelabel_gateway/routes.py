"""Which service answers what: a path is found as the services themselves would find it, everything else is refused."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prelabel_runtime.errors import Refused
from prelabel_runtime.http.problems import Problem

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_METHODS = frozenset({"get", "head", "post", "put", "patch", "delete", "options"})


@dataclass(frozen=True, slots=True)
class Route:
    """A method on a path of a service."""

    service: str
    method: str
    path: str
    """With its parameters in braces, as documented."""


@dataclass(slots=True)
class _Place:
    """One segment of a path: what may come next, and what is answered here."""

    named: dict[str, "_Place"] = field(default_factory=dict)
    any: "_Place | None" = None
    methods: dict[str, Route] = field(default_factory=dict)

    def step(self, segment: str) -> "_Place":
        """The place after a documented segment, made where it is new."""
        if not segment.startswith("{"):
            return self.named.setdefault(segment, _Place())
        if self.any is None:
            self.any = _Place()
        return self.any

    def reached(self, segments: list[str], at: int = 0) -> Iterator["_Place"]:
        """The places that a path leads to; what is named comes before a parameter."""
        if at == len(segments):
            yield self
            return
        if (named := self.named.get(segments[at])) is not None:
            yield from named.reached(segments, at + 1)
        if self.any is not None and segments[at]:
            yield from self.any.reached(segments, at + 1)


class Routes:
    """All routes of the documents."""

    def __init__(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises `Refused` for a path that two services answer."""
        self._root = _Place()
        self._routes: list[Route] = []
        for service, document in documents.items():
            for path, operations in document["paths"].items():
                for method in _METHODS & operations.keys():
                    self._add(Route(service, method.upper(), path))

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def _add(self, route: Route) -> None:
        place = self._root
        for segment in _segments(route.path):
            if ("{" in segment) != (segment.startswith("{") and segment.endswith("}")):
                raise Refused(f"{route.path} of {route.service} has a parameter within a segment")
            place = place.step(segment)
        there = place.methods.setdefault(route.method, route)
        if there is not route:
            raise Refused(f"{route.method} {route.path} is answered by both {there.service} and {route.service}")
        self._routes.append(route)

    def find(self, method: str, path: str, raw_path: bytes) -> Route:
        """The route of a request. `path` is decoded, `raw_path` as it came. Raises a 404 or a 405."""
        allowed: set[str] = set()
        if _is_plain(path, raw_path):
            for place in self._root.reached(_segments(path)):
                if (route := place.methods.get(method)) is not None:
                    return route
                allowed |= place.methods.keys()
        if not allowed:
            raise Problem(404, "not_found", "there is nothing at this path; GET /openapi.json says what there is")
        methods = ", ".join(sorted(allowed))
        raise Problem(405, "method_not_allowed", f"this path takes {methods}", headers={"Allow": methods})


def _segments(path: str) -> list[str]:
    return path.split("/")[1:]


def _is_plain(path: str, raw_path: bytes) -> bool:
    """Whether nobody on the way could read a path as another one.

    An absolute URI as the target, dot segments, control characters and encoded slashes are refused: some servers and
    proxies resolve them, some do not, and what one of them checks is then not what the next one answers.
    """
    lowered = raw_path.lower()
    return (
        path.startswith("/")
        and b"%2f" not in lowered
        and not _CONTROL.search(path)
        and not {".", ".."}.intersection(_segments(path))
    )
