"""Tasks that wait to be asked about, in order: urgent ones first, then as they came, repeats when they are due."""

import asyncio
import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from prelabel_contract.names import Lane

from ..base import Failed, Input
from ..predictor import Told
from .failures import CallFailed

URGENCY = {Lane.INTERACTIVE: 0, Lane.BULK: 1, Lane.BACKFILL: 1}
"""Lower goes first. Bulk and backfill have as many tasks here each, and take turns: neither starves."""

Said = Told | Failed


@dataclass(slots=True, eq=False)
class Ask:
    """One task on its way to an answer. Times are monotonic seconds."""

    input: Input
    urgency: int
    answer: "asyncio.Future[Said]"
    deadline: float
    """Nobody waits for it any longer; infinity where there is none."""
    place: int = 0
    """In line, unlike every other's; the gate gives it."""
    attempts: int = 0
    """That failed, whoever was at fault, but for those that the target asked to wait for."""
    first: float | None = None
    """When it was sent for the first time."""
    failure: CallFailed | None = None
    """Why it was not answered last time."""
    alone: bool = False
    """Not together with others: one of them was refused."""

    @property
    def done(self) -> bool:
        """Answered, or nobody waits any more."""
        return self.answer.done()

    def tell(self, said: Said) -> None:
        """Answer it."""
        if not self.answer.done():
            self.answer.set_result(said)

    def give_back(self, error: Exception) -> None:
        """It cannot be answered now."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # whoever waits may have gone


class Waiting:
    """The asks of one model."""

    def __init__(self) -> None:
        self._ready: list[tuple[int, int, Ask]] = []
        self._later: list[tuple[float, int, Ask]] = []

    def __bool__(self) -> bool:
        return bool(self._ready or self._later)

    def put(self, ask: Ask) -> None:
        """It may be sent."""
        heapq.heappush(self._ready, (ask.urgency, ask.place, ask))

    def put_later(self, ask: Ask, due: float) -> None:
        """It may be sent again from `due` on, if repeats are to be had."""
        heapq.heappush(self._later, (due, ask.place, ask))

    def due(self, now: float) -> Ask | None:
        """The first repeat whose time has come."""
        self._drop_done()
        return self._later[0][2] if self._later and self._later[0][0] <= now else None

    def wake(self) -> None:
        """The first repeat may be sent."""
        self.put(heapq.heappop(self._later)[2])

    def next_due(self) -> float:
        """When the first repeat is due; infinity without one."""
        self._drop_done()
        return self._later[0][0] if self._later else float("inf")

    def head(self) -> tuple[int, int] | None:
        """The place in line of what would be taken next."""
        while self._ready and self._ready[0][2].done:
            heapq.heappop(self._ready)
        return self._ready[0][:2] if self._ready else None

    def take(self, most: int) -> list[Ask]:
        """Up to `most` that can be sent in one call: their ids differ, and none is to be alone."""
        taken: list[Ask] = []
        left: list[tuple[int, int, Ask]] = []
        ids: set[str] = set()
        while self._ready and len(taken) < most:
            item = heapq.heappop(self._ready)
            ask = item[2]
            if ask.done:
                continue
            if ask.input.task in ids or (taken and ask.alone):
                left.append(item)
                continue
            taken.append(ask)
            ids.add(ask.input.task)
            if ask.alone:
                break
        for item in left:
            heapq.heappush(self._ready, item)
        return taken

    def empty(self) -> Iterator[Ask]:
        """All of them, taken out."""
        asks = [ask for *_, ask in (*self._ready, *self._later)]
        self._ready.clear()
        self._later.clear()
        return (ask for ask in asks if not ask.done)

    def _drop_done(self) -> None:
        while self._later and self._later[0][2].done:
            heapq.heappop(self._later)
