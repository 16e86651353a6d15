"""Routes of runs: how far they are, what was refused, progress as it happens."""

import re
from collections.abc import AsyncIterator
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from prelabel_contract.base import MAX_INT
from prelabel_runtime.http.access import READERS, allow
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.cursors import cursor_of, key_of
from prelabel_runtime.http.described import gives, gives_events
from prelabel_runtime.store.base import RunState
from prelabel_runtime.store.paging import PageKey

from .answers import Runs, ShownRun, WrongLines
from .limits import Limit
from .reading import Reading
from .streams import Streams

Line = Annotated[int, Query(ge=0, le=MAX_INT)]
HEARTBEAT_SECONDS = 10.0
LOOK_SECONDS = 0.3
"""How often a followed run is looked at."""


def routes(reading: Reading, streams: Streams) -> APIRouter:
    """Reading runs."""
    router = APIRouter()
    store = reading.store

    @router.get("/runs", dependencies=[allow("run.list", READERS)])
    @gives(Runs)
    async def list_runs(project: str, limit: Limit = 100, cursor: str | None = None) -> Response:
        """Runs, newest first."""
        await reading.project(project)
        runs = await store.runs.page(project, limit=limit + 1, after=key_of(cursor))
        last = PageKey(runs[limit - 1].opened_ms, runs[limit - 1].run) if len(runs) > limit else None
        shown = [(await reading.looks.progress(run)).shown() for run in runs[:limit]]
        return answer({"runs": shown, "next": cursor_of(last)})

    @router.get("/runs/{run}", dependencies=[allow("run.get", READERS)])
    @gives(ShownRun)
    async def get_run(project: str, run: str) -> Response:
        """How far a run is."""
        return answer((await reading.looks.progress(await reading.run(project, run))).shown())

    @router.get("/runs/{run}/errors", dependencies=[allow("run.errors", READERS)])
    @gives(WrongLines)
    async def run_errors(project: str, run: str, limit: Limit = 100, after: Line = 0) -> Response:
        """Lines of the upload that could not be taken, in order."""
        await reading.run(project, run)
        lines = await store.lines.rejected(run, after=after, limit=limit + 1)
        shown = [{"line": line.line, **orjson.loads(line.body)} for line in lines[:limit]]
        return answer({"errors": shown, "next": lines[limit - 1].line if len(lines) > limit else None})

    @router.get("/runs/{run}/events", dependencies=[allow("run.follow", READERS)])
    @gives_events(ShownRun)
    async def follow_run(
        project: str, run: str, request: Request, last_event_id: Annotated[str | None, Header()] = None
    ) -> Response:
        """A run's progress as server-sent events, until it ends."""
        await reading.run(project, run)
        told = int(last_event_id) if last_event_id and re.fullmatch("[0-9]{1,15}", last_event_id) else -1
        events = _progress(reading, streams, project, run, request, told)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return router


async def _progress(
    reading: Reading, streams: Streams, project: str, run: str, request: Request, told: int
) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    silent_since = reading.clock.monotonic()
    while not await request.is_disconnected():
        progress = await reading.looks.progress(await reading.run(project, run))
        over = progress.run.state not in (RunState.OPEN, RunState.SEALED)
        # Counts only grow, so they number the events, also across restarts and replicas.
        number = 2 * (progress.accepted + progress.rejected + progress.ended) + over
        if number > told or over:
            told = number
            silent_since = reading.clock.monotonic()
            yield progress.sse(number)
            if over:
                return
        elif reading.clock.monotonic() - silent_since > HEARTBEAT_SECONDS:
            silent_since = reading.clock.monotonic()
            yield b": still here\n\n"
        if not await streams.go_on(LOOK_SECONDS):
            return
