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

    def called(self, calls: float = 1.0) -> None:
        """So much was called for the first time; a task that shares its call is a part of one."""
        self._left = min(SAVED, self._left + SHARE * calls)

    def take(self, now: float, calls: float = 1.0) -> bool:
        """Whether so much may be repeated now; it counts then."""
        if self.wait(now, calls) > 0:
            return False
        self._left -= calls
        return True

    def wait(self, now: float, calls: float = 1.0) -> float:
        """Seconds until so much may be repeated, if nothing else is called meanwhile."""
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._left = min(SAVED, self._left + passed * PER_SECOND)
        self._at = now
        return max(0.0, (calls - self._left - 1e-6) / PER_SECOND)
