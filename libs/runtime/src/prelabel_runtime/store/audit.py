"""What the store keeps of the audit: who changed what, one document per event, never changed."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from .paging import PageKey


@dataclass(frozen=True, slots=True)
class StoredAudit:
    """Somebody changed something."""

    id: str
    """The event's id."""
    at_ms: int
    actor: str
    action: str
    subject: str
    project: str | None = None
    body: str = "{}"
    """JSON: {"actor_name", "role", "status", "detail"}."""


class Audit(ABC):
    """Rows, inserted once."""

    @abstractmethod
    async def put(self, rows: Sequence[StoredAudit]) -> None:
        """Insert those that are not there."""

    @abstractmethod
    async def page(
        self,
        *,
        limit: int,
        after: PageKey | None = None,
        projects: Sequence[str] | None = None,
        actor: str | None = None,
        action: str | None = None,
        since_ms: int | None = None,
    ) -> Sequence[StoredAudit]:
        """Rows, newest first; `after` is (at_ms, id) of the last one seen. With `projects`: of these only."""
