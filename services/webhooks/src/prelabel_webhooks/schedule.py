"""When to try again, and when to give up: without a clock, a store or a network, so that days pass in no time.

A delivery is tried at once, then after each wait of the schedule. An endpoint is judged beside its deliveries: after
some failures in a row new events wait for it in the log (it is held, and one at a time tries whether it works again);
after days of nothing but failure it is hopeless. Any success makes all good.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

JITTER = 0.2
"""A wait is up to this part shorter or longer."""
LONGEST_RETRY_AFTER = 24 * 3600.0
"""Seconds that an endpoint may ask us to wait."""
_FIRST_HOLD = 1.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """The waits between attempts, in seconds."""

    waits: Sequence[float]

    def next_ms(
        self, attempts: int, now_ms: int, rng: random.Random, *, retry_after: float | None = None
    ) -> int | None:
        """When the next attempt is, after so many; None if that was the last.

        retry_after: seconds that the endpoint asked for; it makes a wait longer, never shorter.
        """
        if attempts > len(self.waits):
            return None
        wait = self.waits[attempts - 1] * (1 + JITTER * (2 * rng.random() - 1))
        return now_ms + round(1000 * max(wait, retry_after or 0.0))


@dataclass(slots=True)
class Standing:
    """How an endpoint has done lately."""

    failing_since_ms: int | None = None
    """When the failures began that no success has ended."""
    in_a_row: int = 0
    next_try_ms: int = 0
    """While it is held: when the next new event may try it."""
    tries: int = 0
    """While it is held: how often that was waited for; each wait is twice as long as the one before."""

    def succeeded(self) -> None:
        """It took a delivery."""
        self.failing_since_ms = None
        self.in_a_row = self.next_try_ms = self.tries = 0

    def failed(self, now_ms: int, *, hold_after: int, longest_hold: float) -> None:
        """It did not."""
        if self.failing_since_ms is None:
            self.failing_since_ms = now_ms
        self.in_a_row += 1
        if self.in_a_row >= hold_after and now_ms >= self.next_try_ms:
            wait = min(_FIRST_HOLD * 2 ** min(self.tries, 30), longest_hold)
            self.next_try_ms = now_ms + round(1000 * wait)
            self.tries += 1

    def held(self, hold_after: int) -> bool:
        """Whether new events wait."""
        return self.in_a_row >= hold_after

    def hopeless(self, now_ms: int, hours: float) -> bool:
        """Whether it has failed for so long."""
        return self.failing_since_ms is not None and now_ms - self.failing_since_ms >= hours * 3_600_000
