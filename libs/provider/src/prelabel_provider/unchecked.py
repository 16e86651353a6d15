"""The contract's models from values that are known to fit: checked already, or our own."""

from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)
_set = object.__setattr__


def unchecked(cls: type[M], values: dict[str, Any], given: set[str]) -> M:
    """A model of all of its fields, in their order, and the names of those that were given. It keeps both.

    As `model_construct` does, which looks at every field once more.
    """
    made = cls.__new__(cls)
    _set(made, "__dict__", values)
    _set(made, "__pydantic_fields_set__", given)
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made
