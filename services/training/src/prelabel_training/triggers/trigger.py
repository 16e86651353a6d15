"""Asks for trainings when it is time: the state machine of `triggers`, with everything around it.

Woken by whoever stores annotations and by the moments that were named, it looks at a project: reads what is remembered
of each model, then what there is to learn, decides, and writes the decision by compare-and-set; whoever was slower
looks again. Then it does what was decided, under a claim so that no two processes prepare one training: examples and
record are written, the request is published under an id that follows from the training's name, and that it was is
remembered. A crash between any two of these is taken up by the next look, here or in another process.

A look at which nothing has changed reads some small documents. So every process looks at every project now and then,
and what one that died had been told, or had promised itself, is done by another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from prelabel_contract.events import ProjectChanged, TrainingCancelled, TrainingRequested, event
from prelabel_contract.names import derived
from prelabel_contract.projects import ModelSpec
from prelabel_provider.training.trainings import TrainingRecord, TrainingState, training_id
from prelabel_runtime import log
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.tables import Table

from ..examples.heard import Hearing, Position
from ..examples.lens import Left, Lens
from ..examples.survey import Survey, Surveyed, Wanted
from ..settings import TrainingSettings
from .claims import Claim, claimed, free
from .preparing import Preparing
from .rules import rules_of
from .states import Kept, Remembered, ShownWhy, States, Wish
from .trainers import Trainers
from .triggers import (
    Decision,
    Facts,
    Met,
    Phase,
    Refused,
    Start,
    Stop,
    TriggerState,
    Wait,
    announced,
    asked,
    cancelled,
    decide,
    ended,
    given,
)

SOURCE: Final = "/training"
ENDS: Final[Mapping[TrainingState, Phase]] = {
    TrainingState.TRAINED: Phase.TRAINED,
    TrainingState.FAILED: Phase.FAILED,
    TrainingState.REFUSED: Phase.REFUSED,
    TrainingState.CANCELLED: Phase.CANCELLED,
}
_ROUNDS: Final = 50
"""Of reading, deciding and writing in one look, while others are faster."""
_UNKNOWN_MS: Final = 2000
"""After which it is looked again for tasks that were not known: they may not be stored yet. Then twice as long, …"""
_LONGEST_MS: Final = 600_000
_log = log.get("prelabel.training")


@dataclass(frozen=True, slots=True)
class Look:
    """What came of a look at a project."""

    again_ms: int | None = None
    """Look again at that moment, ms since 1970; None: when something comes."""
    seconds: float = 0.0
    """What deriving the facts took."""


@dataclass(frozen=True, slots=True)
class _End:
    """How a training ended."""

    number: int
    phase: Phase
    provider: str


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of a look at one model."""

    kept: Kept
    again_ms: int | None = None
    """Look again at that moment; None: when something comes."""


class Trigger:
    """Decides about the trainings of all models, and does what was decided."""

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        metrics: Metrics,
        settings: TrainingSettings,
        projects: Table[ProjectChanged],
        trainers: Trainers,
        states: States,
        hearing: Hearing,
        survey: Survey,
        preparing: Preparing,
        holder: str,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._metrics = metrics
        self._settings = settings
        self._projects = projects
        self._trainers = trainers
        self.states = states
        self._hearing = hearing
        self._survey = survey
        self._preparing = preparing
        self.trainings = preparing.trainings
        self._holder = holder

    # ------------------------------------------------------------------------------------------------- what is told

    async def ask(self, project: str, model: str) -> int:
        """Somebody wants a training: the number of their wish. The next look decides about it.

        A training that has ended by its record is over, whether or not a look has noticed: it is no answer to them.
        """
        for _ in range(_ROUNDS):
            stored = await self._kept(project, model)
            end = await self._end_of(project, model, stored)
            kept = self._with_end(stored, end)
            wish = kept.remembered.state.asked + 1
            wanted = kept.remembered.model_copy(update={"state": asked(kept.remembered.state, wish)})
            if await self.states.put(project, model, kept, wanted) is not None:
                if end is not None:
                    self._tell_end(project, model, end)
                return wish
        raise Unavailable("the trigger's state")

    async def cancel(self, project: str, model: str, number: int) -> bool:
        """Somebody wants no more of a training. False: it has ended already, or is not the last one."""
        for _ in range(_ROUNDS):
            kept = await self.states.get(project, model)
            if kept is None:
                return False
            state = cancelled(kept.remembered.state, number, self._clock.now_ms())
            last = state.last
            if state is kept.remembered.state:
                return last is not None and last.number == number and last.phase is Phase.CANCELLING
            if await self.states.put(project, model, kept, kept.remembered.model_copy(update={"state": state})):
                return True
        raise Unavailable("the trigger's state")

    # ---------------------------------------------------------------------------------------------------- a look

    async def look(self, project: str) -> Look:
        """Look at all models of a project, and do what is to be done."""
        known = await self.states.of(project)
        row = self._projects.get(project)
        if row is None or row.deleted:
            return Look()
        position = await self._hearing.position(project)
        models = [one for one in row.project.models if self._may_train(one, known)]
        kept = {one.name: known.get(one.name) or self._made() for one in models}
        ends = {one.name: await self._end_of(project, one.name, kept[one.name]) for one in models}
        kept = {name: self._with_end(one, ends[name]) for name, one in kept.items()}
        wanting = [one for one in models if self._needs_a_look(one, kept[one.name], row, position)]
        began = self._clock.monotonic()
        surveyed = await self._surveyed(row, wanting, kept)
        seconds = self._clock.monotonic() - began
        again = [self._later(kept[one.name]) for one in models if one.name not in surveyed]
        for one in wanting:
            looked = await self._decided(row, one, kept[one.name], position, surveyed[one.name], ends[one.name])
            again.append(looked.again_ms)
        await self._stop_orphans(row, known)
        return Look(min((moment for moment in again if moment is not None), default=None), seconds)

    def _may_train(self, model: ModelSpec, known: Mapping[str, Kept]) -> bool:
        if model.name in known:
            return True
        return model.training is not None and self._trainers.of(model.provider) is not None

    def _made(self) -> Kept:
        return Kept(Remembered(state=TriggerState(since_ms=self._clock.now_ms())))

    async def _kept(self, project: str, model: str) -> Kept:
        return await self.states.get(project, model) or self._made()

    async def _end_of(self, project: str, model: str, kept: Kept) -> _End | None:
        """How the training under way has ended, by its record; None: it has not."""
        under_way = kept.remembered.state.under_way
        if under_way is None or not under_way.announced:
            return None
        record = await self.trainings.get(project, model, under_way.number)
        if record is None:
            return _End(under_way.number, Phase.FAILED, "unknown")  # somebody removed it
        phase = ENDS.get(record.state)
        return None if phase is None else _End(record.number, phase, record.provider)

    def _with_end(self, kept: Kept, end: _End | None) -> Kept:
        """With the end of the training under way. Written along with what is decided next."""
        if end is None:
            return kept
        now = self._clock.now_ms()
        state = ended(kept.remembered.state, end.number, end.phase, now)
        return replace(kept, remembered=kept.remembered.model_copy(update={"state": state, "until_ms": now}))

    def _needs_a_look(self, model: ModelSpec, kept: Kept, row: ProjectChanged, position: Position) -> bool:
        """Whether anything can have changed since the last one, or something is left to do."""
        remembered, state = kept.remembered, kept.remembered.state
        if remembered.until_ms is not None and remembered.until_ms <= self._clock.now_ms():
            return True
        if state.under_way is not None and not state.under_way.announced:
            return True
        looked_at = state.served if state.under_way is None else max(state.served, remembered.considered)
        if state.asked > looked_at:
            return True
        if model.training is None:
            return False  # nothing that happens starts one
        return not kept.revision or (remembered.heard, remembered.config) != (position.revision, row.config)

    def _later(self, kept: Kept) -> int | None:
        """When to look again at a model that needed no look."""
        until = kept.remembered.until_ms
        if kept.remembered.state.under_way is None:
            return until
        poll = self._clock.now_ms() + round(self._settings.poll_seconds * 1000)
        return poll if until is None else min(poll, until)

    async def _surveyed(
        self, row: ProjectChanged, models: list[ModelSpec], kept: Mapping[str, Kept]
    ) -> Mapping[str, Surveyed]:
        if not models:
            return {}
        wanted = {}
        for one in models:
            last = kept[one.name].remembered.state.last
            wanted[one.name] = Wanted(Lens.of(row.project, one), last.cut if last is not None else -1)
        with self._metrics.training_look_seconds.time():
            return await self._survey.of(row.project, wanted)

    # ------------------------------------------------------------------------------------------------- deciding

    async def _decided(
        self,
        row: ProjectChanged,
        model: ModelSpec,
        kept: Kept,
        position: Position,
        surveyed: Surveyed,
        end: _End | None,
    ) -> Looked:
        """Decide as often as there is something to say, and do what was decided."""
        rules = rules_of(model, self._settings.stop_seconds)
        facts = replace(surveyed.facts, config=row.config)
        for _ in range(_ROUNDS):
            now = self._clock.now_ms()
            state, decision = decide(kept.remembered.state, facts, rules, now)
            remembered = self._remember(kept.remembered, state, decision, position, row.config, surveyed)
            if isinstance(decision, Start | Stop):
                if kept.remembered.claimed_by_another(self._holder, now):
                    return Looked(kept, kept.remembered.claim_until_ms)
                remembered = claimed(remembered, self._holder, now + round(self._settings.claim_seconds * 1000))
            written = await self.states.put(row.project.id, model.name, kept, remembered)
            if written is None:
                return Looked(kept, now)  # another was faster: everything anew
            if end is not None:
                self._tell_end(row.project.id, model.name, end)
                end = None
            if isinstance(decision, Start):
                return await self._start(row, model, written, decision)
            if isinstance(decision, Stop):
                return await self._stop(row, model, decision)
            kept = written
            if not isinstance(decision, Refused | Met):
                return Looked(kept, self._later(kept))
            _log.info("no new training", project=row.project.id, model=model.name, reason=str(decision.why.reason))
        raise Unavailable("the trigger's state")

    def _tell_end(self, project: str, model: str, end: _End) -> None:
        self._metrics.trainings_ended.labels(end.provider, str(end.phase)).inc()
        _log.info("training ended", project=project, model=model, number=end.number, end=str(end.phase))

    def _remember(
        self,
        before: Remembered,
        state: TriggerState,
        decision: Decision,
        position: Position,
        config: str,
        surveyed: Surveyed,
    ) -> Remembered:
        now = self._clock.now_ms()
        until = decision.until_ms if isinstance(decision, Wait) else None
        unknown = surveyed.left_out.get(Left.UNKNOWN_TASK, 0)
        wait_ms = (
            min(2 * before.unknown_wait_ms or _UNKNOWN_MS, _LONGEST_MS) if unknown == before.unknown else _UNKNOWN_MS
        )
        if unknown:
            until = now + wait_ms if until is None else min(until, now + wait_ms)
        wish = before.wish
        if isinstance(decision, Refused):
            wish = Wish(wish=decision.wish, why=ShownWhy.of(decision.why))
        elif isinstance(decision, Met):
            wish = Wish(wish=decision.wish, number=decision.number, why=ShownWhy.of(decision.why))
        elif isinstance(decision, Start) and state.served > before.state.served:
            why = ShownWhy(reason=decision.training.reason, sentence="Asked for by hand.")
            wish = Wish(wish=state.served, number=decision.training.number, why=why)
        said = None if isinstance(decision, Start | Stop) else ShownWhy.of(decision.why)
        return Remembered(
            state=state,
            claim=before.claim,
            claim_until_ms=before.claim_until_ms,
            heard=position.revision,
            config=config,
            until_ms=until,
            unknown=unknown,
            unknown_wait_ms=wait_ms if unknown else 0,
            why=said,
            wish=wish,
            considered=state.asked,
        )

    async def _stop_orphans(self, row: ProjectChanged, known: Mapping[str, Kept]) -> None:
        """End the trainings of models that the project has no more."""
        project = row.project.id
        for name, kept in known.items():
            under_way = kept.remembered.state.under_way
            if under_way is None or row.project.model(name) is not None:
                continue
            record = await self.trainings.cancel(training_id(project, name, under_way.number))
            if record is not None:
                await self._tell_cancelled(record, under_way.phase_ms)
            now = self._clock.now_ms()
            state = ended(
                cancelled(kept.remembered.state, under_way.number, now), under_way.number, Phase.CANCELLED, now
            )
            await self.states.put(project, name, kept, kept.remembered.model_copy(update={"state": state, "claim": ""}))

    # --------------------------------------------------------------------------------------------------- doing

    async def _start(self, row: ProjectChanged, model: ModelSpec, kept: Kept, decision: Start) -> Looked:
        claim = Claim(
            self.states,
            self._clock,
            project=row.project.id,
            model=model.name,
            holder=self._holder,
            seconds=self._settings.claim_seconds,
        )
        async with claim.renewed():
            record = await self._preparing.request(row, model, decision.training, claim.renew)
        if record is None:
            await claim.let_go()
            return Looked(kept, self._clock.now_ms())
        data = TrainingRequested(
            project=record.project,
            model=record.model,
            provider=record.provider,
            training=record.training,
            cut=record.cut,
            config=record.config,
        )
        await self._publish(data, record.requested_ms)
        self._metrics.trainings_requested.labels(record.provider, str(decision.training.reason)).inc()
        _log.info(
            "training requested", project=record.project, model=record.model, number=record.number, cut=record.cut
        )
        return await self._told(row, model, decision, record)

    async def _stop(self, row: ProjectChanged, model: ModelSpec, decision: Stop) -> Looked:
        training = decision.training
        record = await self._preparing.cancel(row, model, training)
        await self._tell_cancelled(record, training.phase_ms)
        return await self._told(row, model, decision, None)

    async def _tell_cancelled(self, record: TrainingRecord, at_ms: int) -> None:
        data = TrainingCancelled(
            project=record.project, model=record.model, provider=record.provider, training=record.training
        )
        await self._publish(data, at_ms)
        self._metrics.trainings_cancelled.labels(record.provider).inc()
        _log.info("training cancelled", project=record.project, model=record.model, number=record.number)

    async def _publish(self, data: TrainingRequested | TrainingCancelled, at_ms: int) -> None:
        told = event(data, id=derived(data.TYPE, data.training), source=SOURCE, time_ms=at_ms)
        await self._bus.publish(messages([told]))

    async def _told(
        self, row: ProjectChanged, model: ModelSpec, decision: Start | Stop, record: TrainingRecord | None
    ) -> Looked:
        """What was decided has been published: remember that, and look again at once."""
        for _ in range(_ROUNDS):
            kept = await self._kept(row.project.id, model.name)
            state = announced(kept.remembered.state, decision.training)
            if record is not None:
                facts = Facts(record.examples, record.fingerprint, record.cut, 0, record.config)
                state = given(state, record.number, facts)
            told = free(kept.remembered).model_copy(update={"state": state, "until_ms": self._clock.now_ms()})
            written = await self.states.put(row.project.id, model.name, kept, told)
            if written is not None:
                return Looked(written, self._clock.now_ms())
        raise Unavailable("the trigger's state")
