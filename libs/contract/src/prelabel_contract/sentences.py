"""The sentence under a field describes it. It is read from the source when somebody asks for a schema.

Pydantic's own way (`use_attribute_docstrings`) reads the source of every class as the class is made: at every start of
every process, none of which is asked for a schema then (docs/decisions/0047).

What is nested describes itself: in the schema of a `Described` model, the fields of another one have descriptions,
those of the standard library's dataclasses and TypedDicts have none. Nested settings are `Described` models.
"""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core import core_schema


class Described(BaseModel):
    """Base of models whose schemas say what stands under their fields."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, source: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler(source)
        properties = handler.resolve_ref_schema(made).get("properties", {})
        for name, sentence in sentences(cls).items():
            shown = cls.model_fields[name].alias or name
            if shown in properties:
                properties[shown].setdefault("description", sentence)
        return made


def sentences(kind: type) -> Mapping[str, str]:
    """What stands under the fields of a model or a dataclass, by field; what a subclass writes again counts there only.

    Nothing for one that was made by a program, or whose source is not there.
    """
    names = (
        kind.model_fields.keys() if issubclass(kind, BaseModel) else getattr(kind, "__dataclass_fields__", {}).keys()
    )
    found: dict[str, str] = {}
    for cls in reversed(kind.__mro__):
        own = inspect.get_annotations(cls).keys() & names
        if own:
            said = _in_module(cls.__module__).get(cls.__qualname__, {})
            found |= dict.fromkeys(own, "") | {name: said[name] for name in own & said.keys()}
    return {name: sentence for name, sentence in found.items() if sentence}


@cache
def _in_module(module: str) -> Mapping[str, Mapping[str, str]]:
    """By class, then by field: a source is read once, whoever asks for how many of its classes."""
    try:
        written = inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):
        return {}
    return dict(_classes(ast.parse(written), ""))


def _classes(node: ast.AST, within: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.ClassDef():
                yield within + child.name, dict(_fields(child))
                yield from _classes(child, f"{within}{child.name}.")
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _classes(child, f"{within}{child.name}.<locals>.")
            case ast.stmt() | ast.ExceptHandler() | ast.match_case():  # the latter two hold statements, and are none
                yield from _classes(child, within)


def _fields(written: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for line, below in pairwise(written.body):
        match line, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(sentence))):
                yield name, inspect.cleandoc(sentence)
