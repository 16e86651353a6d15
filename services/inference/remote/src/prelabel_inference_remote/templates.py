"""Bodies in other forms than ours, by JMESPath: https://jmespath.org."""

from typing import Annotated, Any

import jmespath
from pydantic import AfterValidator, Field, StringConstraints


def _readable(expression: str) -> str:
    """Raises ValueError that says where it cannot be read."""
    compiled(expression)
    return expression


def compiled(expression: str) -> Any:
    """A template, ready to be used. Raises ValueError for what is none."""
    try:
        return jmespath.compile(expression)
    except (ValueError, RecursionError) as error:  # its own errors are ValueErrors, and so is a number without end
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"no JMESPath: {said[:200]}") from None


Template = Annotated[
    str,
    StringConstraints(min_length=1, max_length=8000),
    AfterValidator(_readable),
    Field(json_schema_extra={"format": "jmespath"}),
]
"""A JMESPath expression; the schema names its format, so that the API refuses what cannot be read."""


class Unfit(Exception):
    """A template cannot be used on what it was given."""


def filled(template: Any, given: dict[str, Any]) -> Any:
    """What a template makes of something. Raises `Unfit`, which quotes nothing of it."""
    try:
        return template.search(given)
    except (TypeError, ValueError, AttributeError, LookupError, RecursionError, ArithmeticError) as error:
        raise Unfit(type(error).__name__) from None
