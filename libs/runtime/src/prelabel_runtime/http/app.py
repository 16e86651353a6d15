"""The application around the routes: a key on every one of them, limits, problems, metrics."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..clock import Clock
from ..metrics import Metrics
from . import every_error, openapi, problems
from .access import NDJSON, public_paths, ruled
from .audit import Audited, Record
from .browser import Secured
from .guard import Guarded, Identify
from .limits import Limits, LimitsSettings
from .measured import Measured


def application(routers: Iterable[APIRouter], *, title: str) -> FastAPI:
    """The routes themselves, with problems as errors, and their description."""
    app = FastAPI(
        title=title,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # it would point to wherever Host says, and over TLS to the same without it
    )
    every_error.install(app)
    for router in routers:
        app.include_router(router)
    ruled(app)  # raises for a route without a rule

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.describe(app)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
    return app


def build(
    routers: Iterable[APIRouter],
    *,
    title: str,
    identify: Identify,
    record: Record,
    limits: LimitsSettings,
    metrics: Metrics,
    clock: Clock,
) -> ASGIApp:
    """One application of some services' routes."""
    app = application(routers, title=title)
    routes = ruled(app)
    paths = {id(route.original): route.path for route in routes}
    bounded = BodyLimit(app, limits.body_bytes, [route.path for route in routes if route.streams])
    audited = Audited(bounded, record)
    guarded = Guarded(audited, identify, public_paths(routes), Limits(limits, clock), metrics)
    return Measured(Secured(guarded), metrics, clock, paths)


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"the limit is {limit} bytes; send many tasks as application/x-ndjson")


class BodyLimit:
    """Caps a body that is read whole. Where a route streams NDJSON, its lines have limits of their own."""

    def __init__(self, app: ASGIApp, limit: int, streaming: Iterable[str]) -> None:
        self._app = app
        self._limit = limit
        self._streaming = [compile_path(path)[0] for path in streaming]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 to what is too large, as soon as that is known."""
        headers = dict(scope.get("headers", ()))
        if scope["type"] != "http" or self._streams(scope, headers):
            await self._app(scope, receive, send)
            return
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._limit:
            await problems.plain(_too_large(self._limit)).response()(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                # FastAPI hands an HTTPException on as it is, and makes a 400 of any other error.
                raise _too_large(self._limit)
            return message

        await self._app(scope, counted, send)

    def _streams(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        kind = headers.get(b"content-type", b"").lower()
        return kind.startswith(NDJSON.encode()) and any(path.match(scope["path"]) for path in self._streaming)
