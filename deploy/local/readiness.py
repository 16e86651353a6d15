"""Waiting for a server, whichever way it runs."""

import time
from typing import Protocol

from deploy.local.errors import NotReady

_LOOK_EVERY_S = 0.02


class Awaited(Protocol):
    """A server that was started."""

    @property
    def address(self) -> str: ...

    @property
    def running(self) -> bool: ...

    def answers(self) -> bool: ...

    def last_words(self) -> str:
        """The end of its log, one line."""


def wait_until_ready(server: Awaited, timeout: float) -> None:
    """Returns when `server` answers. Raises NotReady when it ended or `timeout` seconds passed."""
    deadline = time.monotonic() + timeout
    # Alive is asked after the answer: what answered may be somebody else on the port that ours did not get.
    while not (server.answers() and server.running):
        if not server.running:
            raise NotReady(f"{server.address} ended before it was ready; {server.last_words()}")
        if time.monotonic() > deadline:
            raise NotReady(f"{server.address} did not answer in {timeout:g} s; {server.last_words()}")
        time.sleep(_LOOK_EVERY_S)
