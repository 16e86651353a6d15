"""How many calls a target takes at once, found by trying: additive increase, multiplicative decrease."""

NEAR = 0.8
"""Only a limit that is used to this part of it says anything by being answered."""
CUT = 0.7
"""What is left of the limit when the target says, or shows, that it is too much."""
CAUTIOUS = 0.95
"""From this part of what was too much last, the limit grows slowly."""
SLOWLY = 30.0
"""Seconds for one call more, near what was too much last."""


class Concurrency:
    """The limit of calls under way to one target.

    It doubles with each round trip until the target first refuses, then grows by one per round trip; near the place
    where it was cut last, by one in `SLOWLY` seconds: what a target takes seldom changes, and each try to take more
    costs refusals. Many refusals of one round trip are one: it is cut once for what was sent before the cut.
    """

    def __init__(self, *, first: float = 4.0, most: int = 128) -> None:
        """`first` is where it begins, `most` is never exceeded; both 1 or more."""
        self.limit = min(float(first), float(most))
        self.in_flight = 0
        self._most = float(most)
        self._too_much: float | None = None
        self._cut_at = float("-inf")
        self._grown_at = float("-inf")

    @property
    def room(self) -> bool:
        """Whether one more call may be sent."""
        return self.in_flight < int(self.limit)

    def begin(self) -> None:
        """A call is sent."""
        self.in_flight += 1

    def succeeded(self, now: float) -> None:
        """A call was answered in time."""
        near = self.in_flight >= NEAR * int(self.limit)
        self.in_flight -= 1
        if not near or self.limit >= self._most:
            return
        if self._too_much is None:
            self.limit += 1.0  # one per answer: it doubles with each round trip
        elif self.limit < CAUTIOUS * self._too_much:
            self.limit = min(self.limit + 1 / self.limit, CAUTIOUS * self._too_much)
            self._grown_at = now
        else:
            self.limit += min(now - self._grown_at, SLOWLY) / SLOWLY
            self._grown_at = now
        self.limit = min(self.limit, self._most)

    def overloaded(self, now: float, *, began: float) -> None:
        """A call that was sent at `began` was refused as one too many, failed, or was not answered in time."""
        self.in_flight -= 1
        if began <= self._cut_at:
            return
        self._too_much = max(self.limit, 2.0)
        self.limit = max(1.0, self.limit * CUT)
        self._cut_at = self._grown_at = now

    def ended(self) -> None:
        """A call ended in a way that says nothing about its target's load."""
        self.in_flight -= 1
