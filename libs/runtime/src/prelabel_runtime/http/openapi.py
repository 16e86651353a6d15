"""What the API says about itself: one OpenAPI document per application, complete enough to write a client from.

Routes read their bodies themselves, so that every error is a problem of ours. The shapes of these bodies come from
the contract: routes refer to them by `ref`.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from prelabel_contract.annotations import Annotation
from prelabel_contract.projects import Project
from prelabel_contract.tasks import Task
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .access import Reach, ruled
from .browser import SESSION_COOKIE

_AT = "#/components/schemas/"
_BODIES: tuple[type[BaseModel], ...] = (Task, Project, Annotation)

_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "Problem details (RFC 9457). `errors` says what is wrong where, by JSON pointer.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:prelabel:problem:unknown_project"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


def ref(model: type[BaseModel]) -> dict[str, Any]:
    """A reference to a body's shape: Task, Project or Annotation."""
    return {"$ref": _AT + model.__name__}


def describe(app: FastAPI) -> dict[str, Any]:
    """The document of an application."""
    document = get_openapi(title=app.title, version=app.version, openapi_version="3.1.0", routes=app.routes)
    _, bodies = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_AT + "{model}")
    known = document.setdefault("components", {}).get("schemas", {})
    schemas = {**bodies["$defs"], **known, "Problem": _PROBLEM}
    content = {"application/problem+json": {"schema": {"$ref": f"{_AT}Problem"}}}
    problem = {"description": "A problem", "content": content}
    for route in document["paths"].values():
        for operation in route.values():
            operation["responses"].pop("422", None)  # the framework's; ours stand in its place
            operation["responses"]["default"] = problem
    document["components"] = {
        "schemas": {name: schemas[name] for name in sorted(_reached(document["paths"], schemas))},
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer"},
            "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
        },
    }
    document["security"] = [{"key": []}, {"session": []}]
    _rules(document, app)
    return document


def _rules(document: dict[str, Any], app: FastAPI) -> None:
    """Say at every operation who may call it."""
    for route in ruled(app):
        for method in route.methods:
            operation = document["paths"][route.path][method.lower()]
            operation["x-prelabel-rule"] = route.rule.described()
            if route.rule.reach is Reach.ANYONE:
                operation["security"] = []


def _reached(start: Any, schemas: dict[str, Any]) -> set[str]:
    """The schemas that something refers to, directly or through others."""
    found: set[str] = set()
    rest = [start]
    while rest:
        item = rest.pop()
        if isinstance(item, list):
            rest += item
        elif isinstance(item, dict):
            rest += item.values()
            name = str(item.get("$ref", "")).removeprefix(_AT)
            if name in schemas and name not in found:
                found.add(name)
                rest.append(schemas[name])
    return found
