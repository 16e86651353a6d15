"""The gateway's application: the documents' routes, handed on; one document of them all; nothing else."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson
from prelabel_runtime.http.problems import Problem, defect
from prelabel_runtime.metrics import Metrics
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .documents import Document
from .forwarding import Call, forward
from .headers import REQUEST_ID, Forwarding, request_id
from .routes import Route, Routes
from .upstreams import Upstream

DOCUMENT = Route("gateway", "GET", "/openapi.json")


@dataclass(frozen=True, slots=True)
class Gateway:
    """An ASGI application. Whether a caller may do what they ask for, each service judges by itself."""

    routes: Routes
    upstreams: Mapping[str, Upstream]
    document: Document
    forwarding: Forwarding
    metrics: Metrics
    new_id: Callable[[], str]
    closing: asyncio.Event
    """Set when this process is to end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        id_ = request_id(scope["headers"], self.new_id())
        try:
            response = await self._handled(scope, receive, send, id_)
        except Problem as problem:
            response = problem.response()
        except Exception as error:
            response = await defect(Request(scope), error)
        if response is not None:
            response.raw_headers.append((REQUEST_ID, id_))
            await response(scope, receive, send)

    async def _handled(self, scope: Scope, receive: Receive, send: Send, id_: bytes) -> Response | None:
        if (scope["method"], scope["path"]) == (DOCUMENT.method, DOCUMENT.path):
            scope["route"] = DOCUMENT
            return Response(orjson.dumps(self.document), media_type="application/json")
        scope["route"] = route = self.routes.find(scope["method"], scope["path"], scope["raw_path"])
        client = scope["client"][0] if scope["client"] else ""
        headers = self.forwarding.upstream(scope["headers"], client=client, scheme=scope["scheme"], id_=id_)
        call = Call(route, self.upstreams[route.service], headers, id_, self.closing)
        await forward(call, scope, receive, send, self.metrics)
        return None
