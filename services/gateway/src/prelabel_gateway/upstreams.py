"""The services behind the gateway: where they are, and whether they have answered."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import count

from prelabel_runtime.clock import Clock
from prelabel_runtime.egress import EgressError, NotSent, Streamed, Upstreams
from prelabel_runtime.health import Health
from prelabel_runtime.retry import backoff
from prelabel_runtime.service import Part

from .headers import Header
from .settings import GatewaySettings


class Upstream:
    """One service, at one address or several, with connections of its own: one that hangs holds up no other."""

    def __init__(self, name: str, origins: Sequence[str], settings: GatewaySettings) -> None:
        """Raises `Refused` for what is no address."""
        self.name = name
        self._origins = tuple(origins)
        self._turn = count()
        self._calls = Upstreams(origins, connections=settings.connections)
        self._connect_seconds = settings.connect_seconds
        self.idle_seconds = settings.idle_seconds

    async def open(
        self,
        stack: contextlib.AsyncExitStack,
        method: str,
        target: bytes,
        headers: Sequence[Header],
        content: AsyncIterator[bytes] | bytes = b"",
    ) -> Streamed:
        """The answer's beginning; the connection is given back with the stack.

        Where an address takes no connection the next one is tried. Raises `EgressError`.
        """
        failure: NotSent | None = None
        turn = next(self._turn) % len(self._origins)
        for origin in self._origins[turn:] + self._origins[:turn]:
            try:
                return await stack.enter_async_context(
                    self._calls.stream(
                        method,
                        origin,
                        target,
                        headers=headers,
                        content=content,
                        connect_seconds=self._connect_seconds,
                        idle_seconds=self.idle_seconds,
                    )
                )
            except NotSent as error:
                failure = error
        raise failure or NotSent("no address")

    async def answers(self) -> bool:
        """Whether it says anything at all: what it says needs a key."""
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self.open(stack, "GET", b"/openapi.json", ())
        except EgressError:
            return False
        return True

    async def aclose(self) -> None:
        """Close every connection."""
        await self._calls.aclose()


class Answering(Part):
    """Not ready before the services have answered once. Later outages are theirs: the gateway answers for the rest."""

    def __init__(
        self, upstreams: Mapping[str, Upstream], health: Health, clock: Clock, rng: random.Random, *, patience: float
    ) -> None:
        self._upstreams = upstreams
        self._missing = health.defects
        self._clock = clock
        self._rng = rng
        self._patience = patience
        self._one = asyncio.Event()

    async def start(self) -> None:
        """Nothing has answered yet."""
        for name in self._upstreams:
            self._missing[name] = "has not answered yet"

    async def run(self) -> None:
        """Ask each until it answers."""
        async with asyncio.TaskGroup() as group:
            for upstream in self._upstreams.values():
                group.create_task(self._until_answered(upstream))
            await self._clock.sleep(self._patience)
            await self._one.wait()  # one service that is down must not keep all others from callers
            self._missing.clear()

    async def stop(self) -> None:
        """Let go of the connections."""
        for upstream in self._upstreams.values():
            await upstream.aclose()

    async def _until_answered(self, upstream: Upstream) -> None:
        for wait in backoff(0.1, 5.0, self._rng):
            if await upstream.answers():
                self._missing.pop(upstream.name, None)
                self._one.set()
                return
            await self._clock.sleep(wait)
