"""How often calls may be repeated: a target that is in trouble gets little more calls than before, not a multiple."""

SHARE = 0.1
"""Repeats per call."""
SAVED = 10.0
"""Repeats that may be saved up."""
FIRST = 3.0
"""Repeats that a new target may get."""
PER_SECOND = 0.1
"""What is added by time alone: where calls are few, one in trouble is repeated too."""


class RetryBudget:
    """One target's."""

    def __init__(self) -> None:
        self._left = FIRST
        self._at: float | None = None

    def called(self) -> None:
        """Something was called for the first time."""
        self._left = min(SAVED, self._left + SHARE)

    def take(self, now: float) -> bool:
        """Whether a call may be repeated now; it counts then."""
        if self.wait(now) > 0:
            return False
        self._left -= 1.0
        return True

    def wait(self, now: float) -> float:
        """Seconds until a call may be repeated, if nothing else is called meanwhile."""
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._left = min(SAVED, self._left + passed * PER_SECOND)
        self._at = now
        return max(0.0, (1.0 - self._left - 1e-6) / PER_SECOND)
