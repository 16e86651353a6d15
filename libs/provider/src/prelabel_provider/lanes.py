"""One model, several lanes: whose turn it is.

    turns = Turns(slots=2, weights={Lane.BULK: 6, Lane.BACKFILL: 1}, urgent=1)
    async with turns.turn(Lane.BULK, work=256):
        ...

Interactive goes strictly first. Lanes with a weight share what is left by the work that they bring, not by their
batches: on a virtual clock each batch ends behind the one before it in its lane, by its work divided by the weight, and
the earliest end goes first (self-clocked fair queueing). So none of them starves, one that was idle saves up nothing,
and one alone has everything.

What waits in backfill is asked in portions of little time (`Portions`): who comes finds no long batch before him.

A lane has its share only while a batch of it waits: let it have one more batch ahead than there are slots.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from prelabel_contract.names import Lane

WEIGHTS: Mapping[Lane, float] = MappingProxyType({Lane.BULK: 6.0, Lane.BACKFILL: 1.0})
"""Shares of a model where more than one lane has work: backfill slows bulk by a sixth."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A batch that waits for its turn."""

    end: float
    """On the virtual clock."""
    turn: asyncio.Future[None]


@dataclass(slots=True)
class _Line:
    """Those of one lane, in the order in which they came."""

    weight: float | None
    """None: before everybody who has one."""
    waiting: deque[_Waiting] = field(default_factory=deque)
    end: float = 0.0
    """Where the last one that came ends on the virtual clock."""


class Turns:
    """Places that go to the most urgent lane first: an interactive batch waits for at most one running batch."""

    def __init__(self, slots: int = 1, weights: Mapping[Lane, float] = WEIGHTS, *, urgent: int = 0) -> None:
        """`slots` batches hold a turn at once, and `urgent` more if they are interactive.

        Who lets several hold a turn asks the interactive ones first: they do not wait for a slot.

        Raises ValueError: weights are greater than 0, slots at least 1.
        """
        if slots < 1 or urgent < 0 or any(not weight > 0 for weight in weights.values()):
            raise ValueError("slots must be at least 1, urgent at least 0, and weights greater than 0")
        self._slots = slots
        self._urgent = urgent
        self._held = 0
        self._lines = {Lane.INTERACTIVE: _Line(None)}
        for lane in Lane:
            if lane is not Lane.INTERACTIVE:
                self._lines[lane] = _Line(float(weights.get(lane, min(weights.values(), default=1.0))))
        self._now = 0.0
        """The virtual clock: where the batch ends that had its turn last."""

    @contextlib.asynccontextmanager
    async def turn(self, lane: Lane, work: float = 1.0) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the block. `work` is how much there is to do, in any unit: requests.

        Who gives up waiting has had the turn as far as its lane's share goes.
        """
        line = self._lines[lane]
        mine = self._join(line, work)
        self._hand_out()
        try:
            await mine.turn
        except asyncio.CancelledError:
            if mine.turn.cancelled():
                with contextlib.suppress(ValueError):  # it may have been passed over already
                    line.waiting.remove(mine)
            else:
                self._give_back()
            raise
        try:
            yield
        finally:
            self._give_back()

    def _join(self, line: _Line, work: float) -> _Waiting:
        line.end = max(self._now, line.end) + work / (line.weight or 1.0)
        mine = _Waiting(line.end, asyncio.get_running_loop().create_future())
        line.waiting.append(mine)
        return mine

    def _give_back(self) -> None:
        self._held -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        while (line := self._next()) is not None:
            mine = line.waiting.popleft()
            if mine.turn.cancelled():
                continue
            if line.weight is not None:
                self._now = mine.end
            self._held += 1
            mine.turn.set_result(None)

    def _next(self) -> _Line | None:
        """Whose turn it is, if there is a place."""
        first = self._lines[Lane.INTERACTIVE]
        if first.waiting and self._held < self._slots + self._urgent:
            return first
        if self._held >= self._slots:
            return None
        lines = [line for line in self._lines.values() if line.weight is not None and line.waiting]
        return min(lines, key=lambda line: line.waiting[0].end, default=None)


PORTION_SECONDS = 0.1
LEAST = 8
"""Requests: less costs more than it spares anybody."""
MAX_MODELS = 256


class Portions:
    """How much of a lane that may wait is asked at once: what takes the model some time, as it was of late."""

    def __init__(self, seconds: float = PORTION_SECONDS) -> None:
        self._seconds = seconds
        self._each: dict[str, float] = {}
        """Seconds per request, by model."""

    def took(self, model: str, requests: int, seconds: float) -> None:
        """Some requests have been answered."""
        now = seconds / requests
        before = self._each.pop(model, now)
        while len(self._each) >= MAX_MODELS:
            del self._each[next(iter(self._each))]
        self._each[model] = (before + now) / 2

    def of(self, model: str, requests: Sequence[int]) -> Sequence[Sequence[int]]:
        """Requests in portions."""
        each = self._each.get(model)
        most = max(LEAST, int(self._seconds / each)) if each else LEAST
        return [requests[start : start + most] for start in range(0, len(requests), most)]
