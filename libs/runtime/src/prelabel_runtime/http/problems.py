"""Errors over HTTP: problem details (RFC 9457), never a traceback, never what was sent."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import orjson
from prelabel_contract.errors import FieldError, InvalidEvent
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from .. import log
from ..errors import Unavailable

_log = log.get("prelabel.http")


class Problem(Exception):
    """An answer that is an error: its status, a word for machines, a sentence, and what is wrong where."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """As application/problem+json."""
        body: dict[str, object] = {
            "type": f"urn:prelabel:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [error.model_dump() for error in self.errors]
        return Response(
            orjson.dumps(body), status_code=self.status, media_type="application/problem+json", headers=self.headers
        )


def not_found(what: str, name: str) -> Problem:
    """There is no such thing, or not for this caller: the two look the same."""
    return Problem(404, f"unknown_{what}", f"there is no {what.replace('_', ' ')} {name!r}")


def unavailable(error: Unavailable) -> Problem:
    """Something we depend on is down; nothing was taken."""
    wait = max(1, round(error.after))
    return Problem(
        503,
        "unavailable",
        f"{error.what} does not answer; nothing was lost, try again",
        headers={"Retry-After": str(wait)},
    )


def invalid(error: InvalidEvent, status: int = 422) -> Problem:
    """What was sent cannot be taken."""
    return Problem(status, error.reason, error.detail, error.errors)


def plain(error: HTTPException) -> Problem:
    """The framework's own errors: no such route, wrong method, body too large."""
    return Problem(
        error.status_code, HTTPStatus(error.status_code).name.lower(), str(error.detail), headers=error.headers
    )


async def defect(_: Request, error: Exception) -> Response:
    """A defect of ours: told without its inside, logged with it."""
    _log.error("defect while answering", error=type(error).__name__, exc_info=error)
    return Problem(500, "defect", "this is a defect of ours; the log has more").response()
