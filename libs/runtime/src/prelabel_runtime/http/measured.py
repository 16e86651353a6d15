"""How long answers take, by route."""

from collections.abc import Mapping
from types import MappingProxyType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..clock import Clock
from ..metrics import Metrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Told apart in metrics; anybody may send any other word."""


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
