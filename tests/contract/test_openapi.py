"""The OpenAPI documents are valid, complete and steady: somebody can write a client from nothing else."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from prelabel_all_in_one.openapi import ALL, documents
from prelabel_runtime.http.described import EVENTS, LINES

ROOT = Path(__file__).parents[2]
DOCUMENTS: dict[str, dict[str, Any]] = {path.stem: json.loads(text) for path, text in documents()}
METHODS = {"get", "put", "post", "patch", "delete"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENTS[ALL]["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS, (path, method)
            yield method, path, operation


OPERATIONS = [pytest.param(*one, id=one[2]["operationId"]) for one in operations()]


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_document_is_valid_openapi_3_1(name: str) -> None:
    errors = [str(error)[:500] for error in OpenAPIV31SpecValidator(DOCUMENTS[name]).iter_errors()]
    assert errors == []
    assert DOCUMENTS[name]["openapi"].startswith("3.1.")


def test_what_is_committed_is_what_the_code_says() -> None:
    differing = [path for path, text in documents() if (ROOT / path).read_bytes() != text]
    assert differing == [], "run make golden"


def test_every_operation_has_a_name_of_its_own() -> None:
    counted = Counter(operation["operationId"] for _, _, operation in operations())
    assert [name for name, count in counted.items() if count > 1] == []
    assert all(re.fullmatch(r"[a-z]+_[a-z]+", name) for name in counted)


def test_every_subject_is_described() -> None:
    known = {tag["name"] for tag in DOCUMENTS[ALL]["tags"] if tag["description"].endswith(".")}
    used = {tag for _, _, operation in operations() for tag in operation["tags"]}
    assert used == known


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_an_operation_says_what_it_does_and_takes(method: str, path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"].rstrip().endswith((".", ":", "`"))
    described = {(p["in"], p["name"]): p.get("description") for p in operation.get("parameters", ())}
    assert all(described.values()), [name for (_, name), said in described.items() if not said]
    assert {name for where, name in described if where == "path"} == set(re.findall(r"{(\w+)}", path))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        assert content["schema"]


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_an_operation_says_what_it_answers(method: str, path: str, operation: dict[str, Any]) -> None:
    good = {status: one for status, one in operation["responses"].items() if status[0] in "23"}
    assert good
    for status, answer in good.items():
        assert ("content" in answer) == (status not in ("204", "303")), f"{status}: use what stands in described.py"
        for kind, content in answer.get("content", {}).items():
            assert content["schema"], f"{status} {kind}: use what stands in described.py"
            assert ("x-itemSchema" in content["schema"]) == (kind in (LINES, EVENTS))
    assert operation["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
    assert ("404" in operation["responses"]) >= ("{" in path)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_an_operation_says_who_may_call_it(method: str, path: str, operation: dict[str, Any]) -> None:
    rule = operation["x-prelabel-rule"]
    open_to_all = rule["reach"] == "anyone"
    assert (operation.get("security") == []) == open_to_all
    assert bool(rule["roles"]) != open_to_all
    assert {"401", "403", "429"} <= operation["responses"].keys() or open_to_all


def test_every_shape_says_what_it_is() -> None:
    for name, schema in DOCUMENTS[ALL]["components"]["schemas"].items():
        assert "description" in schema or "enum" in schema or "const" in schema, name


def test_a_service_says_of_an_operation_what_all_in_one_says() -> None:
    for name, document in DOCUMENTS.items():
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                assert operation == DOCUMENTS[ALL]["paths"][path][method], (name, method, path)
