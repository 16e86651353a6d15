"""Several groups on one topic, each after its own records: what is another's is passed over unread.

A topic has one order and one numbering, and whoever follows it needs that. Groups that share its work by a header see
all of it too, so none of them waits for what another has to do; passing over costs about half a microsecond.

What was passed over is committed as well: with the next record that is handled, or now and then by a record that
stands for those before it.
"""

from collections.abc import Callable, Collection, Sequence

from .bus.base import Partition, Record
from .clock import Clock

Only = Callable[[Record], bool]

GLANCE = 2_000
"""Records that are looked at together, at least."""
MARK_SECONDS = 1.0
"""So long nothing is committed while everything is passed over."""


class Sieve:
    """One member's."""

    def __init__(self, only: Only | None, clock: Clock) -> None:
        """`only` says whether a record is the group's; None: all are."""
        self._only = only
        self._clock = clock
        self._marks: dict[tuple[str, int], Record] = {}
        """The newest record that was passed over, where none of ours has come since."""
        self._since = 0.0

    def glance(self, limit: int) -> int:
        """How many records to take from the bus where `limit` are wanted."""
        return limit if self._only is None else max(limit, GLANCE)

    def passes(self, record: Record) -> bool:
        """Whether the record is another group's."""
        return self._only is not None and not self._only(record)

    def sift(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those that are ours, in order, and now and then one that marks how far the others were passed over."""
        if self._only is None:
            return records
        ours: list[Record] = []
        marks = self._marks
        if not marks:
            self._since = self._clock.monotonic()
        for record in records:
            if not self._only(record):
                marks[record.topic, record.partition] = record
            else:
                ours.append(record)
                if marks:
                    marks.pop((record.topic, record.partition), None)
        if marks and (ours or self._clock.monotonic() - self._since >= MARK_SECONDS):
            ours.extend(marks.values())
            marks.clear()
        return ours

    def forget(self, gone: Collection[Partition]) -> None:
        """Partitions that have gone to another member."""
        for place in gone:
            self._marks.pop(place, None)
