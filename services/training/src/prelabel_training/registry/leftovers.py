"""Files of trainings that nobody needs any more, and that nobody has removed.

Usually they go with the verdict, or with the news that there is none. What stays: those of a process that died before
it wrote down what they are for, while the model was taken out of the project; those of a cancelled training whose
trainer never runs again, and so never tells its end; what a killed evaluation wrote after the end; those of a version
that nobody has judged, and nobody will. They are tasks' data, and whoever deletes a task does not reach them.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from prelabel_provider.models.workspace import Workspaces, Written
from prelabel_provider.training.trainings import Trainings, TrainingState

from .versions import Versions

UNDER_WAY: Final = 5
"""A model's newest trainings that are looked at for what they need: the version of an older one is told of no more."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Finds and removes them."""

    workspaces: Workspaces
    trainings: Trainings
    versions: Versions

    async def remove(self, before_ms: int, models: Set[tuple[str, str]]) -> int:
        """Remove those that were last written before a moment (ms since 1970); how many workspaces that were.

        `models`: (project, model) of all that there are.
        """
        gone = 0
        for one in await self.workspaces.written():
            if one.at_ms < before_ms and not await self._needed(one, models):
                await self.workspaces.of(one.project, one.model, one.number).remove()
                gone += 1
        return gone

    async def _needed(self, one: Written, models: Set[tuple[str, str]]) -> bool:
        """Whether a training has not ended, or its version is yet to be judged."""
        record = await self.trainings.get(one.project, one.model, one.number)
        if record is None:
            return False
        if record.state is not TrainingState.TRAINED:
            return not record.state.final
        if (one.project, one.model) not in models:
            return False
        newest = await self.trainings.of(one.project, one.model, limit=UNDER_WAY)
        if one.number not in [other.number for other in newest]:
            return False
        return await self.versions.get(one.project, one.model, one.number) is None
