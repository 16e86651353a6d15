"""How callers get in: one application of some services' routes, and what must run so that it knows who calls.

Imported where there are routes only: what answers over HTTP takes long to import, and models answer none.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from fastapi import APIRouter
from prelabel_contract.events import AuditRecorded, event
from starlette.types import ASGIApp, Scope

from ..loop import messages
from ..service import Part, Service
from . import app
from .access import Caller
from .browser import Hosts
from .keys import Keys
from .limits import LimitsSettings
from .oidc_settings import OidcSettings

if TYPE_CHECKING:  # it opens this one
    from ..run import Runtime


def entrance(routers: Sequence[APIRouter], runtime: "Runtime", name: str) -> tuple[Service, ASGIApp]:
    """What knows the callers, and the application. Raises `Refused` for settings that let nobody in."""
    keys = Keys(
        runtime.access,
        runtime.settings.key(),
        Hosts.of(runtime.settings),
        bus=runtime.bus,
        clock=runtime.clock,
        new_id=runtime.new_id,
    )

    async def record(done: AuditRecorded) -> None:
        told = event(done, id=runtime.new_id(), source="/access", time_ms=runtime.clock.now_ms())
        await runtime.bus.publish(messages([told]))

    identify, parts = _with_tokens(runtime, keys)
    api = app.build(
        routers,
        title=f"Prelabel {name}",
        identify=identify,
        record=record,
        limits=LimitsSettings(),
        metrics=runtime.metrics,
        clock=runtime.clock,
    )
    return Service(name="access", parts=parts), api


def _with_tokens(
    runtime: "Runtime", keys: Keys
) -> tuple[Callable[[Scope], Awaitable[Caller | None]], tuple[Part, ...]]:
    """Keys, and where an issuer is set its tokens too."""
    settings = OidcSettings()
    if not settings.issuer:
        return keys.identify, (keys,)
    from ..egress import Egress
    from .oidc import Oidc

    egress = Egress.of(runtime.settings, purpose="oidc", metrics=runtime.metrics, clock=runtime.clock)
    tokens = Oidc(settings, egress=egress, clock=runtime.clock)
    return tokens.after(keys.identify), (keys, tokens)
