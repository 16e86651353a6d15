"""What a route says about its answers, for OpenAPI. Routes build their answers from plain values; this describes them.

    @router.post("/keys", dependencies=[changes("key.make", ADMINS, Reach.LISTING)])
    @gives(NewKey, 201, headers=("Location",))
    async def post_key(request: Request) -> Response: ...

Shapes are pydantic models. Two of one status mean: one or the other. Errors are problems everywhere, and need no word.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from prelabel_contract.sentences import Described
from pydantic import BaseModel, ConfigDict, create_model

Route = TypeVar("Route", bound=Callable[..., Any])
Shape = type[BaseModel]


class Shown(Described):
    """Base of shapes that describe what is shown. Fields without a default are always there."""

    model_config = ConfigDict(protected_namespaces=())


JSON, LINES, EVENTS, PAGE = "application/json", "application/x-ndjson", "text/event-stream", "text/html"
_KEPT = "__answers__"


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer of a route."""

    status: int
    shape: Shape | None
    """Of the whole (JSON), of each line (NDJSON), of each event's data (SSE)."""
    media_type: str | None
    headers: tuple[str, ...]
    """Those that the caller is to read, as `openapi.HEADERS` describes them."""


def answers_of(endpoint: Callable[..., Any]) -> tuple[Answered, ...]:
    """What was said about a route's answers, in the order in which it was written."""
    said: tuple[Answered, ...] = getattr(endpoint, _KEPT, ())
    return said


def gives(shape: Shape, status: int = 200, *, headers: tuple[str, ...] = ()) -> Callable[[Route], Route]:
    """It answers JSON of this shape."""
    return _also(Answered(status, shape, JSON, headers))


def gives_lines(shape: Shape) -> Callable[[Route], Route]:
    """It answers NDJSON: a line of this shape for each."""
    return _also(Answered(200, shape, LINES, ()))


def gives_events(shape: Shape) -> Callable[[Route], Route]:
    """It answers server-sent events whose data are JSON of this shape."""
    return _also(Answered(200, shape, EVENTS, ()))


def gives_page(status: int = 200) -> Callable[[Route], Route]:
    """It answers a page for people."""
    return _also(Answered(status, None, PAGE, ()))


def gives_nothing(status: int = 204, *, headers: tuple[str, ...] = ()) -> Callable[[Route], Route]:
    """It answers without a body."""
    return _also(Answered(status, None, None, headers))


def page(plural: str, shape: Shape) -> Shape:
    """The shape of a list that is read page by page: {"<plural>": [...], "next": cursor | null}."""
    fields: dict[str, Any] = {plural: (list[shape], ...), "next": (str | None, ...)}  # type: ignore[valid-type]
    said = f"{plural.replace('_', ' ').capitalize()}, and the cursor of the next page; null at the end."
    made: Shape = create_model(f"{shape.__name__.removeprefix('Shown')}Page", __doc__=said, **fields)
    return made


def _also(answered: Answered) -> Callable[[Route], Route]:
    def said(route: Route) -> Route:
        setattr(route, _KEPT, (answered, *answers_of(route)))
        return route

    return said
