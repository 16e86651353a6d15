"""How a rate that several processes may use together is shared out among them: one small document per rate.

Who changes it reads it, and writes the whole of it under the next version: a compare-and-set. What is in it, and who
gets how much, is known to whoever shares (prelabel_provider.quota).

One suite (prelabel_runtime.testing.quotas) proves it on every implementation.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredQuota:
    """A rate, as it is shared out."""

    quota: str
    version: int
    """1 for the first one written."""
    shares: str
    """JSON: who has how much of it until when."""


class Quotas(ABC):
    """Rates by name."""

    @abstractmethod
    async def get(self, quota: str) -> StoredQuota | None:
        """A rate; None if nobody ever shared it."""

    @abstractmethod
    async def put(self, quota: StoredQuota) -> bool:
        """Write it if the one that is there has the version before; False, and nothing written, if it has not."""
