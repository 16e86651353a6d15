"""How often a trainer reports."""

from collections.abc import Callable

from .trainer import Progress


class Pace:
    """Turns steps into reports: one a second at most, the first and the last always."""

    def __init__(self, report: Callable[[Progress], None], clock: Callable[[], float]) -> None:
        """`clock` tells seconds, from any moment on. It starts with the first step that is told, usually 0."""
        self._report, self._clock = report, clock
        self._first: tuple[int, float] | None = None
        self._last: float | None = None
        self._loss: float | None = None
        self._score: float | None = None

    def learned(self, loss: float, score: float | None) -> None:
        """What later reports say: of the last whole epoch."""
        self._loss, self._score = loss, score

    def __call__(self, step: int, steps: int) -> None:
        """So many steps of so many are done."""
        now = self._clock()
        first, started = self._first = self._first or (step, now)
        if self._last is not None and now - self._last < 1.0 and step < steps:
            return
        self._last = now
        done = step - first
        left = (now - started) / done * (steps - step) if done else None
        self._report(Progress(step, steps, self._loss, self._score, left))
