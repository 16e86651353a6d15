"""The inbound topics' other door: CloudEvents over HTTP, for upstreams that speak them and have no Kafka.

Source: CloudEvents 1.0.2, HTTP protocol binding: binary, structured and batched mode. What comes in is written to
`inbound.<source>` as it is, so that it goes the same way as what comes over Kafka.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, Request, Response
from prelabel_contract import cloudevents, names
from prelabel_contract.base import Slug
from prelabel_contract.errors import FieldError, InvalidEvent
from prelabel_contract.events import PUBLIC
from prelabel_runtime.bus.base import Headers, Message
from prelabel_runtime.http.access import SUBMITTERS, Reach, allow, caller_of
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import Problem, not_found
from pydantic_core import from_json, to_json

from .answers import TakenEvents
from .bodies import content_type
from .doors import Doors

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "enum": sorted(PUBLIC)},
        "data": {"type": "object"},
    },
}
_BODIES = {
    "requestBody": {
        "required": True,
        "content": {
            STRUCTURED: {"schema": _EVENT},
            BATCH: {"schema": {"type": "array", "items": _EVENT}},
            "application/json": {"schema": {"type": "object", "description": "data; its attributes are ce-* headers"}},
        },
    }
}


def routes(doors: Doors) -> APIRouter:
    """Take CloudEvents."""
    router = APIRouter()

    @router.post(
        "/inbound/{source}",
        status_code=202,
        dependencies=[allow("inbound.submit", SUBMITTERS, Reach.LISTING)],
        openapi_extra=_BODIES,
    )
    @gives(TakenEvents, 202)
    async def post_inbound(source: Slug, request: Request) -> Response:
        """Take CloudEvents from an upstream system; what becomes of them is told by events, as over Kafka."""
        bound = doors.settings.inbound.get(source)
        if bound is None or not all(caller_of(request).reaches(project) for project in bound.projects):
            raise not_found("source", source)
        records = list(_records(request, await request.body()))
        topic = names.inbound(source)
        found = [_checked(topic, *record, at=at) for record, at in records]
        await doors.runtime.bus.publish(found)
        return answer({"accepted": len(found)}, status=202)

    return router


def _records(request: Request, body: bytes) -> Iterator[tuple[tuple[Headers, bytes], str]]:
    """Each event as a record of Kafka's, and its JSON pointer in the body."""
    kind = content_type(request)
    if kind == BATCH:
        for number, one in enumerate(_array(body)):
            yield (_content_type(STRUCTURED), to_json(one)), f"/{number}"
    elif kind == STRUCTURED:
        yield (_content_type(STRUCTURED), body), ""
    else:
        attributes = ((name, value) for name, value in request.headers.items() if name.startswith("ce-"))
        headers = tuple(("ce_" + name[3:], unquote(value).encode()) for name, value in attributes)
        yield ((*headers, *_content_type(kind or "application/json")), body), ""


def _content_type(kind: str) -> Headers:
    return (("content-type", kind.encode()),)


def _array(body: bytes) -> list[Any]:
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, "not_json", f"the body is not JSON: {error}") from None
    if not isinstance(value, list):
        raise Problem(422, "not_a_cloudevent", f"{BATCH} is an array of events")
    return value


def _checked(topic: str, headers: Headers, value: bytes, *, at: str) -> Message:
    """A record that can be read. Raises `InvalidEvent` at once where a topic could only have a dead letter."""
    try:
        event = cloudevents.decode(headers, value, topic=topic, types=PUBLIC)
    except InvalidEvent as error:
        errors = [FieldError(pointer=f"{at}/data{e.pointer}", detail=e.detail) for e in error.errors]
        raise InvalidEvent(
            error.reason, error.detail, errors or [FieldError(pointer=at, detail=error.detail)]
        ) from None
    if event is None:
        detail = f"type must be one of {', '.join(sorted(PUBLIC))}"
        raise InvalidEvent("unknown_type", detail, [FieldError(pointer=f"{at}/type", detail=detail)])
    return Message(topic, event.id.encode(), value, headers)
