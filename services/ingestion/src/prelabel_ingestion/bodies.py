"""Bodies of requests and answers."""

from typing import Any

import orjson
from fastapi import Request, Response
from prelabel_runtime.http.openapi import ref
from prelabel_runtime.http.problems import Problem
from pydantic import BaseModel


def described(model: type[BaseModel], *, many: bool = False) -> dict[str, Any]:
    """What a route's JSON body is, for OpenAPI: routes read it themselves, so that its errors are ours."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": one_or(model, many=many)}}}}


def one_or(model: type[BaseModel], *, many: bool) -> dict[str, Any]:
    """The schema of one thing, or of one or an array of them."""
    return {"anyOf": [ref(model), {"type": "array", "items": ref(model)}]} if many else ref(model)


def content_type(request: Request) -> str:
    """The media type of a body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def json_of(request: Request) -> Any:
    """A body that must be JSON. Raises a 415 or a 400."""
    kind = content_type(request)
    if kind != "application/json":
        raise Problem(415, "content_type", f"send application/json, not {kind or 'a body without a type'}")
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise Problem(400, "not_json", f"the body is not JSON: {error}") from None


def answer(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON."""
    return Response(orjson.dumps(value), status_code=status, headers=headers, media_type="application/json")


def bare(idempotency_key: str | None) -> str | None:
    """The key without the quotes that the standard wants around it."""
    return idempotency_key.strip('"') if idempotency_key else None
