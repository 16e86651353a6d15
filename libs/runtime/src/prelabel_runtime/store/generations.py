"""Which generation of the projection is the live one, and which processes know.

A rebuild fills a generation beside the live one and makes it the live one by one compare-and-set. Every process that
reads or writes the projection registers before it looks which generation is live, and says which one it uses: so
whoever switched can tell when nobody uses the old one any more (decision record 0013).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

UNKNOWN = -1
"""The generation of a process that has registered and not looked yet."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A process that uses the projection."""

    id: str
    generation: int
    seen_ms: int


class Generations(ABC):
    """The live generation, and who uses which."""

    @abstractmethod
    async def current(self) -> int:
        """The live one; 0 in a new store."""

    @abstractmethod
    async def switch(self, before: int, to: int) -> bool:
        """Make `to` the live one if `before` is; False if it is not."""

    @abstractmethod
    async def seen(self, replica: Replica) -> None:
        """A process is there and uses a generation."""

    @abstractmethod
    async def left(self, replicas: Sequence[str]) -> None:
        """Processes that are not there any more."""

    @abstractmethod
    async def replicas(self) -> Sequence[Replica]:
        """All that have registered and not left."""


class Contents(ABC):
    """All rows of a generation, to be compared with another one's of the same store.

    A row's digest covers all that was projected into it and nothing of how it is kept: two generations that were
    written from the same events, in any order, have the same rows with the same digests.
    """

    kinds: tuple[str, ...]
    """The repositories."""

    @abstractmethod
    async def page(self, kind: str, *, after: str | None, limit: int) -> Sequence[tuple[str, bytes]]:
        """Ids with digests (SHA-256), ordered by the code points of the id."""

    @abstractmethod
    async def of(self, kind: str, ids: Sequence[str]) -> Mapping[str, bytes]:
        """The digests of some rows, those that are there."""
