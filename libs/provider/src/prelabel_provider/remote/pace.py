"""Calls at a steady rate: a target that counts calls per second never sees two seconds' worth in one."""

import math
from collections import deque

HEADROOM = 0.98
"""What is used of a rate: calls that the network bunches together must not make a second's worth too much."""
LESS = 0.97
"""What is used of that after a refusal: how much the network bunches together shows."""
LEAST = 0.8
"""What is used of a rate at least."""
MORE = 0.0005
"""What is used more with each second since."""
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
        self._used = HEADROOM
        self._refused_at = float("-inf")
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
        # One to spare where there are many, and more where that has been too little.
        full = len(self._sent) >= math.floor(self.rate * self._headroom(now) / HEADROOM) - (self.rate >= 2 * FEW)
        return max(0.0, self._next - LATENESS - now, self._sent[0] + 1 - now if full else 0.0)

    def change(self, rate: float, now: float) -> None:
        """From now on calls may be sent at another rate."""
        self.rate = rate
        if rate > 0:
            self._next = min(self._next, now + self._interval(now))

    def refused(self, now: float) -> None:
        """A call was one too many all the same. Refusals of one second are one."""
        if now - self._refused_at >= 1:
            self._used = max(LEAST, LESS * self._headroom(now))
            self._refused_at = now

    def take(self, now: float) -> None:
        """A call is sent."""
        self._next = max(now, self._next) + self._interval(now)
        self._sent.append(now)

    def _interval(self, now: float) -> float:
        return 1 / (self._headroom(now) * self.rate)

    def _headroom(self, now: float) -> float:
        return (
            min(HEADROOM, self._used + MORE * max(0.0, now - self._refused_at)) if self._used < HEADROOM else HEADROOM
        )
