"""The share of a project's tasks that is held out: what the project says, until its first training settles it."""

from dataclasses import dataclass
from typing import Annotated, Final

from prelabel_contract.base import READING, Milliseconds, Model
from prelabel_contract.projects import Project
from prelabel_runtime.clock import Clock
from prelabel_runtime.store.documents import Documents
from pydantic import Field

from .holdout import settled

KIND: Final = "holdout"
"""The kind of the document; its key is the project."""


class SettledShare(Model):
    """What was settled, and when."""

    share: Annotated[float, Field(ge=0, lt=1)]
    at_ms: Milliseconds = 0


@dataclass(frozen=True, slots=True)
class Shares:
    """The shares of a store's projects."""

    documents: Documents
    clock: Clock

    async def of(self, project: Project) -> float:
        """The share that holds now."""
        return settled(await self._fixed(project.id), project.learning.holdout)

    async def settle(self, project: Project) -> float:
        """Fix it, if it is not fixed yet, and answer it."""
        body = SettledShare(share=project.learning.holdout, at_ms=self.clock.now_ms())
        await self.documents.put(KIND, project.id, body.model_dump_json(), expected=0)
        return await self.of(project)

    async def _fixed(self, project: str) -> float | None:
        found = await self.documents.get(KIND, project)
        return None if found is None else SettledShare.model_validate_json(found.body, context=dict(READING)).share
