"""The services' OpenAPI documents: what there is to call, and where."""

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
from prelabel_runtime.errors import Refused

Document = dict[str, Any]


def load(services: Iterable[str], folder: Path | None = None) -> dict[str, Document]:
    """Each service's document, from a folder or from this package. Raises `Refused`."""
    there = folder if folder is not None else resources.files(__package__) / "openapi"
    return {service: _read(service, there / f"{service}.json") for service in services}


def _read(service: str, file: Any) -> Document:
    try:
        document = orjson.loads(file.read_bytes())
        document["paths"]  # whatever lacks them is none
    except OSError:
        raise Refused(f"PRELABEL_GATEWAY_SERVICES names {service!r}, and there is no document {file}") from None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise Refused(f"{file} is no OpenAPI document") from None
    return dict(document)


def merge(documents: Mapping[str, Document]) -> Document:
    """One document of them all. Raises `Refused` where two services say different things under one name."""
    merged: Document = {"openapi": "3.1.0", "info": {"title": "Prelabel", "version": "1"}}
    for service, document in documents.items():
        for name, value in document.items():
            if name != "info":
                merged[name] = _joined(merged.get(name), value, f"{service}: /{name}")
    if "tags" in merged:
        merged["tags"] = sorted(merged["tags"], key=lambda tag: str(tag["name"]))
    return merged


def _joined(here: Any, other: Any, where: str) -> Any:
    if here is None or here == other:
        return other
    if isinstance(here, dict) and isinstance(other, dict):
        return here | {name: _joined(here.get(name), value, f"{where}/{name}") for name, value in other.items()}
    if isinstance(here, list) and isinstance(other, list):  # tags, servers
        return [*here, *(item for item in other if item not in here)]
    raise Refused(f"the services' documents contradict each other at {where}")
