"""Errors, named by what the caller does next.

PrelabelError
  Refused        the request makes no sense as it is: mend it; `fields` says what is wrong where
  NoAccess       the key is missing, unknown, or may not do this: get another one
  NotFound       there is no such thing, or not for this key
  TryLater       it would work, but not now: after `after` seconds
  Unreachable    nothing answers at the address: is it right, is it running?
  Defect         a defect of Prelabel's: report it
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong: where (JSON pointer; "" is the whole), and what would be right."""

    pointer: str
    detail: str


class PrelabelError(Exception):
    """Something did not work; the message is one line for people."""

    def __init__(self, detail: str, *, code: str = "", status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        """The problem's word for machines: unknown_project, invalid, …"""
        self.status = status
        """The HTTP status, if there was an answer."""


class Refused(PrelabelError):
    """The request makes no sense as it is: mend it."""

    def __init__(
        self, detail: str, *, code: str = "", status: int | None = None, fields: Sequence[FieldError] = ()
    ) -> None:
        super().__init__(detail, code=code, status=status)
        self.fields = tuple(fields)


class NoAccess(PrelabelError):
    """The key is missing, unknown, or may not do this."""


class NotFound(PrelabelError):
    """There is no such thing, or not for this key."""


class TryLater(PrelabelError):
    """It would work, but not now."""

    def __init__(self, detail: str, *, code: str = "", status: int | None = None, after: float | None = None) -> None:
        super().__init__(detail, code=code, status=status)
        self.after = after
        """Seconds to wait, where the answer says so."""


class Unreachable(PrelabelError):
    """Nothing answers at the address."""


class Defect(PrelabelError):
    """A defect of Prelabel's."""
