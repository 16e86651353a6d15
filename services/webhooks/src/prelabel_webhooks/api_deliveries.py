"""Routes of deliveries: what was sent, how it was answered, sending one again."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from prelabel_contract.base import MAX_INT
from prelabel_runtime.http.access import ADMINS, Reach, allow, changes
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.cursors import cursor_of, key_of
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import Problem
from prelabel_runtime.store.deliveries import DeliveryState
from prelabel_runtime.store.paging import PageKey

from . import ledger
from .answers import Deliveries, Tried, WholeDelivery
from .api_subscriptions import Limit
from .desk import Desk, shown_delivery

Moment = Annotated[int, Query(ge=0, le=MAX_INT)]


def routes(desk: Desk) -> APIRouter:
    """Deliveries of a subscription: those that have failed, and the latest of those that have not."""
    router = APIRouter(prefix="/subscriptions/{subscription}/deliveries")
    store = desk.runtime.store

    @router.get("", dependencies=[allow("delivery.list", ADMINS, Reach.LISTING)])
    @gives(Deliveries)
    async def list_deliveries(
        subscription: str,
        request: Request,
        limit: Limit = 100,
        cursor: str | None = None,
        state: DeliveryState | None = None,
        since: Moment = 0,
        type: str | None = None,  # noqa: A002 - its name in the address
        task: str | None = None,
    ) -> Response:
        """Deliveries, the newest event first; `since` is a moment in milliseconds since 1970."""
        row = await desk.find(request, subscription)
        page = await store.deliveries.page(
            row.id,
            limit=limit + 1,
            after=key_of(cursor),
            state=state,
            since_ms=since,
            type=type,
            task=task,
            projects=row.projects or None,
        )
        last = PageKey(page[limit - 1].event_ms, page[limit - 1].id) if len(page) > limit else None
        return answer({"deliveries": [shown_delivery(one) for one in page[:limit]], "next": cursor_of(last)})

    @router.get("/{delivery}", dependencies=[allow("delivery.get", ADMINS, Reach.LISTING)])
    @gives(WholeDelivery)
    async def get(subscription: str, delivery: str, request: Request) -> Response:
        """One delivery: what is sent, without anything secret, and every attempt with its answer."""
        row = await desk.find(request, subscription)
        one = await desk.delivery(row, delivery)
        event = await desk.event(one)
        sent: dict[str, Any] = {
            "method": "POST",
            "url": row.url.partition("?")[0],
            "headers": {"webhook-id": one.id, "webhook-signature": "…", **dict.fromkeys(row.headers, "…")},
            "body": orjson.loads(event.body(row.payload)) if event is not None else None,
        }
        attempts = orjson.loads(one.body)
        return answer({**shown_delivery(one), "request": sent, "attempts_made": attempts})

    @router.post("/{delivery}/resend", dependencies=[changes("delivery.resend", ADMINS, Reach.LISTING)])
    @gives(Tried)
    async def resend(subscription: str, delivery: str, request: Request) -> Response:
        """Send it again now, under the same id, and tell what the endpoint answered."""
        row = await desk.find(request, subscription)
        one = await desk.delivery(row, delivery)
        event = await desk.event(one)
        if event is None:
            raise Problem(410, "gone_from_log", "the event is no longer in the log, or its task was deleted")
        made = await desk.attempt(row, one.id, event.body(row.payload))
        # Where it fails once more, all stays as it was planned.
        planned = one.next_ms if one.state is DeliveryState.PENDING else None
        await store.deliveries.put([ledger.attempted(one, made, planned)])
        return answer({"delivered": made.delivered, **made.shown()})

    return router
