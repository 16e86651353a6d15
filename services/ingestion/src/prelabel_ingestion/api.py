"""Ingestion's routes: projects, tasks, annotations, and predictions while you wait."""

from fastapi import APIRouter

from . import api_annotations, api_predictions, api_projects, api_tasks
from .doors import Doors


def routes(doors: Doors) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/v1", tags=["ingestion"])
    for part in (api_projects, api_tasks, api_annotations, api_predictions):
        router.include_router(part.routes(doors))
    return router
