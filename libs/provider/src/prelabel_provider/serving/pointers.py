"""The serving pointers of all models, as they are told on the compacted topic `models`."""

import asyncio
import random
from typing import Final

from prelabel_contract import names
from prelabel_contract.events import Event, ModelServing
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.tables import Table

TRIED_AGAIN: Final = "it is tried again"
"""What is told of a refused version ends so where it may be right later: then it is not refused for good."""


class Pointers(Table[ModelServing]):
    """Which version serves, by model. A pointer never goes back to an earlier epoch, unless it was taken back first."""

    def __init__(self, bus: Bus, *, rng: random.Random) -> None:
        super().__init__(bus, names.MODELS, ModelServing, rng=rng)
        self.changed = asyncio.Event()
        """Set when one has changed. Who waits for it clears it."""

    def accept(self, read: Event[ModelServing]) -> None:
        """Keep a pointer that is not older than what is known."""
        known = self.get(read.key)
        if known is None or read.data.epoch >= known.epoch:
            super().accept(read)
            self.changed.set()

    def drop(self, key: str) -> None:
        """Forget that of a model which is no more."""
        super().drop(key)
        self.changed.set()

    def artifacts(self) -> frozenset[str]:
        """All that serve, or that would go on where those cannot."""
        return frozenset(one for row in self.rows().values() for one in (row.artifact, row.previous) if one)
