"""Calls at a steady rate: a target that counts calls per second never sees two seconds' worth in one."""

import math
from collections import deque

HEADROOM = 0.98
"""What is used of a rate: calls that the network bunches together must not make a second's worth too much."""
LATENESS = 0.25
"""Seconds that calls may be made up for, where this process was late; no second holds more than its worth, though."""
FEW = 10.0
"""Calls per second below which none is made up for: one more would be too many."""


class Pace:
    """The next moment at which a call may be sent."""

    def __init__(self, rate: float) -> None:
        """`rate`: calls per second, 0 or more."""
        self.rate = rate
        self._next = float("-inf")
        self._sent: deque[float] = deque()
        """The calls of the last second."""

    def wait(self, now: float) -> float:
        """Seconds until a call may be sent; infinity at a rate of 0."""
        if self.rate <= 0:
            return float("inf")
        while self._sent and self._sent[0] <= now - 1:
            self._sent.popleft()
        if self.rate < FEW:
            return max(0.0, self._next - now)
        full = len(self._sent) >= math.floor(self.rate) - (self.rate >= 2 * FEW)  # one to spare where there are many
        return max(0.0, self._next - LATENESS - now, self._sent[0] + 1 - now if full else 0.0)

    def change(self, rate: float, now: float) -> None:
        """From now on calls may be sent at another rate."""
        self.rate = rate
        if rate > 0:
            self._next = min(self._next, now + self._interval)

    def take(self, now: float) -> None:
        """A call is sent."""
        self._next = max(now, self._next) + self._interval
        self._sent.append(now)

    @property
    def _interval(self) -> float:
        return 1 / (HEADROOM * self.rate)
