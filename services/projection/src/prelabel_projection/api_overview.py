"""Routes of the overview: as JSON, as events, and as a page."""

import hashlib
from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from prelabel_runtime.http.access import READERS, Caller, Reach, allow, caller_of
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.described import gives, gives_events, gives_page

from .answers import ShownOverview
from .overview import Overview
from .page import entrance_page, overview_page, policy
from .streams import Streams

HEARTBEAT_SECONDS = 10.0
TICK_SECONDS = 1.0
"""At most so often something is told."""
STREAM_SECONDS = 300.0
"""Then the follower connects anew: whether its key still holds is looked at when it does."""


def routes(overview: Overview, streams: Streams) -> APIRouter:
    """Everything at a glance."""
    router = APIRouter(tags=["projection"])

    @router.get("/v1/overview", dependencies=[allow("overview.get", READERS, Reach.LISTING)])
    @gives(ShownOverview)
    async def get_overview(request: Request) -> Response:
        """What runs, projects with their counts, what happens now, the latest predictions: of the caller's projects."""
        return answer((await overview.read(caller_of(request))).shown())

    @router.get("/v1/overview/events", dependencies=[allow("overview.follow", READERS, Reach.LISTING)])
    @gives_events(ShownOverview)
    async def follow_overview(request: Request) -> Response:
        """The same as server-sent events: now, and whenever something has changed, at most one in a second."""
        events = _events(overview, streams, caller_of(request), request)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @router.get("/", dependencies=[allow("overview.show", READERS, Reach.ANYONE)])
    @gives_page()
    @gives_page(401)
    async def show_overview(request: Request) -> Response:
        """The same as a page for people, which follows by itself. Without a key or session: how to get one."""
        caller: Caller | None = request.state.caller
        if caller is None:
            return _page(entrance_page(), status=401)
        return _page(overview_page(await overview.read(caller)))

    return router


def _page(html: str, *, status: int = 200) -> Response:
    headers = {
        "Content-Security-Policy": policy(),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    return Response(html, status_code=status, media_type="text/html", headers=headers)


async def _events(overview: Overview, streams: Streams, caller: Caller, request: Request) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    told, silent_since = b"", overview.clock.monotonic()
    until = silent_since + STREAM_SECONDS
    while overview.clock.monotonic() < until and not await request.is_disconnected():
        seen = (await overview.read(caller)).shown()
        now_ms = seen.pop("at_ms")
        digest = hashlib.sha256(orjson.dumps(seen)).digest()
        if digest != told:
            told, silent_since = digest, overview.clock.monotonic()
            yield b"id: %d\nevent: overview\ndata: %s\n\n" % (now_ms, orjson.dumps({"at_ms": now_ms, **seen}))
        elif overview.clock.monotonic() - silent_since > HEARTBEAT_SECONDS:
            silent_since = overview.clock.monotonic()
            yield b": still here\n\n"
        if not await streams.go_on(TICK_SECONDS):
            return
