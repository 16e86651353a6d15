"""The gateway, put together."""

import asyncio
import os
import random

from prelabel_contract import names
from prelabel_runtime.clock import Clock
from prelabel_runtime.health import Health
from prelabel_runtime.http.measured import Measured
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.process import on_signals, serve_application
from prelabel_runtime.settings import ProcessSettings

from .api import Gateway
from .documents import load, merge
from .headers import Forwarding
from .routes import Routes
from .settings import GatewaySettings
from .upstreams import Answering, Upstream


async def serve(
    process: ProcessSettings, settings: GatewaySettings, clock: Clock, *, stopping: asyncio.Event | None = None
) -> None:
    """Run until `stopping` is set; without one, until a signal. Raises `Refused`."""
    if stopping is None:
        on_signals(stopping := asyncio.Event())
    metrics, health = Metrics(), Health(clock)
    documents = load(settings.services, settings.documents)
    upstreams = {name: Upstream(name, origins, settings) for name, origins in settings.services.items()}
    gateway = Gateway(
        routes=Routes(documents),
        upstreams=upstreams,
        document=merge(documents),
        forwarding=Forwarding(settings.trusted),
        metrics=metrics,
        new_id=lambda: names.uuid7(clock.now_ms(), os.urandom),
        closing=stopping,
    )
    answering = Answering(upstreams, health, clock, random.SystemRandom(), patience=settings.patience_seconds)
    await serve_application(
        Measured(gateway, metrics, clock),
        [answering],
        settings=process,
        health=health,
        metrics=metrics,
        stopping=stopping,
        proxy_headers=False,  # whom to believe about a caller is a setting of ours
        ws="none",
    )
