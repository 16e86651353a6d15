"""A place in the log: what was looked at, what is under way, and so where a new process must begin."""

from collections.abc import Mapping
from typing import Any

from prelabel_runtime.bus.base import Partition

Places = Mapping[Partition, int]


class Cursor:
    """Walks partitions. What is under way may end in any order."""

    def __init__(self, positions: Places) -> None:
        self.positions = dict(positions)
        """The next offset to look at."""
        self._under_way: dict[Partition, set[int]] = {}

    def begin(self, place: Partition, offset: int) -> None:
        """A delivery of what lies there is under way; the cursor has gone past it."""
        self._under_way.setdefault(place, set()).add(offset)
        self.skip(place, offset)

    def skip(self, place: Partition, offset: int) -> None:
        """What lies there is seen to elsewhere."""
        self.positions[place] = max(self.positions.get(place, 0), offset + 1)

    def end(self, place: Partition, offset: int) -> None:
        """It is delivered, or stored as owed."""
        self._under_way[place].discard(offset)

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return not any(self._under_way.values())

    def safe(self) -> dict[Partition, int]:
        """Where to begin again: everything before is delivered, or stored as owed."""
        return {place: min(self._under_way.get(place) or (position,)) for place, position in self.positions.items()}


def written(places: Places) -> dict[str, dict[str, int]]:
    """As JSON."""
    topics: dict[str, dict[str, int]] = {}
    for place, offset in places.items():
        topics.setdefault(place.topic, {})[str(place.number)] = offset
    return topics


def read(topics: Mapping[str, Mapping[str, Any]]) -> dict[Partition, int]:
    """From JSON."""
    return {
        Partition(topic, int(number)): int(offset)
        for topic, numbers in topics.items()
        for number, offset in numbers.items()
    }
