"""Bodies of requests, read by the routes themselves, so that every error is a problem of ours."""

from typing import Any

from fastapi import Request
from pydantic import BaseModel
from pydantic_core import from_json

from .problems import Problem


def inline(model: type[BaseModel]) -> dict[str, Any]:
    """What a route's JSON body is, for OpenAPI, where only that route takes it: its schema stands there."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


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
