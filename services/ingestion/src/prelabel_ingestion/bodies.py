"""Bodies of requests."""

from typing import Any

from prelabel_runtime.http.bodies import content_type, inline, json_of
from prelabel_runtime.http.openapi import ref
from pydantic import BaseModel

__all__ = ["bare", "content_type", "described", "inline", "json_of", "one_or"]


def described(model: type[BaseModel], *, many: bool = False) -> dict[str, Any]:
    """What a route's JSON body is, for OpenAPI: routes read it themselves, so that its errors are ours."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": one_or(model, many=many)}}}}


def one_or(model: type[BaseModel], *, many: bool) -> dict[str, Any]:
    """The schema of one thing, or of one or an array of them."""
    return {"anyOf": [ref(model), {"type": "array", "items": ref(model)}]} if many else ref(model)


def bare(idempotency_key: str | None) -> str | None:
    """The key without the quotes that the standard wants around it."""
    return idempotency_key.strip('"') if idempotency_key else None
