"""The trainer role, as a table: one provider, and whoever trains its models.

A request is only noted: what has to be done stands in the store (`Trainings.owed`), and a part of the service takes it
up, as it takes up what a dead trainer left. So no record of the topic is held for an hour, and a rebalance of its group
moves nothing: who trains is settled by the lease on the training's record alone.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence

from prelabel_contract import names
from prelabel_contract.events import (
    AnyEvent,
    ConfigPublished,
    Event,
    EventData,
    ModelTrained,
    TrainerAnnounced,
    TrainingCancelled,
    TrainingFailed,
    TrainingProgressed,
    TrainingRequested,
    event,
)
from prelabel_runtime import log
from prelabel_runtime.errors import InvalidEvent, TryAgain, Unavailable
from prelabel_runtime.loop import messages
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Part, Service, Subscription, each
from prelabel_runtime.tables import Table

from ..catalog import Catalog
from ..models.settings import ModelsSettings
from ..scratch import clear_left
from ..settings import InferenceSettings
from .held import Cancelled, Held, Lost
from .process import Gone, introduced
from .settings import TrainerRoleSettings
from .steps import GivenUp, Steps
from .tidying import tidy
from .trainings import TrainingProgress, TrainingRecord, Trainings, TrainingState, parse_training_id
from .words import Known

_log = log.get("prelabel.training")
_OTHERS_MS = 2_000
"""For which an end that is not told yet is left to whoever wrote it."""
_TIDY_SECONDS = 3600.0
"""Between two looks for models on this machine that nobody needs."""
_PROGRESS_SECONDS = 1.0
"""Between two events that tell how far a training is, and two lines of its log."""


def build(
    runtime: Runtime,
    provider: str,
    settings: TrainerRoleSettings,
    inference: InferenceSettings,
    kept: ModelsSettings,
) -> Service:
    """One provider's trainer. `inference`: how the processes run that answer the hold-out; `kept`: where models are.

    Raises `UnknownProvider`.
    """
    configs = Table(runtime.bus, names.CONFIGS, ConfigPublished, rng=runtime.rng)
    python = Catalog(inference.environments).python(provider)
    role = TrainerRole(runtime, provider, python, settings, inference, kept, configs)
    return Service(
        name=f"trainer-{provider}",
        parts=(configs, role),
        subscriptions=(
            Subscription(
                group=names.trainer_group(provider),
                topics=(names.training(provider),),
                on={TrainingRequested: each(role.requested), TrainingCancelled: each(role.cancelled)},
            ),
        ),
    )


class TrainerRole(Part):
    """Takes trainings up, one after the other, and tells what came of them."""

    def __init__(
        self,
        runtime: Runtime,
        provider: str,
        python: str,
        settings: TrainerRoleSettings,
        inference: InferenceSettings,
        kept: ModelsSettings,
        configs: Table[ConfigPublished],
    ) -> None:
        """Opens nothing yet."""
        self._bus = runtime.bus
        self._clock = runtime.clock
        self._new_id = runtime.new_id
        self._metrics = runtime.metrics
        self._provider = provider
        self._settings = settings
        self._documents = runtime.store.documents
        self._trainings = Trainings(self._documents, runtime.clock)
        self._models = kept.store(runtime.random_bytes)
        self._workspaces = kept.workspaces(runtime.random_bytes)
        self._holder = runtime.new_id()
        self._telling: set[asyncio.Task[None]] = set()
        self._told_at: dict[str, float] = {}
        self._at: dict[str, Held] = {}
        self._last: TrainingRecord | None = None
        """What ended here last."""
        self._wake = asyncio.Event()
        self._known: Known | None = None
        self._steps = Steps(
            provider=provider,
            python=python,
            settings=settings,
            limits=inference.limits(),
            models=self._models,
            workspaces=self._workspaces,
            configs=configs,
            clock=runtime.clock,
            metrics=runtime.metrics,
            on_step=self._stepped,
        )

    # ------------------------------------------------------------------------------------------------------- hearing

    async def requested(self, told: Event[TrainingRequested]) -> Sequence[AnyEvent]:
        """A training is asked for: note it."""
        record = await self._found(told.data.training)
        if not record.state.final:
            await self._trainings.owe(record)
        self._wake.set()
        return ()

    async def cancelled(self, told: Event[TrainingCancelled]) -> Sequence[AnyEvent]:
        """A training is to end: who is at it learns so from the record, at once if it is this process."""
        record = await self._found(told.data.training)
        await self._trainings.cancel(record.training)
        if (held := self._at.get(record.training)) is not None:
            held.look()
        self._wake.set()
        return ()

    async def _found(self, training: str) -> TrainingRecord:
        try:
            record = await self._trainings.get(*parse_training_id(training))
        except ValueError as error:
            raise InvalidEvent("training", str(error)) from None
        if record is None or record.provider != self._provider:
            raise TryAgain(f"there is no training {training} of {self._provider}")
        return record

    # ------------------------------------------------------------------------------------------------------- running

    async def start(self) -> None:
        """Remove what a killed trainer left on this machine: tasks' data, which must not wait for the next training.

        What the trainer is, is found out in `run`, since importing it may take long.
        """
        await asyncio.to_thread(clear_left)

    async def stop(self) -> None:
        """Let go of the threads; what was being trained was let go of when `run` ended."""
        self._models.stop()
        self._workspaces.stop()

    async def run(self) -> None:
        """Take up what is owed, as soon as it is asked for, and look again and again for what others left."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._announce_again())
            group.create_task(self._tidy_again())
            while True:
                self._wake.clear()
                try:
                    await self._look(group)
                except Unavailable as error:
                    _log.warning("trainings cannot be looked for", what=error.what)
                except Exception as error:  # a defect of ours: what is under way goes on, and the next look may do
                    _log.error("looking for trainings failed", error=type(error).__name__, exc_info=error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.look_seconds):
                        await self._wake.wait()

    async def _look(self, group: asyncio.TaskGroup) -> None:
        if self._known is None and not await self._introduce():
            return
        for record in await self._trainings.owed(self._provider):
            if record.training in self._at:
                continue
            if record.cancel and not record.state.final:
                record = await self._trainings.cancel(record.training) or record  # noqa: PLW2901 - as it stands now
            if record.state.final:
                if not self._told_by_another(record):
                    await self._tell(record)
            elif len(self._at) < self._settings.at_once:
                await self._take(record, group)

    def _told_by_another(self, record: TrainingRecord) -> bool:
        """Whether whoever wrote its end is likely at telling it."""
        return record.attempt > 0 and self._clock.now_ms() - (record.ended_ms or 0) < _OTHERS_MS

    async def _take(self, record: TrainingRecord, group: asyncio.TaskGroup) -> None:
        since = self._clock.monotonic()
        lease = self._settings.lease_seconds
        taken = await self._trainings.take(record.training, self._holder, lease)
        if taken is None:
            return
        _log.info("training taken", training=taken.training, attempt=taken.attempt, fence=taken.fence)
        held = Held(self._trainings, taken, self._clock, lease=lease, renew=self._settings.renew_seconds, since=since)
        self._at[taken.training] = held
        self._metrics.trainer_running.labels(self._provider).set(len(self._at))
        group.create_task(self._work(held))

    async def _work(self, held: Held) -> None:
        training = held.record.training
        try:
            ended = await self._ended(held)
            self._metrics.trainer_ended.labels(self._provider, ended.reason or str(ended.state)).inc()
            _log.info("training ended", training=training, state=str(ended.state), reason=ended.reason)
            self._last = ended
            await self._tell(ended)
        except Lost as error:
            self._metrics.trainer_lost.labels(self._provider).inc()
            _log.warning("training lost", training=training, why=str(error))
        except Unavailable as error:
            _log.warning("a training's end is told later", training=training, what=error.what)
        except asyncio.CancelledError:
            await asyncio.shield(held.let_go())
            raise
        except Exception as error:  # a defect of ours: the lease ends, and a bounded number of others try
            _log.error("training ended by a defect", training=training, error=type(error).__name__, exc_info=error)
        finally:
            del self._at[training]
            self._told_at.pop(training, None)
            self._metrics.trainer_running.labels(self._provider).set(len(self._at))
            self._wake.set()

    async def _ended(self, held: Held) -> TrainingRecord:
        """Do it, and write its end, whatever it is. Raises `Lost`."""
        assert self._known is not None  # noqa: S101 - nothing is taken before
        try:
            async with held.kept():
                return await self._steps.done(held, self._known)
        except Cancelled:
            return await held.end(TrainingState.CANCELLED, "cancelled", "it was cancelled")
        except GivenUp as error:
            return await held.end(error.state, error.reason, error.detail)

    # ------------------------------------------------------------------------------------------------------- telling

    async def _tell(self, record: TrainingRecord) -> None:
        """Tell a training's end, the same event however often, and then owe it no more."""
        about = {
            "project": record.project,
            "model": record.model,
            "provider": record.provider,
            "training": record.training,
        }
        data: EventData
        if record.state is TrainingState.TRAINED and record.artifact is not None and record.version is not None:
            data = ModelTrained(**about, version=record.version, artifact=record.artifact, metrics=record.metrics)
        else:
            data = TrainingFailed(**about, reason=record.reason or str(record.state), detail=record.detail)
        told = names.derived(type(data).TYPE, record.training, record.artifact, record.serving_epoch)
        await self._publish(data, told, record.ended_ms or record.requested_ms)
        await self._trainings.settle(record)

    def _stepped(self, held: Held, progress: TrainingProgress) -> None:
        now, training = self._clock.monotonic(), held.record.training
        if now - self._told_at.get(training, -_PROGRESS_SECONDS) < _PROGRESS_SECONDS:
            return
        self._told_at[training] = now
        held.note(_line(progress))
        data = TrainingProgressed(
            project=held.record.project,
            model=held.record.model,
            provider=held.record.provider,
            training=training,
            **progress.model_dump(),
        )
        task = asyncio.create_task(self._tell_progress(data))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell_progress(self, data: TrainingProgressed) -> None:
        with contextlib.suppress(Unavailable):  # the next one says more
            await self._publish(data, self._new_id(), self._clock.now_ms())

    async def _tidy_again(self) -> None:
        while True:
            try:
                await self._tidy()
            except Unavailable as error:
                _log.warning("models on this machine cannot be looked through", what=error.what)
            except Exception as error:  # a defect of ours: trainings go on
                _log.error("looking through models failed", error=type(error).__name__, exc_info=error)
            await self._clock.sleep(_TIDY_SECONDS)

    async def _tidy(self) -> None:
        owed = await self._trainings.owed(self._provider)
        gone = await tidy(self._models, self._documents, self._clock, [*owed, *([self._last] if self._last else [])])
        if gone:
            _log.info("models removed from this machine", count=len(gone))

    async def _introduce(self) -> bool:
        try:
            self._known = await introduced(self._steps.launch())
        except Gone as error:
            _log.warning("the trainer cannot be started", provider=self._provider, error=error.detail)
            return False
        with contextlib.suppress(Unavailable):
            await self._announce(self._known)
        return True

    async def _announce_again(self) -> None:
        while True:
            await self._clock.sleep(self._settings.heartbeat_seconds)
            if self._known is not None:
                with contextlib.suppress(Unavailable):
                    await self._announce(self._known)

    async def _announce(self, known: Known) -> None:
        now = self._clock.now_ms()
        data = TrainerAnnounced(
            provider=self._provider,
            package=known.package,
            kinds=tuple(known.kinds),
            settings_schema=json.loads(json.dumps(known.settings_schema)),
            seen_ms=now,
            every_ms=round(self._settings.heartbeat_seconds * 1000),
        )
        await self._publish(data, self._new_id(), now)

    async def _publish(self, data: EventData, event_id: str, time_ms: int) -> None:
        told = event(data, id=event_id, source=f"/trainer/{self._provider}", time_ms=time_ms)
        await self._bus.publish(messages([told]))


def _line(progress: TrainingProgress) -> str:
    """What a progress says, for people."""
    said = [f"step {progress.step} of {progress.steps}"]
    said += [f"loss {progress.loss:.4g}"] if progress.loss is not None else []
    said += [f"score {progress.score:.3f}"] if progress.score is not None else []
    said += [f"{progress.seconds_left:.0f} s left"] if progress.seconds_left is not None else []
    return ", ".join(said)
