"""Routes of tasks with what was said about them: pages, single ones, counts, export."""

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from prelabel_runtime.http.access import READERS, allow
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.cursors import cursor_of, key_of
from prelabel_runtime.http.described import gives, gives_lines
from prelabel_runtime.store.base import State

from .answers import Counts, TaskPredictions, Tasks, WholeTask
from .limits import Limit
from .reading import Filter, Reading, shown_task


def routes(reading: Reading) -> APIRouter:
    """Reading tasks."""
    router = APIRouter()

    @router.get("/tasks", dependencies=[allow("task.list", READERS)])
    @gives(Tasks)
    async def list_tasks(
        project: str,
        limit: Limit = 100,
        cursor: str | None = None,
        run: str | None = None,
        model: str | None = None,
        state: State | None = None,
        predictions: bool = False,
    ) -> Response:
        """Tasks in the order in which they were accepted; `predictions=true` adds what the models said.

        Data that is too large for an event is left out here: null in `data`, its size and beginning in `blobs`, and
        regions likewise in `regions_blob`. A single task and the export have all of it.
        """
        await reading.project(project)
        page = await reading.page(project, Filter(run, model, state), limit=limit + 1, after=key_of(cursor))
        tasks = [task for _, task in page[:limit]]
        shown = await reading.with_predictions(tasks) if predictions else [shown_task(t) for t in tasks]
        return answer({"tasks": shown, "next": cursor_of(page[limit - 1][0] if len(page) > limit else None)})

    @router.get("/tasks/{task}", dependencies=[allow("task.get", READERS)])
    @gives(WholeTask)
    async def get_task(project: str, task: str) -> Response:
        """One task, by its uid or its caller's id, with predictions and annotations."""
        shown = (await reading.in_full([await reading.task(project, task)]))[0]
        return answer(await reading.whole(project, shown))

    @router.get("/tasks/{task}/predictions", dependencies=[allow("prediction.list", READERS)])
    @gives(TaskPredictions)
    async def get_predictions(project: str, task: str) -> Response:
        """What every model said about a task, or that it has not said it yet."""
        found = await reading.task(project, task)
        shown = (await reading.with_predictions([found]))[0]
        shown.pop("blobs", None)  # not asked for
        shown = await reading.whole(project, shown)
        return answer({"task": found.uid, "predictions": shown["predictions"]})

    @router.get("/counts", dependencies=[allow("project.count", READERS)])
    @gives(Counts)
    async def counts(project: str) -> Response:
        """Tasks of a project, and its requests by model and state."""
        await reading.project(project)
        by_model = await reading.store.outcomes.counts(project)
        models = {model: {str(state): n for state, n in states.items()} for model, states in by_model.items()}
        return answer({"tasks": await reading.store.tasks.count(project), "models": models})

    @router.get("/export", dependencies=[allow("task.export", READERS)])
    @gives_lines(WholeTask)
    async def export(
        project: str, run: str | None = None, model: str | None = None, state: State | None = None
    ) -> Response:
        """Every task with its predictions and annotations, as NDJSON, streamed."""
        await reading.project(project)
        lines = reading.export(project, Filter(run, model, state))
        return StreamingResponse(lines, media_type="application/x-ndjson")

    return router
