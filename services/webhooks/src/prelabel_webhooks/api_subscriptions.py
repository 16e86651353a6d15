"""Routes of subscriptions: make one, look at them, change one, delete it."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from prelabel_contract.events import SubscriptionChanged
from prelabel_runtime.http.access import ADMINS, Reach, allow, caller_of, changes
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.bodies import inline, json_of
from prelabel_runtime.http.cursors import cursor_of, key_of
from prelabel_runtime.http.described import gives, gives_nothing
from prelabel_runtime.http.problems import Problem, not_found
from prelabel_runtime.store.paging import PageKey

from .answers import NewlySubscribed, ShownSubscription, Subscriptions
from .bodies import ChangedSubscription, NewSubscription, check_target, validated
from .desk import Desk, check_reach, shown, visible
from .signing import shown_secret
from .subscriptions import DISABLED

Limit = Annotated[int, Query(ge=1, le=1000)]
_LISTING = Reach.LISTING


def routes(desk: Desk) -> APIRouter:
    """Subscriptions themselves."""
    router = APIRouter(prefix="/subscriptions")
    subscriptions, clock = desk.subscriptions, desk.runtime.clock

    @router.post(
        "", dependencies=[changes("subscription.create", ADMINS, _LISTING)], openapi_extra=inline(NewSubscription)
    )
    @gives(NewlySubscribed, 201)
    async def create(request: Request) -> Response:
        """Subscribe an endpoint to events from now on. The answer shows its secret (or public key), this once."""
        wanted = validated(NewSubscription, await json_of(request))
        check_target(desk.policy, wanted.url, wanted.headers)
        caller = caller_of(request)
        check_reach(caller, wanted.projects)
        row = SubscriptionChanged(
            id=desk.runtime.new_id(),
            **wanted.model_dump(exclude={"headers"}),
            created_ms=clock.now_ms(),
            created_by=caller.id,
        )
        await desk.runtime.store.endpoints.create(row.id, await desk.dispatcher.place_since(None))
        row, secret = await subscriptions.add(row, wanted.headers)
        return answer({**shown(row, clock.now_ms()), **shown_secret(secret)}, status=201)

    @router.get("", dependencies=[allow("subscription.list", ADMINS, _LISTING)])
    @gives(Subscriptions)
    async def list_subscriptions(request: Request, limit: Limit = 100, cursor: str | None = None) -> Response:
        """Subscriptions, the oldest first."""
        after = key_of(cursor) or PageKey(-1, "")
        rows = sorted(
            (row for row in subscriptions.all().values() if visible(caller_of(request), row)),
            key=lambda row: (row.created_ms, row.id),
        )
        rows = [row for row in rows if (row.created_ms, row.id) > after]
        last = PageKey(rows[limit - 1].created_ms, rows[limit - 1].id) if len(rows) > limit else None
        now_ms = clock.now_ms()
        return answer({"subscriptions": [shown(row, now_ms) for row in rows[:limit]], "next": cursor_of(last)})

    @router.get("/{subscription}", dependencies=[allow("subscription.get", ADMINS, _LISTING)])
    @gives(ShownSubscription, headers=("ETag",))
    async def get(subscription: str, request: Request) -> Response:
        """One subscription."""
        row = await desk.find(request, subscription)
        return answer(shown(row, clock.now_ms()), headers={"ETag": f'"{row.version}"'})

    @router.patch(
        "/{subscription}",
        dependencies=[changes("subscription.change", ADMINS, _LISTING)],
        openapi_extra=inline(ChangedSubscription),
    )
    @gives(ShownSubscription, headers=("ETag",))
    async def change(subscription: str, request: Request, if_match: Annotated[str | None, Header()] = None) -> Response:
        """Change a subscription; what is left out stays."""
        row = await desk.find(request, subscription)
        wanted = validated(ChangedSubscription, await json_of(request))
        if if_match is not None and if_match.strip('"') != str(row.version):
            raise Problem(412, "changed_meanwhile", "the subscription has changed since that ETag; read it again")
        check_target(desk.policy, wanted.url, wanted.headers)
        if wanted.projects is not None:
            check_reach(caller_of(request), wanted.projects)
        fields = {
            name: value
            for name in wanted.model_fields_set
            if (value := getattr(wanted, name)) is not None or name == "rate"
        }
        if wanted.headers is not None:
            fields["headers"] = subscriptions.seal_headers(row.id, wanted.headers)
        if wanted.state == DISABLED:
            fields["reason"] = "asked"
        changed = await subscriptions.change(row.id, **fields)
        if changed is None:
            raise not_found("subscription", subscription)
        return answer(shown(changed, clock.now_ms()), headers={"ETag": f'"{changed.version}"'})

    @router.delete("/{subscription}", dependencies=[changes("subscription.delete", ADMINS, _LISTING)])
    @gives_nothing()
    async def delete(subscription: str, request: Request) -> Response:
        """Forget a subscription, its secrets, and what was sent to it."""
        row = await desk.find(request, subscription)
        await subscriptions.delete(row.id)
        await desk.dispatcher.forget(row.id)
        return Response(status_code=204)

    return router
