"""What the API says about itself: one OpenAPI document per application, complete enough to write a client from.

Routes read their bodies themselves, so that every error is a problem of ours, and build their answers from plain
values. Bodies are described by `ref` or `bodies.inline`, answers by what stands in `described`; the name of an
operation and who may call it come from its rule; words that many routes use stand in `vocabulary`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import is_dataclass
from http import HTTPStatus
from typing import Any, get_args, get_type_hints

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from prelabel_contract.annotations import OwnAnnotation
from prelabel_contract.projects import Project
from prelabel_contract.sentences import sentences
from prelabel_contract.tasks import Task
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .access import Reach, Rule, Ruled, ruled
from .described import EVENTS, LINES, PAGE, Answered, answers_of
from .vocabulary import ABOUT, HEADERS, PARAMETERS, PROBLEM, PROBLEMS, SECURITY, SUBJECTS

_AT = "#/components/schemas/"
_BODIES: tuple[type[BaseModel], ...] = (Task, Project, OwnAnnotation)


def ref(model: type[BaseModel]) -> dict[str, Any]:
    """A reference to a shape by its name."""
    return {"$ref": _AT + model.__name__}


def describe(app: FastAPI) -> dict[str, Any]:
    """The document of an application.

    What nobody has described is left out: tests/contract/test_openapi.py asks for it.
    Raises TypeError for two shapes of one name.
    """
    document = get_openapi(title=app.title, version=app.version, openapi_version="3.1.0", routes=app.routes)
    document["info"] |= {"description": ABOUT, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}}
    routes = ruled(app)
    shapes = {said.shape for route in routes for said in answers_of(_endpoint(route)) if said.shape} | {*_BODIES}
    _, made = models_json_schema(
        [(shape, "validation") for shape in sorted(shapes, key=_name)], ref_template=_AT + "{model}"
    )
    if twice := [name for name, count in Counter(map(_name, shapes)).items() if count > 1]:
        raise TypeError(f"two shapes have the name {twice[0]}")
    _describe_dataclasses(shapes, made["$defs"])
    schemas = {**document.setdefault("components", {}).get("schemas", {}), **made["$defs"], "Problem": PROBLEM}
    operations = [
        (route, document["paths"][route.path][method.lower()]) for route in routes for method in sorted(route.methods)
    ]
    for route, operation in operations:
        _named(operation, route.rule)
        _described(operation, route)
        _hoisted(operation, schemas)
    document["tags"] = _tags(operations)
    document["components"] = {
        "schemas": {name: schemas[name] for name in sorted(_reached([document["paths"], PROBLEMS], schemas))},
        "responses": PROBLEMS,
        "securitySchemes": SECURITY,
    }
    document["security"] = [{"key": []}, {"session": []}]
    return document


def _describe_dataclasses(shapes: Iterable[type[BaseModel]], schemas: dict[str, Any]) -> None:
    """Shapes describe their own fields; those of dataclasses that they hold are described here."""
    seen: set[type] = set()
    rest: list[Any] = [*shapes]
    while rest:
        kind = rest.pop()
        rest += get_args(kind)
        if not isinstance(kind, type) or kind in seen:
            continue
        seen.add(kind)
        if issubclass(kind, BaseModel):
            rest += [info.annotation for info in kind.model_fields.values()]
        elif is_dataclass(kind):
            rest += get_type_hints(kind).values()
            for name, sentence in sentences(kind).items():
                schemas[kind.__name__]["properties"][name].setdefault("description", sentence)


def _endpoint(route: Ruled) -> Callable[..., Any]:
    assert isinstance(route.original, APIRoute)  # noqa: S101 - ruled() has seen to it
    return route.original.endpoint


def _name(shape: type[BaseModel]) -> str:
    return shape.__name__


def _named(operation: dict[str, Any], rule: Rule) -> None:
    """Its name, its subject and who may call it, all from its rule: one action is one operation."""
    noun, _, verb = rule.action.partition(".")
    operation["operationId"] = f"{verb}_{noun}"
    operation["tags"] = [SUBJECTS[noun][0] if noun in SUBJECTS else noun]
    operation["x-prelabel-rule"] = rule.described()
    if rule.reach is Reach.ANYONE:
        operation["security"] = []


def _described(operation: dict[str, Any], route: Ruled) -> None:
    first, _, rest = operation.get("description", "").partition("\n\n")
    operation["summary"] = " ".join(first.split()).removesuffix(".")
    operation["description"] = "\n\n".join(part for part in (" ".join(first.split()), rest) if part)
    for parameter in operation.get("parameters", ()):
        if "description" not in parameter:
            parameter["description"] = PARAMETERS.get(parameter["name"], "")
    said = answers_of(_endpoint(route))
    if said:
        operation["responses"] = {
            str(one.status): _answered([a for a in said if a.status == one.status]) for one in said
        }
    problems = {"default": "Problem", "404": "NotFound" if "{" in route.path else "", "503": "Unavailable"}
    if route.rule.reach is not Reach.ANYONE:
        problems |= {"401": "NoKey", "403": "Forbidden", "429": "TooMany"}
    operation["responses"].pop("422", None)  # the framework's; ours stand in its place
    for status, name in problems.items():
        if name:
            operation["responses"].setdefault(status, {"$ref": f"#/components/responses/{name}"})


def _answered(said: Sequence[Answered]) -> dict[str, Any]:
    """One status: all that it may come with."""
    response: dict[str, Any] = {"description": HTTPStatus(said[0].status).phrase}
    if headers := sorted({name for one in said for name in one.headers}):
        response["headers"] = {name: HEADERS[name] for name in headers}
    content: dict[str, Any] = {}
    for media_type in dict.fromkeys(one.media_type for one in said if one.media_type):
        shapes = [ref(one.shape) for one in said if one.media_type == media_type and one.shape]
        shape = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
        content[media_type] = {"schema": _schema(media_type, shape)}
    return {**response, **({"content": content} if content else {})}


def _schema(media_type: str, shape: dict[str, Any]) -> dict[str, Any]:
    # OpenAPI 3.1 has no word for the shape of one item of a stream; 3.2 calls it itemSchema.
    if media_type == LINES:
        return {"type": "string", "description": "A JSON object per line.", "x-itemSchema": shape}
    if media_type == EVENTS:
        said = "Server-sent events, their data in JSON. `Last-Event-ID` goes on behind an event."
        return {"type": "string", "description": said, "x-itemSchema": shape}
    return {"type": "string"} if media_type == PAGE else shape


def _hoisted(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """A body's schema that stands in its operation goes where all schemas are, with those that it holds."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content.get("schema", {})
        if not {"properties", "title"} <= schema.keys():
            continue
        inner = schema.pop("$defs", {})
        for name, one in {**inner, schema["title"]: schema}.items():
            if schemas.setdefault(name, pointing := _pointing(one)) != pointing:
                raise TypeError(f"two shapes have the name {name}")
        content["schema"] = {"$ref": _AT + schema["title"]}


def _pointing(value: Any) -> Any:
    """A schema whose references point at where all schemas are."""
    if isinstance(value, list):
        return [_pointing(item) for item in value]
    if isinstance(value, dict):
        return {
            name: item.replace("#/$defs/", _AT) if name == "$ref" else _pointing(item) for name, item in value.items()
        }
    return value


def _tags(operations: Iterable[tuple[Ruled, dict[str, Any]]]) -> list[dict[str, str]]:
    used = {operation["tags"][0] for _, operation in operations}
    described = sorted(dict(SUBJECTS.values()).items())
    return [{"name": tag, "description": sentence} for tag, sentence in described if tag in used]


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
