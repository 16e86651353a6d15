"""Bodies of requests."""

from typing import Any

from fastapi import Request
from prelabel_runtime.http.openapi import ref
from prelabel_runtime.http.problems import Problem
from pydantic import BaseModel
from pydantic_core import from_json


def described(model: type[BaseModel], *, many: bool = False) -> dict[str, Any]:
    """What a route's JSON body is, for OpenAPI: routes read it themselves, so that its errors are ours."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": one_or(model, many=many)}}}}


def inline(model: type[BaseModel]) -> dict[str, Any]:
    """The same for a body that only one route takes: its schema stands where it is used."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


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
        # The reader of everything behind the doors: what it cannot read (too deep) must not come in, and no number
        # may change on the way (orjson makes floats of large ones).
        return from_json(await request.body(), allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, "not_json", f"the body is not JSON: {error}") from None


def bare(idempotency_key: str | None) -> str | None:
    """The key without the quotes that the standard wants around it."""
    return idempotency_key.strip('"') if idempotency_key else None
