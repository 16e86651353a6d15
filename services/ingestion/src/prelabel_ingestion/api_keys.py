"""Routes of keys: made, shown once, listed, revoked; and who calls."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import KeyChanged
from prelabel_runtime.http.access import ADMINS, BOOTSTRAP, READERS, Caller, Reach, allow, caller_of, changes
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.audit import note
from prelabel_runtime.http.credentials import new_credential
from prelabel_runtime.http.cursors import cursor_of, key_of
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import Problem, not_found
from prelabel_runtime.store.paging import PageKey
from pydantic import ValidationError

from .answers import Keys, Me, NewKey, ShownKey
from .bodies import inline, json_of
from .doors import Doors
from .keys import KeyWanted, made_key, reach_of, shown_key, within


def routes(doors: Doors) -> APIRouter:
    """Make, list and revoke keys."""
    router = APIRouter()
    access = doors.runtime.access

    @router.post(
        "/keys",
        status_code=201,
        dependencies=[changes("key.make", ADMINS, Reach.LISTING)],
        openapi_extra=inline(KeyWanted),
    )
    @gives(NewKey, 201, headers=("Location",))
    async def post_key(request: Request) -> Response:
        """Make a key. It is shown in this answer and never again."""
        caller = caller_of(request)
        wanted = _validated(await json_of(request))
        reach = reach_of(wanted, caller)
        credential = new_credential(doors.runtime.random_bytes)
        row = made_key(
            credential,
            kind="key",
            name=wanted.name,
            caller=caller,
            reach=reach,
            role=wanted.role,
            now_ms=doors.runtime.clock.now_ms(),
            seconds=wanted.expires_in_seconds,
        )
        await _tell(doors, row)
        note(
            request,
            subject=f"/v1/keys/{row.id}",
            name=row.name,
            role=row.role,
            projects=list(row.projects),
            expires_ms=row.expires_ms,
        )
        shown = {"key": credential.key, **shown_key(row, None)}
        return answer(shown, status=201, headers={"Location": f"/v1/keys/{row.id}"})

    @router.get("/keys", dependencies=[allow("key.list", ADMINS, Reach.LISTING)])
    @gives(Keys)
    async def list_keys(
        request: Request,
        kind: Literal["key", "session"] = "key",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: str | None = None,
    ) -> Response:
        """Keys that open nothing but the caller's projects, oldest first; revoked and expired ones too."""
        await access.catch_up()
        after = key_of(cursor)
        found = sorted(
            (PageKey(row.created_ms, row.id), row)
            for row in access.rows().values()
            if isinstance(row, KeyChanged) and row.kind == kind and within(row, caller_of(request))
        )
        page = [item for item in found if after is None or item[0] > after][: limit + 1]
        shown = [shown_key(row, access.used(row.id)) for _, row in page[:limit]]
        return answer({"keys": shown, "next": cursor_of(page[limit - 1][0] if len(page) > limit else None)})

    @router.get("/keys/{key}", dependencies=[allow("key.get", ADMINS, Reach.LISTING)])
    @gives(ShownKey)
    async def get_key(key: str, request: Request) -> Response:
        """What is known of a key, by its id."""
        row = await _row(doors, key, caller_of(request))
        return answer(shown_key(row, access.used(row.id)))

    @router.delete("/keys/{key}", dependencies=[changes("key.revoke", ADMINS, Reach.LISTING)])
    @gives(ShownKey)
    async def revoke_key(key: str, request: Request) -> Response:
        """Revoke a key, by its id: no service takes it from now on. Sessions that it opened end with it."""
        if key == BOOTSTRAP:
            detail = "the key from the settings stays, so that there is a way in: change PRELABEL_API_KEY instead"
            raise Problem(409, "bootstrap_key", detail)
        row = await _row(doors, key, caller_of(request))
        if not row.revoked:
            row = row.model_copy(update={"revoked": True})
            await _tell(doors, row)
        return answer(shown_key(row, access.used(row.id)))

    @router.get("/me", dependencies=[allow("me.get", READERS, Reach.LISTING)])
    @gives(Me)
    async def get_me(request: Request) -> Response:
        """Who calls, by the key, and what time it is here."""
        caller = caller_of(request)
        return answer(
            {
                "id": caller.id,
                "kind": caller.kind,
                "name": caller.name,
                "role": caller.role,
                "projects": None if caller.projects is None else sorted(caller.projects),
                "expires_ms": caller.expires_ms,
                "now_ms": doors.runtime.clock.now_ms(),
            }
        )

    return router


async def _tell(doors: Doors, row: KeyChanged) -> None:
    """Tell every service, and wait until this process knows."""
    await doors.publish(doors.made(row))
    await doors.runtime.access.catch_up()


async def _row(doors: Doors, key_id: str, caller: Caller) -> KeyChanged:
    await doors.runtime.access.catch_up()
    row = doors.runtime.access.key(key_id)
    if row is None or row.kind == "link" or not within(row, caller):
        raise not_found("key", key_id)
    return row


def _validated(body: Any) -> KeyWanted:
    if not isinstance(body, dict):
        raise Problem(422, "invalid", "send a JSON object")
    try:
        return KeyWanted.model_validate(body)
    except ValidationError as error:
        raise InvalidEvent.from_validation(error, what="key") from None
