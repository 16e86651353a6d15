"""Runs: how far they are, what was refused, and following them."""

import json
from typing import Any

from ..models import LineError, Progress
from ..sse import ServerEvent
from ..streams import Many, Page, events, pages
from ..wire import Call, Request, get, path


def every(project: str, *, limit: int | None = None) -> Many[Progress]:
    """Runs, newest first."""

    def page(found: Any) -> Page[Progress]:
        return Page([Progress.of(run) for run in found["runs"]], found.get("next"))

    return pages(get(path("projects", project, "runs"), page), limit=limit)


def one(project: str, run: str) -> Call[Progress]:
    """How far a run is."""
    return get(path("projects", project, "runs", run), Progress.of)


def errors(project: str, run: str, *, limit: int | None = None) -> Many[LineError]:
    """Lines of the upload that were refused, in order."""

    def page(found: Any) -> Page[LineError]:
        after = found.get("next")
        return Page([LineError.of(e) for e in found["errors"]], None if after is None else str(after))

    asked = get(path("projects", project, "runs", run, "errors"), page, limit=500)
    return pages(asked, cursor="after", limit=limit)


def follow(project: str, run: str, *, appear: float = 30.0) -> Many[Progress]:
    """A run's progress as it happens, until it ends. A lost connection is taken up again.

    `appear`: seconds to wait for a run that is not known yet. Uploads are answered before all services have heard of
    them; a busy one takes its time.
    """
    request = Request("GET", path("projects", project, "runs", run, "events"), repeatable=True, patience=30.0)

    def read(event: ServerEvent) -> Progress | None:
        return Progress.of(json.loads(event.data)) if event.event == "progress" else None

    return events(request, read, lambda progress: progress.over, appear=appear)
