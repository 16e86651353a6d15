"""Calls at a steady rate: a target that counts calls per second never sees two seconds' worth in one."""

HEADROOM = 0.97
"""What is used of a rate: calls that the network bunches together must not make a second's worth too much."""
LATENESS = 0.02
"""Seconds that a call may be made up for. With `HEADROOM`, no second then holds more calls than the rate."""


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
        return max(0.0, self._next - LATENESS - now)

    def change(self, rate: float, now: float) -> None:
        """From now on calls may be sent at another rate."""
        self.rate = rate
        if rate > 0:
            self._next = min(self._next, now + self._interval)

    def take(self, now: float) -> None:
        """A call is sent."""
        self._next = max(now, self._next) + self._interval

    @property
    def _interval(self) -> float:
        return 1 / (HEADROOM * self.rate)
