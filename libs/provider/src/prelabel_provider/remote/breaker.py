"""Whether a target is called at all: not while it is dead, but for one call now and then that tries it."""

from enum import StrEnum

FAILURES = 5
"""So many failures in a row open it."""
SILENCE = 5.0
"""Seconds without a success after which one failure opens it: a target that hangs fails few calls, and late."""
FIRST_WAIT = 1.0
"""Seconds until the first probe; doubled by each that fails."""
LONGEST_WAIT = 30.0
"""Seconds between two probes at most."""


class Circuit(StrEnum):
    """What a breaker lets through."""

    CLOSED = "closed"
    """All calls."""
    OPEN = "open"
    """None, until the next probe is due."""
    HALF_OPEN = "half-open"
    """One: the probe, which is under way."""


class Breaker:
    """One target's."""

    def __init__(self) -> None:
        self.state = Circuit.CLOSED
        self._failures = 0
        self._succeeded_at = float("-inf")
        self._opened_at = float("-inf")
        self._wait = FIRST_WAIT
        self._next = 0.0

    def wait(self, now: float) -> float:
        """Seconds until a call may be sent: 0 is now, infinity is when the probe has ended."""
        match self.state:
            case Circuit.CLOSED:
                return 0.0
            case Circuit.OPEN:
                return max(0.0, self._next - now)
        return float("inf")

    def begin(self) -> bool:
        """A call is sent; whether it is the probe."""
        if self.state is Circuit.CLOSED:
            return False
        self.state = Circuit.HALF_OPEN
        return True

    def succeeded(self, now: float, *, began: float, probe: bool) -> None:
        """The target answered. While the breaker is open, only what was sent since says anything."""
        if not probe and (self.state is not Circuit.CLOSED or began < self._opened_at):
            return
        self.state = Circuit.CLOSED
        self._failures = 0
        self._succeeded_at = max(self._succeeded_at, now)
        self._wait = FIRST_WAIT

    def failed(self, now: float, *, began: float, probe: bool, at_once: bool = False) -> None:
        """A call that was sent at `began` failed by the target's fault; `at_once`: as all others will."""
        if self.state is not Circuit.CLOSED and not probe:
            return
        silent_since = max(began, self._succeeded_at)
        self._failures += 1
        if probe:
            self._wait = min(2 * self._wait, LONGEST_WAIT)
        if probe or at_once or self._failures >= FAILURES or now - silent_since >= SILENCE:
            self.state = Circuit.OPEN
            self._opened_at = now
            self._next = now + self._wait

    def ended(self, now: float, *, probe: bool) -> None:
        """A call ended in a way that says nothing about its target: a probe is due again at once."""
        if probe:
            self.state = Circuit.OPEN
            self._next = now
