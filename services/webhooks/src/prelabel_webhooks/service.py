"""Webhooks, as a table."""

from prelabel_runtime.egress import Egress
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Part, Service

from . import api
from .desk import Desk
from .dispatcher import Dispatcher
from .endpoint import Tools
from .feed import Feed
from .sender import Sender
from .settings import WebhooksSettings
from .subscriptions import Subscriptions, table
from .vault import Vault


class _Calls(Part):
    """The connections to endpoints: nothing to open, closed at the end."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def start(self) -> None:
        """Nothing is open before the first call."""

    async def stop(self) -> None:
        """Close them."""
        await self._egress.aclose()


def build(runtime: Runtime, settings: WebhooksSettings) -> Service:
    """What delivers, and what people tell it. Raises `Refused` without a key to encrypt secrets with."""
    egress = Egress.of(runtime.settings, purpose="webhook", metrics=runtime.metrics, clock=runtime.clock)
    vault = Vault(settings.secret_keys(), runtime.random_bytes)
    rows = table(runtime.bus, runtime.rng)
    subscriptions = Subscriptions(runtime.bus, rows, vault, runtime.clock, runtime.random_bytes)
    feed = Feed(runtime.bus, window_bytes=settings.window_bytes, clock=runtime.clock, rng=runtime.rng)
    sender = Sender(egress, clock=runtime.clock, metrics=runtime.metrics, attempt_seconds=settings.attempt_seconds)
    tools = Tools(runtime.store, feed, sender, subscriptions, settings, runtime.clock, runtime.rng, runtime.metrics)
    dispatcher = Dispatcher(tools, owner=_owner(runtime))
    return Service(
        name="webhooks",
        routers=(api.routes(Desk(runtime, tools, dispatcher, egress.policy)),),
        parts=(_Calls(egress), rows, feed, dispatcher),
    )


def _owner(runtime: Runtime) -> str:
    """Our name on leases. One that is the same after a restart takes up its endpoints at once."""
    if runtime.settings.bus.startswith("sqlite:"):
        return "embedded"  # one process owns the file, so there is no other
    return runtime.settings.instance or runtime.new_id()
