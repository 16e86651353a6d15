"""A loop on which an hour takes a moment: where nothing is ready, time goes on to the next timer.

For code that waits by asyncio only. What waits for a thread, a process or a socket does not wait on it.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START_MS = 1_700_000_000_000


class _Selector(selectors.DefaultSelector):
    loop: "_Loop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everybody waits, and nothing will ever happen")
            self.loop.now += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


class VirtualClock:
    """The clock of the loop that runs."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return START_MS + round(self.monotonic() * 1000)

    def monotonic(self) -> float:
        """Seconds since the loop began."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def virtually(what: Coroutine[Any, Any, T]) -> T:
    """Run something to its end, in no time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(what)
