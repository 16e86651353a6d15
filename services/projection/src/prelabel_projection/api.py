"""Projection's routes: tasks with what was said about them, counts, export, runs."""

from fastapi import APIRouter

from . import api_runs, api_tasks
from .reading import Reading
from .streams import Streams


def routes(reading: Reading, streams: Streams) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/v1/projects/{project}", tags=["projection"])
    router.include_router(api_tasks.routes(reading))
    router.include_router(api_runs.routes(reading, streams))
    return router
