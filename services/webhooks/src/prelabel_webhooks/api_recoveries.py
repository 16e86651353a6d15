"""Routes of recoveries: delivering again what happened in a time. The work survives any process's end."""

import orjson
from fastapi import APIRouter, Request, Response
from prelabel_runtime.http.access import ADMINS, Reach, allow, changes
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.bodies import inline, json_of
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import Problem, not_found
from prelabel_runtime.store.deliveries import RecoveryState, StoredRecovery

from . import cursor
from .answers import ShownRecovery
from .bodies import NewRecovery, validated
from .desk import Desk, shown_recovery
from .handlers import TOPICS


def routes(desk: Desk) -> APIRouter:
    """Recoveries of a subscription."""
    router = APIRouter(prefix="/subscriptions/{subscription}/recoveries")
    runtime = desk.runtime

    @router.post(
        "", dependencies=[changes("recovery.create", ADMINS, Reach.LISTING)], openapi_extra=inline(NewRecovery)
    )
    @gives(ShownRecovery, 202, headers=("Location", "Retry-After"))
    async def create(subscription: str, request: Request) -> Response:
        """Deliver again, under the same ids, what happened since a moment (and before another)."""
        row = await desk.find(request, subscription)
        wanted = validated(NewRecovery, await json_of(request))
        now_ms = runtime.clock.now_ms()
        until_ms = now_ms if wanted.until_ms is None else min(wanted.until_ms, now_ms)
        if wanted.since_ms >= until_ms:
            raise Problem(422, "invalid", "/since_ms must be before /until_ms, and in the past")
        body: dict[str, object] = {"deliveries": wanted.deliveries}
        if wanted.deliveries == "all":
            body["positions"] = cursor.written(await runtime.bus.offsets(TOPICS, wanted.since_ms))
            body["until"] = cursor.written(
                await runtime.bus.offsets(TOPICS, "end" if wanted.until_ms is None else until_ms)
            )
        recovery = StoredRecovery(
            id=runtime.new_id(),
            subscription=row.id,
            since_ms=wanted.since_ms,
            until_ms=until_ms,
            created_ms=now_ms,
            state=RecoveryState.RUNNING,
            done=0,
            body=orjson.dumps(body).decode(),
        )
        await runtime.store.recoveries.put(recovery)
        desk.dispatcher.look()
        where = f"/v1/subscriptions/{row.id}/recoveries/{recovery.id}"
        return answer(shown_recovery(recovery), status=202, headers={"Location": where, "Retry-After": "1"})

    @router.get("/{recovery}", dependencies=[allow("recovery.get", ADMINS, Reach.LISTING)])
    @gives(ShownRecovery)
    async def get(subscription: str, recovery: str, request: Request) -> Response:
        """How far a recovery is."""
        row = await desk.find(request, subscription)
        found = await runtime.store.recoveries.get(row.id, recovery)
        if found is None:
            raise not_found("recovery", recovery)
        return answer(shown_recovery(found))

    return router
