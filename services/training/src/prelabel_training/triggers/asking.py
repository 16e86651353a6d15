"""What people ask of trainings: start one, cancel one, show them. Deciding is the trigger's."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from prelabel_contract.base import READING
from prelabel_contract.projects import ModelSpec
from prelabel_provider.training.trainings import KIND, TrainingRecord, Trainings, key_of
from prelabel_runtime.clock import Clock
from prelabel_runtime.http.problems import Problem
from prelabel_runtime.store.documents import Documents
from prelabel_runtime.store.paging import PageKey

from ..settings import TrainingSettings
from .states import ShownWhy, States
from .trainers import Trainers, no_trainer
from .trigger import Trigger
from .triggering import Triggering

_DECIDING: Final = ShownWhy(reason="deciding", sentence="It has not been decided yet; look at the trainings later.")
_REST: Final = 0.25
"""Seconds between two looks for somebody who waits, then twice as long, …: what they wait for may be another process's
to do, which wakes nobody here."""
_LONGEST_REST: Final = 2.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a wish so far."""

    record: TrainingRecord | None
    why: ShownWhy


@dataclass(frozen=True, slots=True)
class Asking:
    """The door to trainings."""

    documents: Documents
    trainings: Trainings
    states: States
    trigger: Trigger
    triggering: Triggering
    trainers: Trainers
    settings: TrainingSettings
    clock: Clock

    async def ask(self, project: str, spec: ModelSpec) -> Asked:
        """Ask for a training, and wait a little for what is decided. Raises a problem where it is refused."""
        model = spec.name
        if await self.trainers.find(spec.provider) is None:
            raise Problem(409, "no_trainer", no_trainer(spec.provider).sentence)
        wish = await self.trigger.ask(project, model)
        seen = await self._decided(project, lambda: self._seen(project, model, wish))
        return Asked(None, _DECIDING) if seen is None else seen

    async def cancel(self, record: TrainingRecord) -> TrainingRecord:
        """Cancel a training, and wait a little until its trainer has been told."""
        if await self.trigger.cancel(record.project, record.model, record.number):
            await self._decided(record.project, lambda: self._told(record))
        else:
            await self.trainings.cancel(record.training)  # a state that forgot it: its record is what trainers look at
        return await self._again(record)

    async def page(
        self, project: str, model: str | None, limit: int, after: PageKey | None
    ) -> Sequence[TrainingRecord]:
        """Trainings of a project, or of one model, by model, newest first; `after`: (number, model) of the last."""
        found = await self.documents.page(
            KIND,
            prefix=f"{project}/" if model is None else f"{project}/{model}/",
            limit=limit,
            after=None if after is None else key_of(project, after.id, after.ms),
            newest=True,
        )
        return [TrainingRecord.model_validate_json(one.body, context=dict(READING)) for one in found]

    async def _decided(self, project: str, seen: Callable[[], Awaitable[T | None]]) -> T | None:
        """What is seen of a decision; None: nothing in time. The project is looked at now, then ever more seldom."""
        now = again = self.clock.monotonic()
        until, rest = now + self.settings.ask_seconds, _REST
        while (found := await seen()) is None and (now := self.clock.monotonic()) < until:
            if now < again:
                await self.triggering.moved(min(again, until) - now)
                continue
            await self.triggering.decided(project, until - now)
            ended = self.clock.monotonic()
            again, rest = ended + max(rest, ended - now), min(2 * rest, _LONGEST_REST)
        return found

    async def _told(self, record: TrainingRecord) -> TrainingRecord | None:
        """A training whose trainer has been told to stop, or that is over; None: not yet."""
        now = await self._again(record)
        return now if now.cancel or now.state.final else None

    async def _again(self, record: TrainingRecord) -> TrainingRecord:
        return await self.trainings.get(record.project, record.model, record.number) or record

    async def _seen(self, project: str, model: str, wish: int) -> Asked | None:
        """What was decided about a wish; None: nothing yet."""
        kept = await self.states.get(project, model)
        if kept is None:
            return None
        remembered, state = kept.remembered, kept.remembered.state
        if state.served < wish:
            waits = state.under_way is not None and remembered.considered >= wish
            return Asked(None, remembered.why) if waits and remembered.why else None
        done = remembered.wish
        if done is None:
            return None
        if done.number is None:
            raise Problem(409, str(done.why.reason), done.why.sentence)
        record = await self.trainings.get(project, model, done.number)
        return None if record is None else Asked(record, done.why)
