"""How much is worth a batch: what keeps the model busy for a while, as fast as it was of late.

For a model that takes microseconds what a batch costs counts, and batches should be large. For one that takes a second
per task what is under way counts: it has to be ended before a partition goes to another process, or done again there.
"""

SECONDS = 0.5
"""Of the model's time."""
LEAST = 64
"""Requests: less would cost a slow model its own batching."""
UNKNOWN = 256
"""Requests, as long as nothing is known."""
_MEMORY = 0.5
"""What counts of what was before, with each batch."""


class Pace:
    """How fast a model was of late."""

    def __init__(self) -> None:
        self._busy = 0.0
        self._requests = 0.0

    def took(self, requests: int, busy: float) -> None:
        """So many requests have kept the model busy for so many seconds."""
        self._busy = self._busy * _MEMORY + busy
        self._requests = self._requests * _MEMORY + requests

    @property
    def each(self) -> float | None:
        """Seconds of the model's time that a request took; None: not known."""
        return self._busy / self._requests if self._requests else None


class Worth:
    """Requests that are worth a batch."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._pace = Pace()

    def took(self, requests: int, busy: float) -> None:
        """So many requests have kept the model busy for so many seconds."""
        self._pace.took(requests, busy)

    def __call__(self) -> int:
        """As many as to take next."""
        if (each := self._pace.each) is None:
            return UNKNOWN
        return max(LEAST, int(self._seconds / each)) if each > self._seconds / 1_000_000 else 1_000_000
