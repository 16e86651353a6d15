"""Ingestion's routes: projects, tasks, annotations, predictions while you wait; keys, sessions, providers."""

from fastapi import APIRouter

from . import (
    api_annotations,
    api_inbound,
    api_keys,
    api_predictions,
    api_projects,
    api_providers,
    api_sessions,
    api_tasks,
)
from .doors import Doors


def routes(doors: Doors) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/v1", tags=["ingestion"])
    parts = (api_projects, api_tasks, api_annotations, api_predictions, api_inbound)
    for part in (*parts, api_keys, api_sessions, api_providers):
        router.include_router(part.routes(doors))
    outer = APIRouter()
    outer.include_router(router)
    outer.include_router(api_sessions.entrance(doors))
    return outer
