"""What there is to learn, as it is shown."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from prelabel_contract.projects import ModelSpec, Project
from prelabel_provider.training.trainings import training_id
from prelabel_runtime.clock import Clock
from prelabel_runtime.store.base import Store

from ..answers import ExampleCounts, ModelExamples
from ..triggers.rules import training_of
from ..triggers.states import Kept, ShownWhy, States
from ..triggers.trainers import Trainers, no_trainer
from .lens import Lens
from .shares import Shares
from .survey import Survey, Surveyed, Wanted

_FRESH_SECONDS: Final = 1.0
"""So long a survey is shown again, whoever asks: a page that is looked at by many costs one."""
_SHOWN: Final = 200
"""Projects whose survey is remembered."""


@dataclass(frozen=True, slots=True)
class Counting:
    """Counts examples for people."""

    store: Store
    survey: Survey
    shares: Shares
    states: States
    trainers: Trainers
    clock: Clock
    _known: OrderedDict[str, tuple[float, ExampleCounts]] = field(default_factory=OrderedDict)

    async def of(self, project: Project) -> ExampleCounts:
        """What the models of a project could learn from; at most a second old, the number of tasks excepted."""
        examples = await self.store.examples.count(project.id)
        known = self._known.get(project.id)
        if known is None or self.clock.monotonic() - known[0] > _FRESH_SECONDS or known[1].examples != examples:
            shown = await self._look(project, examples)
            self._known[project.id] = known = self.clock.monotonic(), shown
            self._known.move_to_end(project.id)
            if len(self._known) > _SHOWN:
                self._known.popitem(last=False)
        return known[1]

    async def _look(self, project: Project, examples: int) -> ExampleCounts:
        states = await self.states.of(project.id)
        wanted = {one.name: Wanted(Lens.of(project, one), _cut(states.get(one.name))) for one in project.models}
        surveyed: Mapping[str, Surveyed] = await self.survey.of(project, wanted) if examples else {}
        return ExampleCounts(
            project=project.id,
            examples=examples,
            holdout=await self.shares.of(project),
            models=[
                self._shown(project.id, one, surveyed.get(one.name), states.get(one.name)) for one in project.models
            ],
        )

    def _shown(self, project: str, model: ModelSpec, surveyed: Surveyed | None, kept: Kept | None) -> ModelExamples:
        remembered = kept.remembered if kept is not None else None
        last = remembered.state.last if remembered is not None else None
        under_way = remembered.state.under_way if remembered is not None else None
        new = surveyed.facts.new if surveyed is not None else 0
        if last is not None and surveyed is not None and last.fingerprint == surveyed.facts.fingerprint:
            new = 0
        return ModelExamples(
            model=model.name,
            examples=surveyed.facts.examples if surveyed is not None else 0,
            held_out=surveyed.held_out if surveyed is not None else 0,
            left_out=dict(surveyed.left_out) if surveyed is not None else {},
            new=new,
            minimum=training_of(model).minimum,
            training=training_id(project, model.name, under_way.number) if under_way is not None else None,
            why=remembered.why if remembered is not None else self._why(model),
            until_ms=remembered.until_ms if remembered is not None else None,
        )

    def _why(self, model: ModelSpec) -> ShownWhy | None:
        return no_trainer(model.provider) if self.trainers.of(model.provider) is None else None


def _cut(kept: Kept | None) -> int:
    return kept.remembered.state.last.cut if kept is not None and kept.remembered.state.last is not None else -1
