"""What every model of the contract shares: frozen values that ignore fields they do not know.

Readers of today must read what is written tomorrow, so unknown fields are dropped, never refused. A border
that wants to catch a misspelt field (an HTTP body, a settings file) validates with `extra="forbid"` for that
one call.
"""

import math
from collections.abc import Callable, Mapping, Sized
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    StringConstraints,
    ValidationInfo,
)
from pydantic_core import core_schema

from .sentences import Described

READING: Mapping[str, bool] = {"reading": True}
"""Validation context for what is in a log or a store: its writer, perhaps of a later version, has checked it.

Checks of meaning (is this kind known? does this option have an effect?) are for doors and are left out then.
"""


def reading(info: ValidationInfo) -> bool:
    """A value from a log or a store is being read (`context=READING`), not taken in at a door."""
    return bool(info.context and info.context.get("reading"))


class Model(Described):
    """A frozen value of the contract. NaN and infinities are refused: JSON has no word for them."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        ser_json_bytes="base64",
        hide_input_in_errors=True,  # what was sent may be secret, and errors are logged
    )


P = ParamSpec("P")
M = TypeVar("M", bound=BaseModel)


def unchecked(kind: Callable[P, M]) -> Callable[P, M]:
    """A maker of a model's values out of parts that were checked when they came in: it looks at nothing again.

    Takes what the model takes, by name, in half of the time, and least where every field is given. Every one that has
    no fixed default must be, or a TypeError is raised. What is handed in is kept, not copied.
    """
    model: type[BaseModel] = kind  # type: ignore[assignment]  # a class, which Callable cannot say
    defaults = {name: field.default for name, field in model.model_fields.items()}
    given = tuple(
        name for name, field in model.model_fields.items() if field.is_required() or field.default_factory is not None
    )
    everything = set(defaults)
    count = len(defaults)
    new, put = model.__new__, object.__setattr__

    def make(**values: Any) -> BaseModel:
        if len(values) != count:
            for name in given:
                if name not in values:
                    raise TypeError(f"{model.__name__} needs {name}")
            values = {**defaults, **values}
        made = new(model)
        put(made, "__dict__", values)
        put(made, "__pydantic_fields_set__", everything)
        put(made, "__pydantic_extra__", None)
        put(made, "__pydantic_private__", None)
        return made

    return make  # type: ignore[return-value]


def _encodable(text: str) -> str:
    if not text.isascii():
        text.encode()  # a lone surrogate cannot leave this process as UTF-8; UnicodeEncodeError is a ValueError
    return text


Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")]
"""A name people choose for a project, provider or model: 1-40 of a-z, 0-9 and inner hyphens."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_encodable)]
"""A short human-chosen text: a label, a question, a field, an annotator."""

TaskId = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_encodable)]
"""The caller's own id of a task, unique within a project."""

Score = Annotated[float, Field(ge=0, le=1)]
"""A model's confidence, 0 to 1. Missing is null, never 1."""

MAX_INT = 2**53 - 1
"""The largest whole number that JSON's readers agree on (RFC 8259, 6); it fits every store."""

Count = Annotated[int, Field(ge=0, le=MAX_INT)]
"""A whole number, 0 or more."""

Milliseconds = Count
"""Milliseconds since 1970-01-01T00:00:00Z."""


def _storable(value: object) -> object:
    if type(value) is str:  # most are
        return _encodable(value)
    rest = [value]
    while rest:
        item = rest.pop()
        if item is None or isinstance(item, bool):
            continue
        if isinstance(item, str):
            _encodable(item)
        elif isinstance(item, dict):
            rest += item.values()
            rest += item
            if not all(isinstance(key, str) for key in item):
                raise ValueError("keys must be texts")
        elif isinstance(item, list):
            rest += item
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise ValueError("NaN and infinities are no JSON")
        elif not isinstance(item, int):
            raise ValueError(f"{type(item).__name__} is no JSON value")
        elif not -(2**63) <= item < 2**63:
            raise ValueError("whole numbers must fit into 64 bits")
    return value


class NotEmpty:
    """Marks a tuple or mapping of at least one item.

    Not `Field(min_length=1)`: pydantic counts the valid items, and so calls a list of one wrong item empty.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(_not_empty, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler(schema)
        made["minItems" if made.get("type") == "array" else "minProperties"] = 1
        return made


def _not_empty(value: Sized) -> Sized:
    if not value:
        raise ValueError("must have at least one item")
    return value


if TYPE_CHECKING:
    Json = JsonValue
else:
    # Not JsonValue: its union would put the names of Python's types into the places of errors.
    Json = Annotated[Any, AfterValidator(_storable)]
"""Any JSON value with finite numbers and whole numbers of at most 64 bits: what every store can keep."""
