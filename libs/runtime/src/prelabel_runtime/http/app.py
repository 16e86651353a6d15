"""The application around the routes: a key on every one of them, limits, problems, metrics."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, FastAPI
from prelabel_contract.limits import MAX_BODY_BYTES
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..clock import Clock
from ..errors import Unavailable
from ..metrics import Metrics
from . import openapi, problems
from .access import Caller, no_key, public_paths, ruled
from .audit import Audited, Record
from .browser import Secured
from .problems import Problem


def application(routers: Iterable[APIRouter], *, title: str) -> FastAPI:
    """The routes themselves, with problems as errors, and their description."""
    app = FastAPI(title=title, version="1", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    problems.install(app)
    for router in routers:
        app.include_router(router)
    ruled(app)  # raises for a route without a rule

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.describe(app)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
    return app


Identify = Callable[[Scope], Awaitable[Caller | None]]
"""Who is behind a request; None if nobody that is known here. Raises `Unavailable`, or a `Problem` to be answered."""


def build(
    routers: Iterable[APIRouter], *, title: str, identify: Identify, record: Record, metrics: Metrics, clock: Clock
) -> ASGIApp:
    """One application of some services' routes."""
    app = application(routers, title=title)
    routes = ruled(app)
    paths = {id(route.original): route.path for route in routes}
    guarded = Guarded(Audited(BodyLimit(app), record), identify, public_paths(routes))
    return Measured(Secured(guarded), metrics, clock, paths)


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Told apart in metrics; anybody may send any other word."""


class Guarded:
    """Refuses every request of nobody that is known. Denies by default: what no rule opens to anyone needs a key."""

    def __init__(self, app: ASGIApp, identify: Identify, public: frozenset[str]) -> None:
        self._app = app
        self._identify = identify
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what somebody sends, with who that is."""
        if scope["type"] == "http" and (refusal := await self._refusal(scope)) is not None:
            await refusal.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Problem | None:
        try:
            caller = await self._identify(scope)
        except Unavailable as error:
            return problems.unavailable(error)
        except Problem as problem:
            return problem
        if caller is None and scope["path"] not in self._public:
            return no_key()
        scope.setdefault("state", {})["caller"] = caller
        return None


def _too_large() -> HTTPException:
    return HTTPException(413, f"the limit is {MAX_BODY_BYTES} bytes; send many tasks as application/x-ndjson")


class BodyLimit:
    """Caps a body that is read whole. A body of NDJSON is a stream: its lines have limits of their own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 to what is too large, as soon as that is known."""
        headers = dict(scope.get("headers", ()))
        if scope["type"] != "http" or headers.get(b"content-type", b"").lower().startswith(b"application/x-ndjson"):
            await self._app(scope, receive, send)
            return
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            await problems.plain(_too_large()).response()(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MAX_BODY_BYTES:
                raise _too_large()  # FastAPI hands an HTTPException on as it is, and makes a 400 of any other error
            return message

        await self._app(scope, counted, send)


class Measured:
    """Times every answer by route."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, clock: Clock, paths: Mapping[int, str] = MappingProxyType({})
    ) -> None:
        self._app = app
        self._paths = paths
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and note how long it took."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock.monotonic()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            found = scope.get("route")
            route = self._paths.get(id(found)) or getattr(found, "path", "")
            seconds = self._clock.monotonic() - started
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.http_seconds.labels(route, method, str(status)).observe(seconds)
