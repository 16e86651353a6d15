"""Calls at a steady rate: a target that counts calls per second never sees two seconds' worth in one."""

HEADROOM = 0.97
"""What is used of a rate: calls that the network bunches together must not make a second's worth too much."""
LATENESS = 0.02
"""Seconds that a call may be made up for, or the time between two calls where that is more."""


class Pace:
    """The next moment at which a call may be sent."""

    def __init__(self, rate: float) -> None:
        """`rate`: calls per second, 0 or more."""
        self.rate = rate
        self._next = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until a call may be sent; infinity at a rate of 0."""
        if self.rate <= 0:
            return float("inf")
        return max(0.0, self._next - max(LATENESS, self._interval) - now)

    def take(self, now: float) -> None:
        """A call is sent."""
        self._next = max(now, self._next) + self._interval

    @property
    def _interval(self) -> float:
        return 1 / (HEADROOM * self.rate)
