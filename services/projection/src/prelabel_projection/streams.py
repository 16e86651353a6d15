"""Answers that stay open: they end when the process is to stop."""

import asyncio
import contextlib

from prelabel_runtime.service import Part


class Streams(Part):
    """Ends the open streams when the process is to stop: nobody should wait for pages that are left open."""

    def __init__(self) -> None:
        self._ending = asyncio.Event()

    async def start(self) -> None:
        """Nothing to get ready."""

    async def stop(self) -> None:
        """Nothing to let go."""

    async def run(self) -> None:
        """Until the process stops."""
        try:
            await asyncio.Event().wait()
        finally:
            self._ending.set()

    async def go_on(self, seconds: float) -> bool:
        """Wait so long; False at once when it is time to end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)
        return not self._ending.is_set()
