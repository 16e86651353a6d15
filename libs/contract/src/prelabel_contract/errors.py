"""What is wrong with a value that came in, said so that its sender can mend it.

InvalidEvent   the value can never be handled: dead-letter it, or answer with a problem
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from .regions import KINDS

FORBIDDEN_PROJECT = "forbidden_project"
"""The reason of what names a project that its sender may not write to: so it is none of that project's business."""
MAX_ERRORS = 20
"""At most so many field errors are told at once."""


class FieldError(BaseModel):
    """One thing that is wrong: where (JSON pointer, RFC 6901; "" is the whole), and what would be right."""

    pointer: str
    detail: str


class InvalidEvent(Exception):
    """A value that no retry can mend. `reason` is a word for machines, `detail` a sentence for people."""

    def __init__(self, reason: str, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.errors = tuple(errors)

    @classmethod
    def from_validation(cls, error: ValidationError, *, what: str, at: str = "") -> "InvalidEvent":
        """Tell a pydantic error without repeating the refused input, which may be secret or huge."""
        found = field_errors(error, at=at)
        return cls("invalid", f"{what}: {found[0].pointer or '(whole value)'}: {found[0].detail}", found)


def field_errors(error: ValidationError, *, at: str = "") -> tuple[FieldError, ...]:
    """Pydantic's errors as pointers and sentences, at most MAX_ERRORS, below the pointer `at`."""
    listed = error.errors(include_url=False, include_input=False, include_context=False)[:MAX_ERRORS]
    return tuple(
        FieldError(pointer=at + pointer(_steps(e["loc"])), detail=e["msg"].removeprefix("Value error, "))
        for e in listed
    )


def pointer(steps: Iterable[Any]) -> str:
    """A JSON pointer (RFC 6901) to where the steps lead."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _steps(loc: tuple[int | str, ...]) -> Iterator[int | str]:
    # The union of regions adds its tag behind a region's index, a mapping's key error adds "[key]": neither
    # is a step of the document. A field may have a kind's name (text, number, rating), so the place decides.
    before: int | str | None = None
    for step in loc:
        tag = isinstance(before, int) and (step in KINDS or step == "unknown")
        if not tag and step != "[key]":
            yield step
        before = step
