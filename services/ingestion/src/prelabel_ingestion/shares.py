"""What a project may send into the bulk lane; what is beyond that waits in backfill.

A bucket per project: it holds `tasks` tasks and drains at `per_second`. A task that fits goes where it was sent; one
that does not goes into backfill, and takes no room. An upload that does not fit goes there whole: else its beginning
would stand in bulk before all that others submit next. Nobody is slowed where nothing else waits: backfill is served at
full speed then. Interactive tasks are neither counted nor turned.

A door decides, once, before it writes: the lane stands in `submitted`, so whatever is read again goes the same way.
Every process has buckets of its own: n replicas of ingestion grant up to n times as much.
"""

from collections.abc import Callable, Mapping

from prelabel_contract.names import Lane
from prelabel_runtime.metrics import Metrics

from .settings import Share

MAX_BUCKETS = 10_000
"""Projects that are remembered at once; those that used theirs longest ago are forgotten first."""

_ROUNDING = 1e-6
"""Tasks: what sums of seconds may be wrong by."""


class Shares:
    """Everybody's bucket in this process."""

    def __init__(
        self,
        otherwise: Share,
        shares: Mapping[str, Share],
        monotonic: Callable[[], float],
        metrics: Metrics,
        *,
        buckets: int = MAX_BUCKETS,
    ) -> None:
        """`shares` are those of single projects."""
        self._otherwise = otherwise
        self._shares = shares
        self._monotonic = monotonic
        self._metrics = metrics
        self._buckets = buckets
        self._drained: dict[str, float] = {}
        """When each bucket will have drained, the one used longest ago first."""

    def lane(self, project: str, asked: Lane) -> Lane:
        """The lane of the next task that was sent into a lane."""
        if asked is not Lane.BULK:
            return asked
        share = self._shares.get(project, self._otherwise)
        now = self._monotonic()
        drained = max(now, self._drained.get(project, now))
        if (drained - now) * share.per_second + 1 > share.tasks + _ROUNDING:
            self._metrics.over_share.inc()
            return Lane.BACKFILL
        self._drained.pop(project, None)
        while len(self._drained) >= self._buckets:
            del self._drained[next(iter(self._drained))]
        self._drained[project] = drained + 1 / share.per_second
        return Lane.BULK

    def room(self, project: str) -> int:
        """Tasks that would fit now."""
        share = self._shares.get(project, self._otherwise)
        now = self._monotonic()
        return int(share.tasks - max(0.0, self._drained.get(project, now) - now) * share.per_second + _ROUNDING)
