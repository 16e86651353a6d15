"""Answers as the OpenAPI document promises them: every one that a test gets is compared with it."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx
import orjson
from jsonschema import Draft202012Validator
from prelabel_all_in_one.openapi import ALL, documents
from prelabel_gateway.routes import Routes
from prelabel_runtime.http.problems import Problem

_DOCUMENT: dict[str, Any] = orjson.loads(next(text for path, text in documents() if path.stem == ALL))
_ROUTES = Routes({ALL: _DOCUMENT})


async def as_documented(response: httpx.Response) -> None:
    """A hook for a client: raises AssertionError for an answer that the document does not know."""
    request = response.request
    path, _, _ = request.url.raw_path.partition(b"?")
    try:
        route = _ROUTES.find(request.method, request.url.path, path)
    except Problem:
        assert response.status_code in (401, 404, 405, 503) or path == b"/openapi.json", response
        return
    operation = _DOCUMENT["paths"][route.path][route.method.lower()]
    where = f"{route.method} {route.path} {response.status_code}"
    promised = operation["responses"].get(str(response.status_code))
    if promised is None or "$ref" in promised:
        assert response.is_error, f"{where} is not documented"
        assert response.headers["content-type"] in ("application/problem+json", "text/html; charset=utf-8"), where
        return
    for name in promised.get("headers", {}):
        assert name in response.headers, f"{where} has no header {name}"
    kind = response.headers.get("content-type", "").partition(";")[0]
    content = promised.get("content", {})
    assert kind in content or (not kind and not content), f"{where} comes as {kind or 'nothing'}"
    schema = content.get(kind, {}).get("schema", {})
    if kind == "application/json":
        _compare(schema, orjson.loads(await response.aread()), where)
    elif kind == "application/x-ndjson":
        for line in (await response.aread()).splitlines():
            _compare(schema["x-itemSchema"], orjson.loads(line), where)


def _compare(schema: Mapping[str, Any], value: Any, where: str) -> None:
    for wrong in _validator(orjson.dumps(schema)).iter_errors(value):
        raise AssertionError(f"{where}: {wrong.json_path}: {wrong.message[:300]}")


@cache
def _validator(schema: bytes) -> Draft202012Validator:
    return Draft202012Validator({**orjson.loads(schema), "components": _DOCUMENT["components"]})
