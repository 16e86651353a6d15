"""Ingestion's routes: projects, tasks, annotations, predictions while you wait; keys, providers."""

from fastapi import APIRouter

from . import api_annotations, api_keys, api_predictions, api_projects, api_providers, api_tasks
from .doors import Doors


def routes(doors: Doors) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/v1", tags=["ingestion"])
    for part in (api_projects, api_tasks, api_annotations, api_predictions, api_keys, api_providers):
        router.include_router(part.routes(doors))
    return router
