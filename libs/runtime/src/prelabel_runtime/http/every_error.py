"""Every error of an application is answered as a problem."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prelabel_contract.errors import FieldError, InvalidEvent, pointer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import log
from ..errors import Refused, Unavailable
from .problems import Problem, defect, invalid, plain, unavailable

_log = log.get("prelabel.http")


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
