"""Projection's routes: tasks with what was said about them, counts, export, runs."""

from fastapi import APIRouter

from . import api_runs, api_tasks
from .reading import Reading


def routes(reading: Reading) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/v1/projects/{project}", tags=["projection"])
    for part in (api_tasks, api_runs):
        router.include_router(part.routes(reading))
    return router
