"""Who changed what: said before the answer leaves, or the answer is that nothing is certain.

A route whose rule is `changes(...)` is recorded when it succeeds. The record is acknowledged by the bus before the
caller hears of the success; if it cannot be, the caller gets a 503 and repeats the change, which changes nothing more.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from prelabel_contract.base import Slug
from prelabel_contract.events import AuditRecorded
from pydantic import TypeAdapter, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import Unavailable
from .access import AUDITED, Caller, Rule, rule_met
from .problems import unavailable

Record = Callable[[AuditRecorded], Awaitable[None]]
"""Returns when it is acknowledged. Raises `Unavailable`."""

_MAX_SUBJECT = 300
_SLUG: TypeAdapter[str] = TypeAdapter(Slug)


@dataclass(frozen=True, slots=True)
class Noted:
    """What a route adds to its record."""

    subject: str | None = None
    """Path of what was changed, if it is not the request's own."""
    detail: Mapping[str, Any] | None = None
    """Small, and never a secret."""
    caller: Caller | None = None
    """Who it is, where the request itself does not say."""


def note(request: Request, *, subject: str | None = None, caller: Caller | None = None, **detail: Any) -> None:
    """Add to the record of this request, if it succeeds."""
    setattr(request.state, AUDITED, Noted(subject, detail, caller))


class Audited:
    """Records what audited routes did."""

    def __init__(self, app: ASGIApp, record: Record) -> None:
        self._app = app
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; hold back the answer of a change until it is recorded."""
        withheld = False

        async def recorded(message: Message) -> None:
            nonlocal withheld
            if message["type"] == "http.response.start" and (done := _change(scope, message["status"])) is not None:
                try:
                    await self._record(done)
                except Unavailable as error:
                    withheld = True
                    await unavailable(error).response()(scope, receive, send)
            if not withheld:
                await send(message)

        await self._app(scope, receive, recorded)


def _change(scope: Scope, status: int) -> AuditRecorded | None:
    """The record of a request that changed something; None for any other."""
    rule: Rule | None = rule_met(scope)
    if rule is None or not rule.audited or status >= 400:
        return None
    state = scope["state"]
    noted: Noted = state.get(AUDITED) or Noted()
    caller: Caller | None = noted.caller or state["caller"]
    if caller is None:
        return None
    return AuditRecorded(
        actor=caller.id,
        actor_name=caller.name,
        role=caller.role,
        action=rule.action,
        subject=(noted.subject or scope["path"])[:_MAX_SUBJECT],
        project=_project(scope),
        status=status,
        detail=dict(noted.detail or {}),
    )


def _project(scope: Scope) -> str | None:
    """The project in the path; none for what cannot be the name of one."""
    try:
        return _SLUG.validate_python(scope.get("path_params", {}).get("project"))
    except ValidationError:
        return None
