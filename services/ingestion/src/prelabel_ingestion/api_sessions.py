"""Routes of sessions: a link that works once becomes a browser's session, which ends by itself or is ended."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from prelabel_contract import names
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import KeyChanged, LinkUsed
from prelabel_contract.sentences import Described
from prelabel_runtime.bus.base import Message
from prelabel_runtime.http.access import ADMINS, BOOTSTRAP, READERS, Caller, Reach, caller_of, changes
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.audit import note
from prelabel_runtime.http.browser import Hosts, set_cookie
from prelabel_runtime.http.credentials import new_credential
from prelabel_runtime.http.described import gives, gives_nothing
from prelabel_runtime.http.problems import Problem
from prelabel_runtime.run import Runtime
from pydantic import ConfigDict, Field, ValidationError

from .answers import NewLink
from .bodies import inline, json_of
from .doors import Doors
from .keys import made_key

SESSION_SECONDS = 12 * 3600
FORGET_MS = 86_400_000
"""What ended longer ago is taken from the topic."""
FORGET_AT_ONCE = 100


class LinkWanted(Described):
    """A link to be made."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    expires_in_seconds: Annotated[int, Field(ge=1, le=3600)] = 600
    """How long it may be used, once."""


def routes(doors: Doors) -> APIRouter:
    """Make links and end sessions."""
    router = APIRouter()

    @router.post(
        "/links",
        status_code=201,
        dependencies=[changes("link.make", ADMINS, Reach.LISTING)],
        openapi_extra=inline(LinkWanted),
    )
    @gives(NewLink, 201)
    async def post_link(request: Request) -> Response:
        """Make a link that opens a session in a browser, once, with the role and projects of this key."""
        caller = caller_of(request)
        wanted = _validated(await json_of(request))
        credential = new_credential(doors.runtime.random_bytes)
        row = made_key(
            credential,
            kind="link",
            name=caller.name,
            caller=caller,
            reach=tuple(sorted(caller.projects or ())),
            role=caller.role,
            now_ms=doors.runtime.clock.now_ms(),
            seconds=wanted.expires_in_seconds,
        )
        if caller.id == BOOTSTRAP:
            row = row.model_copy(update={"bootstrap": doors.runtime.access.bootstrap})
        await doors.publish(doors.made(row))
        note(request, subject=f"/v1/links/{row.id}", expires_ms=row.expires_ms)
        await doors.runtime.bus.publish(_ended(doors.runtime))
        return answer({"url": f"/enter?token={credential.key}", "expires_ms": row.expires_ms}, status=201)

    @router.delete("/me", status_code=204, dependencies=[changes("session.end", READERS, Reach.LISTING)])
    @gives_nothing(headers=("Set-Cookie",))
    async def end_session(request: Request) -> Response:
        """End the session that asks."""
        access = doors.runtime.access
        row = access.key(caller_of(request).id)
        if row is None or row.kind != "session":
            raise Problem(409, "no_session", "this is a key, not a session: DELETE /v1/keys/{key} revokes it")
        await doors.publish(doors.made(row.model_copy(update={"revoked": True})))
        await access.catch_up()
        return Response(status_code=204, headers={"Set-Cookie": set_cookie(request.scope, "", 0)})

    return router


def entrance(doors: Doors) -> APIRouter:
    """Where links lead."""
    router = APIRouter(tags=["ingestion"])
    hosts = Hosts.of(doors.runtime.settings)

    @router.get(
        "/enter",
        status_code=303,
        dependencies=[changes("session.enter", READERS, Reach.ANYONE)],
    )
    @gives_nothing(303, headers=("Location", "Set-Cookie"))
    async def enter(request: Request, token: str = "") -> Response:
        """Exchange a one-time link for a session, and go to the first page."""
        hosts.check(request.scope)
        key, session = await _exchanged(doors, token)
        note(request, caller=Caller(session.id, session.name, session.role), made_by=session.created_by)
        cookie = set_cookie(request.scope, key, SESSION_SECONDS)
        return Response(status_code=303, headers={"Location": "/", "Set-Cookie": cookie})

    return router


async def _exchanged(doors: Doors, token: str) -> tuple[str, KeyChanged]:
    """The key of a new session, and what is kept of it. Raises a 410.

    Whoever is first in the log gets one, on whichever replica.
    """
    access, clock = doors.runtime.access, doors.runtime.clock
    link = await access.opened_by(token, kind="link")
    if link is None or access.link_used(link.id) is not None:
        raise _spent()
    credential = new_credential(doors.runtime.random_bytes)
    await doors.publish(doors.made(LinkUsed(id=link.id, session=credential.id)))
    await access.catch_up()
    first = access.link_used(link.id)
    if first is None or first.session != credential.id:
        raise _spent()
    session = KeyChanged(
        id=credential.id,
        kind="session",
        name=link.name,
        hash=credential.hash,
        role=link.role,
        projects=link.projects,
        created_ms=clock.now_ms(),
        created_by=link.created_by,
        bootstrap=link.bootstrap,
        expires_ms=clock.now_ms() + SESSION_SECONDS * 1000,
    )
    await doors.publish(doors.made(session))
    await access.catch_up()
    return credential.key, session


def _spent() -> Problem:
    return Problem(410, "link_spent", "this link has been used, or is too old: ask for a new one")


def _ended(runtime: Runtime) -> list[Message]:
    """Tombstones for some links and sessions that ended long ago: they would stay for ever, and be read at each start.

    What a session made has ended before the session did.
    """
    before = runtime.clock.now_ms() - FORGET_MS
    ended = [
        row.id
        for row in runtime.access.rows().values()
        if isinstance(row, KeyChanged) and row.kind in ("link", "session") and (row.expires_ms or before) < before
    ]
    keys = [key for ended_id in ended[:FORGET_AT_ONCE] for key in (f"key/{ended_id}", f"link/{ended_id}")]
    return [Message(names.ACCESS, key.encode(), None) for key in keys if runtime.access.get(key) is not None]


def _validated(body: Any) -> LinkWanted:
    try:
        return LinkWanted.model_validate(body)
    except ValidationError as error:
        raise InvalidEvent.from_validation(error, what="link") from None
