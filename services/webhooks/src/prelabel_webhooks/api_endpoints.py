"""Routes of what can be done with an endpoint: give it a new secret, let it go on, try it."""

import orjson
from fastapi import APIRouter, Request, Response
from prelabel_runtime.http.access import ADMINS, Reach, allow, changes
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.bodies import inline, json_of
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import not_found

from .answers import NewSecret, ShownSubscription, Tried
from .bodies import Rotation, validated
from .desk import Desk, shown
from .handlers import TEST, told
from .signing import shown_secret
from .subscriptions import ACTIVE

_LISTING = Reach.LISTING


def routes(desk: Desk) -> APIRouter:
    """What is done to an endpoint."""
    router = APIRouter(prefix="/subscriptions")
    subscriptions, clock = desk.subscriptions, desk.runtime.clock

    @router.post(
        "/{subscription}/secrets",
        dependencies=[changes("subscription.rotate", ADMINS, _LISTING)],
        openapi_extra=inline(Rotation),
    )
    @gives(NewSecret, 201)
    async def rotate(subscription: str, request: Request) -> Response:
        """A new secret (or public key), shown this once. The old ones sign beside it until the overlap is over."""
        row = await desk.find(request, subscription)
        wanted = validated(Rotation, await json_of(request) if await request.body() else {})
        overlap = desk.tools.settings.overlap_hours * 3600 if wanted.overlap_seconds is None else wanted.overlap_seconds
        secret = await subscriptions.rotate(row.id, overlap)
        if secret is None:
            raise not_found("subscription", subscription)
        return answer(shown_secret(secret), status=201)

    @router.post("/{subscription}/resume", dependencies=[changes("subscription.resume", ADMINS, _LISTING)])
    @gives(ShownSubscription)
    async def resume(subscription: str, request: Request) -> Response:
        """Send again, from where it stopped."""
        row = await desk.find(request, subscription)
        if row.state != ACTIVE:
            row = await subscriptions.change(row.id, state=ACTIVE, reason="") or row
        return answer(shown(row, clock.now_ms()))

    @router.post("/{subscription}/test", dependencies=[allow("subscription.test", ADMINS, _LISTING)])
    @gives(Tried)
    async def test(subscription: str, request: Request) -> Response:
        """Send a test event now, and tell what the endpoint answered."""
        row = await desk.find(request, subscription)
        event = desk.runtime.new_id()
        data = orjson.dumps({"subscription": row.id, "message": "This is a test."})
        body = told(TEST, clock.now_ms(), event, 0, data)
        made = await desk.attempt(row, f"msg_{event}", body)
        return answer({"delivered": made.delivered, **made.shown()})

    return router
