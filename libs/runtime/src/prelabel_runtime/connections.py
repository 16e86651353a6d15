"""Connections of callers: one that owes us the rest of what it began is given up, since each costs a file descriptor.

uvicorn waits for ever for a head, and for the rest of a body that was refused.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """Between two requests there are so many seconds for what is left of the one and the head of the other."""

    seconds = 20.0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Somebody connects."""
        super().connection_made(transport)
        self._wait()

    def on_response_complete(self) -> None:
        """A request is answered; the next one may have come already."""
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._unwait()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._unwait()
        if not self.transport.is_closing():
            self._late = self.loop.call_later(self.seconds, self._give_up)

    def _unwait(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering:
            self.transport.close()
