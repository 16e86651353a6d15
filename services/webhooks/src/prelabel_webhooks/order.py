"""Which delivery waits for which, where a subscription wants the events of a task in order.

What is under way or owed stands in a queue of its task (of one topic: between topics there is no order). Only the first
of a queue is tried; the others are parked: stored as owed, until it is delivered or given up.
"""

from bisect import insort

Key = tuple[str, int, str]
"""Topic, partition, and the task (or what else an event is about)."""


class Order:
    """The queues."""

    def __init__(self) -> None:
        self._queues: dict[Key, list[tuple[int, str]]] = {}
        self._known: set[str] = set()

    def __contains__(self, delivery: str) -> bool:
        return delivery in self._known

    def add(self, key: Key, offset: int, delivery: str) -> bool:
        """It stands in its queue now, if it did not; whether it is the first there."""
        queue = self._queues.setdefault(key, [])
        if delivery not in self._known:
            self._known.add(delivery)
            insort(queue, (offset, delivery))
        return queue[0][1] == delivery

    def remove(self, key: Key, delivery: str) -> str | None:
        """It is over; the delivery whose turn it is now."""
        self._known.discard(delivery)
        queue = [one for one in self._queues.pop(key, ()) if one[1] != delivery]
        if not queue:
            return None
        self._queues[key] = queue
        return queue[0][1]

    def firsts(self) -> list[str]:
        """The first of each queue."""
        return [queue[0][1] for queue in self._queues.values()]
