"""Webhooks' routes: subscriptions, their secrets, their deliveries, recoveries."""

from fastapi import APIRouter

from . import api_deliveries, api_endpoints, api_recoveries, api_subscriptions
from .desk import Desk


def routes(desk: Desk) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/v1", tags=["webhooks"])
    for part in (api_subscriptions, api_endpoints, api_deliveries, api_recoveries):
        router.include_router(part.routes(desk))
    return router
