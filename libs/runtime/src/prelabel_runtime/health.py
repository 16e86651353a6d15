"""Probes: is this process alive, is it ready, what does it count. On a port of their own, without keys.

Alive means: every loop has completed a poll lately. Ready means: every part has started, every loop has joined and
none waits for a dependency.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .clock import Clock
from .errors import Unavailable
from .loop import Loop
from .metrics import CONTENT_TYPE, Metrics

POLL_AGE_LIMIT = 60.0
"""Seconds without a completed poll after which a loop counts as dead."""


@dataclass(slots=True)
class Health:
    """What the probes look at."""

    clock: Clock
    started: bool = False
    loops: dict[str, Loop] = field(default_factory=dict)
    defects: dict[str, str] = field(default_factory=dict)

    def unwell(self) -> Mapping[str, str]:
        """Loops that have stopped polling, with how long ago; empty when alive."""
        now = self.clock.monotonic()
        ages = {group: now - loop.polled_at for group, loop in self.loops.items() if loop.joined}
        return {group: f"last poll {age:.0f} s ago" for group, age in ages.items() if age > POLL_AGE_LIMIT}

    def unready(self) -> Mapping[str, str]:
        """What is missing, by name; empty when ready."""
        missing = dict(self.unwell()) | self.defects
        if not self.started:
            missing["process"] = "starting"
        for group, loop in self.loops.items():
            if not loop.joined:
                missing[group] = f"waiting for {loop.waiting_for}" if loop.waiting_for else "joining"
            elif loop.waiting_for:
                missing[group] = f"waiting for {loop.waiting_for}"
        return missing


def probes(health: Health, metrics: Metrics) -> Starlette:
    """The application that answers /livez, /readyz and /metrics."""

    def answer(look: Callable[[], Mapping[str, str]]) -> Callable[[Request], Awaitable[Response]]:
        async def probe(_: Request) -> Response:  # not in a thread, which would look while something changes
            missing = look()
            body = orjson.dumps({"status": "unavailable" if missing else "ok", "missing": missing})
            return Response(body, status_code=503 if missing else 200, media_type="application/json")

        return probe

    async def expose(_: Request) -> Response:
        for group, loop in health.loops.items():
            if loop.joined:
                with contextlib.suppress(Unavailable):  # in an outage the last known lag stands
                    for topic, count in (await loop.lag()).items():
                        metrics.lag.labels(group, topic).set(count)
        return Response(metrics.expose(), media_type=CONTENT_TYPE)

    return Starlette(
        routes=[
            Route("/livez", answer(health.unwell)),
            Route("/readyz", answer(health.unready)),
            Route("/metrics", expose),
        ]
    )
