"""Errors over HTTP: problem details (RFC 9457), never a traceback, never what was sent."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prelabel_contract.errors import FieldError, InvalidEvent, pointer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import log
from ..errors import Refused, Unavailable

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


def install(app: FastAPI) -> None:
    """Make every error of an application a problem."""

    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)  # noqa: S101 - registered for this class
        return error.response()

    async def http_exception(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        return plain(error).response()

    async def validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        errors = [FieldError(pointer=pointer(e["loc"]), detail=e["msg"]) for e in error.errors()[:20]]
        return Problem(422, "invalid", f"{errors[0].pointer}: {errors[0].detail}", errors).response()

    async def invalid_event(_: Request, error: Exception) -> Response:
        assert isinstance(error, InvalidEvent)  # noqa: S101
        return invalid(error).response()

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=400)  # nobody is there to read it: the caller broke off

    async def dependency(_: Request, error: Exception) -> Response:
        assert isinstance(error, Unavailable)  # noqa: S101
        return unavailable(error).response()

    async def let_in_no_more(_: Request, error: Exception) -> Response:
        # The bus or the store: a password or a right has changed. Callers are told that much; the log says what.
        _log.error("not allowed while answering", reason=str(error))
        return unavailable(Unavailable("something this needs")).response()

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(HTTPException, http_exception)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(InvalidEvent, invalid_event)
    app.add_exception_handler(Unavailable, dependency)
    app.add_exception_handler(Refused, let_in_no_more)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, defect)


def plain(error: HTTPException) -> Problem:
    """The framework's own errors: no such route, wrong method, body too large."""
    return Problem(
        error.status_code, HTTPStatus(error.status_code).name.lower(), str(error.detail), headers=error.headers
    )


async def defect(_: Request, error: Exception) -> Response:
    """A defect of ours: told without its inside, logged with it."""
    _log.error("defect while answering", error=type(error).__name__, exc_info=error)
    return Problem(500, "defect", "this is a defect of ours; the log has more").response()
