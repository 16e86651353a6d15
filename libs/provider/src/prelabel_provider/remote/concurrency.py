"""How many calls a target takes at once, found by trying: additive increase, multiplicative decrease."""

NEAR = 0.8
"""Only a limit that is used to this part of it says anything by being answered."""
CUT = 0.7
"""What is left of the limit when the target says, or shows, that it is too much."""
CUT_BY_RATE = 0.9
"""The same where it may have been the rate, not the limit, that was too much."""
CAUTIOUS = 0.95
"""To this part of what was too much last, the limit grows by one per round trip."""
SPREAD = 0.8
"""The part of a round trip over which the calls of the limit are spread: sent all at once, they come back all at once,
and a target that counts calls per second sees bursts."""
SMOOTH = 0.1
"""Weight of the newest round trip in their mean."""
CURVE = 0.0005
"""Calls per cubic second: how fast it grows around what was too much last, and away from there."""


class Concurrency:
    """The limit of calls under way to one target.

    It doubles with each round trip until the target first refuses, then grows by one per round trip up to near the
    place where it was cut last. There it follows a cubic curve over time: it stays near that place for some ten
    seconds, since what a target takes seldom changes and each try to take more costs refusals; then it leaves it, ever
    faster, since sometimes it does. Many refusals of one round trip are one: it is cut once for what was sent before.
    """

    def __init__(self, *, first: float = 4.0, most: int = 128) -> None:
        """`first` is where it begins, `most` is never exceeded; both 1 or more."""
        self.limit = min(float(first), float(most))
        self.in_flight = 0
        self._most = float(most)
        self._round_trip = 0.0
        self._sent_at = float("-inf")
        self._too_much: float | None = None
        self._cut_at = float("-inf")

    def bound(self, most: float) -> None:
        """From now on it never exceeds another number of calls, 1 or more."""
        self._most = float(most)
        self.limit = min(self.limit, self._most)

    @property
    def room(self) -> bool:
        """Whether one more call may be sent."""
        return self.in_flight < int(self.limit)

    def wait(self, now: float) -> float:
        """Seconds until one more call may be sent; infinity is when another one has ended."""
        if not self.room:
            return float("inf")
        return max(0.0, self._sent_at + SPREAD * self._round_trip / self.limit - now)

    def begin(self, now: float) -> None:
        """A call is sent."""
        self.in_flight += 1
        self._sent_at = now

    def succeeded(self, now: float, *, began: float) -> None:
        """A call that was sent at `began` was answered in time."""
        took = now - began
        self._round_trip += SMOOTH * (took - self._round_trip) if self._round_trip else took
        near = self.in_flight >= NEAR * int(self.limit)
        self.in_flight -= 1
        if not near or self.limit >= self._most:
            return
        if self._too_much is None:
            self.limit += 1.0  # one per answer: it doubles with each round trip
        elif self.limit < CAUTIOUS * self._too_much:
            self.limit = min(self.limit + 1 / self.limit, CAUTIOUS * self._too_much)
        else:
            back = (self._too_much * (1 - CUT) / CURVE) ** (1 / 3)  # seconds from a cut to where it was cut
            aim = self._too_much + CURVE * (now - self._cut_at - back) ** 3
            self.limit = max(self.limit, min(aim, self.limit + 1.0))
        self.limit = min(self.limit, self._most)

    def overloaded(self, now: float, *, began: float, by_rate: bool = False) -> None:
        """A call that was sent at `began` was refused as one too many, failed, or was not answered in time.

        `by_rate`: it may well have been the rate that was too much, of which somebody else keeps count: then the limit
        is cut, and what it was is not held against it.
        """
        self.in_flight -= 1
        if began <= self._cut_at:
            return
        self._too_much = float("inf") if by_rate else max(self.limit, 2.0)
        self.limit = max(1.0, self.limit * (CUT_BY_RATE if by_rate else CUT))
        self._cut_at = now

    def ended(self) -> None:
        """A call ended in a way that says nothing about its target's load."""
        self.in_flight -= 1
