"""What this process has written lately: how much, second by second, and which tasks were predicted last.

Fed by the handlers as they write, kept in memory, bounded. It is this replica's share only, and begins anew with the
process: what must be true for everybody (counts, texts, predictions) is read from the store.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prelabel_contract.events import Event, EventData, PredictionCreated, PredictionFailed, TaskAccepted
from prelabel_runtime.clock import Clock
from prelabel_runtime.service import Handler, Reply

SLOT_SECONDS = 5
SLOTS = 60
"""Five minutes."""
KEPT_TASKS = 20
"""Tasks that are remembered per project."""
KEPT_PROJECTS = 500

T = TypeVar("T")


@dataclass(slots=True)
class Slot:
    """What happened in some seconds."""

    number: int
    """Of the slot, since the clock's zero."""
    tasks: int = 0
    outcomes: int = 0


@dataclass(slots=True)
class Activity:
    """What happened lately."""

    clock: Clock
    version: int = 0
    """Grows with everything that happens."""
    _versions: dict[str, int] = field(default_factory=dict)
    """When something happened last, by project."""
    _slots: deque[Slot] = field(default_factory=lambda: deque(maxlen=SLOTS))
    _latest: OrderedDict[str, OrderedDict[str, None]] = field(default_factory=OrderedDict)
    """By project: tasks, the one that was predicted last at the end."""

    def watching(self, on: Mapping[type[EventData], Handler]) -> dict[type[EventData], Handler]:
        """The same handlers, and a note of what each has written."""
        watched = {handler: self._watched(handler) for handler in on.values()}
        return {kind: watched[handler] for kind, handler in on.items()}

    def _watched(self, handler: Handler) -> Handler:
        async def handle(batch: Sequence[Event[Any]]) -> Sequence[Reply]:
            replies = await handler(batch)
            self.note(batch)
            return replies

        return handle

    def note(self, batch: Sequence[Event[Any]]) -> None:
        """Some events have been written."""
        slot = self._slot()
        self.version += 1
        predicted: dict[str, list[str]] = {}
        for one in batch:
            data = one.data
            self._versions[data.project] = self.version
            if isinstance(data, TaskAccepted):
                slot.tasks += 1
            elif isinstance(data, (PredictionCreated, PredictionFailed)):
                slot.outcomes += 1
                predicted.setdefault(data.project, []).append(data.task)
        for project, tasks in predicted.items():
            self._remember(project, tasks)

    def _remember(self, project: str, predicted: Sequence[str]) -> None:
        """Tasks of a project were predicted just now, in this order."""
        tasks = self._latest.setdefault(project, OrderedDict())
        self._latest.move_to_end(project)
        newest = list(dict.fromkeys(reversed(predicted)))[:KEPT_TASKS]
        for task in reversed(newest):
            tasks[task] = None
            tasks.move_to_end(task)
        _forget(tasks, KEPT_TASKS)
        _forget(self._latest, KEPT_PROJECTS)

    def version_of(self, project: str) -> int:
        """Grows with what happens in a project."""
        return self._versions.get(project, 0)

    def latest(self, project: str) -> list[str]:
        """Tasks of a project, the one that was predicted last first."""
        return list(reversed(self._latest.get(project, ())))

    def throughput(self, of: Callable[[Slot], int]) -> list[int]:
        """Counts by slot, the oldest first; the last slot is not over yet."""
        now = self._number()
        known = {slot.number: of(slot) for slot in self._slots}
        return [known.get(number, 0) for number in range(now - SLOTS + 1, now + 1)]

    def _slot(self) -> Slot:
        number = self._number()
        if not self._slots or self._slots[-1].number != number:
            self._slots.append(Slot(number))
        return self._slots[-1]

    def _number(self) -> int:
        return int(self.clock.monotonic() // SLOT_SECONDS)


def _forget(known: OrderedDict[str, T], most: int) -> None:
    while len(known) > most:
        known.popitem(last=False)
