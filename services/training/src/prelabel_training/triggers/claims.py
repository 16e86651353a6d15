"""Who prepares a training: one process at a time, under a claim that others take up when it is not renewed.

A claim keeps work from being done twice; what it leaves open (a process that is held up for longer than its claim) the
training's record decides, which is inserted once.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable

from .states import Remembered, States
from .triggers import Phase

_ROUNDS: Final = 50


def claimed(remembered: Remembered, holder: str, until_ms: int) -> Remembered:
    """With the claim of a process."""
    return remembered.model_copy(update={"claim": holder, "claim_until_ms": until_ms})


def free(remembered: Remembered) -> Remembered:
    """With nobody's claim."""
    return claimed(remembered, "", 0)


class Claim:
    """A claim on one trigger, written with the decision that it is for; renewed for as long as it is entered."""

    def __init__(self, states: States, clock: Clock, *, project: str, model: str, holder: str, seconds: float) -> None:
        self._states = states
        self._clock = clock
        self._project = project
        self._model = model
        self._holder = holder
        self._seconds = seconds

    @contextlib.asynccontextmanager
    async def renewed(self) -> AsyncIterator[None]:
        """Renew it until the end of the block."""
        renewing = asyncio.create_task(self._renew_again_and_again())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])

    async def renew(self) -> bool:
        """Hold it for as long again. False: it is another's by now, or what was decided has been revoked."""
        for _ in range(_ROUNDS):
            kept = await self._states.get(self._project, self._model)
            if kept is None or kept.remembered.claim != self._holder:
                return False
            last = kept.remembered.state.last
            if last is None or last.phase is not Phase.RUNNING:
                return False
            until_ms = self._clock.now_ms() + round(self._seconds * 1000)
            renewed = claimed(kept.remembered, self._holder, until_ms)
            if await self._states.put(self._project, self._model, kept, renewed) is not None:
                return True
        raise Unavailable("the trigger's state")

    async def let_go(self) -> None:
        """Let others do it; where it is another's, nothing changes."""
        for _ in range(_ROUNDS):
            kept = await self._states.get(self._project, self._model)
            if kept is None or kept.remembered.claim != self._holder:
                return
            if await self._states.put(self._project, self._model, kept, free(kept.remembered)) is not None:
                return
        raise Unavailable("the trigger's state")

    async def _renew_again_and_again(self) -> None:
        while True:
            await self._clock.sleep(self._seconds / 3)
            with contextlib.suppress(Unavailable):  # it may answer before the claim is over
                await self.renew()
