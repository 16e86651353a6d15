"""From `model.trained` to a verdict, once per training, whatever is killed when.

    read what was answered -> score both against today's truth -> decide -> write the version down (the first wins)
    -> let it serve, if so decided -> forget the workspace -> tell

Every step bears repetition, and a record that is delivered again begins at the first that has not been done: a version
that is written down is never judged again, a version that serves is not made to serve twice, and what is told has ids
that follow from the training or from the epoch.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from prelabel_contract import names
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import (
    AnyEvent,
    Event,
    EventData,
    ModelRejected,
    ModelTrained,
    ProjectChanged,
    TrainingFailed,
    event,
)
from prelabel_contract.projects import ModelSpec, ModelTraining, Project
from prelabel_provider.models.workspace import CANDIDATE, SERVING, AnswerLine, Lines, Workspace, Workspaces
from prelabel_provider.training.trainings import (
    TrainingRecord,
    Trainings,
    TrainingState,
    parse_training_id,
    version_name,
)
from prelabel_runtime import log
from prelabel_runtime.clock import Clock
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.service import Handler, each
from prelabel_runtime.store.base import Store
from prelabel_runtime.tables import Table

from ..examples.today import truths
from ..registry.registry import SOURCE, Registry, Serving, serving
from ..registry.versions import Figures, Judgement, VersionRecord, Versions
from .judging import Answers, CannotJudge, Case, judged
from .reevaluation import Reevaluations, again

GROUP = "training-gate"
_log = log.get("prelabel.gate")


@dataclass(frozen=True, slots=True)
class Gatekeeper:
    """Decides which version may serve."""

    trainings: Trainings
    workspaces: Workspaces
    store: Store
    versions: Versions
    registry: Registry
    reevaluations: Reevaluations
    projects: Table[ProjectChanged]
    clock: Clock
    metrics: Metrics

    def on(self) -> Mapping[type[EventData], Handler]:
        """Which event goes where."""
        return {ModelTrained: each(self.trained), TrainingFailed: each(self.failed)}

    async def failed(self, told: Event[TrainingFailed]) -> Sequence[AnyEvent]:
        """There is no version: what the training had of tasks' data goes."""
        project, model, number = _parsed(told.data.training)
        record = await self.trainings.get(project, model, number)
        if record is None or (record.state.final and record.state is not TrainingState.TRAINED):
            await self.workspaces.of(project, model, number).remove()
        return []

    async def trained(self, told: Event[ModelTrained]) -> Sequence[AnyEvent]:
        """There is a version: may it serve?"""
        project, model, number = _parsed(told.data.training)
        version = await self.versions.get(project, model, number)
        if version is None:
            record = await self.trainings.get(project, model, number)
            if record is None or record.artifact is None:
                raise InvalidEvent("unknown_training", f"there is no training {told.data.training!r} with a version")
            if record.state is TrainingState.EVALUATING:
                return [again(record, record.serving_epoch)]  # asked for already; that it was told is not sure
            if record.state is not TrainingState.TRAINED:
                return []  # it was to be compared again, and was cancelled or failed at that
            made = await self._judge(record)
            if not isinstance(made, VersionRecord):
                return [made]
            version = await self.versions.insert(made)
            self.metrics.versions_judged.labels(version.verdict.outcome, version.verdict.reason).inc()
            _log.info("version judged", training=version.training, outcome=version.verdict.outcome)
        events = await self._do(version)
        await self.workspaces.of(project, model, number).remove()
        return events

    # ----------------------------------------------------------------------------------------------------- judging

    async def _judge(self, record: TrainingRecord) -> VersionRecord | AnyEvent:
        """The version with its verdict; or the event that asks for a new evaluation."""
        against = Serving(record.serving_version or Serving().version, record.serving_artifact, record.serving_epoch)
        row = await self.projects.find(record.project)
        spec = None if row is None or row.deleted else row.project.model(record.model)
        if row is None or spec is None or spec.provider != record.provider:
            text = f"Not promoted: the project has no model {record.model!r} of {record.provider} any more."
            return self._version(record, _refused("model_gone", text, against), None)
        now = serving(await self.registry.pointer(record.project, record.model), spec.provider)
        if (now.version, now.artifact) != (against.version, against.artifact):
            asked = await self.reevaluations.ask(record, now)
            if asked is not None:
                _log.info("compared again", training=record.training, epoch=now.epoch)
                return asked
            text = (
                "Not promoted: what serves changed each time that it was compared. Promote it by hand, if it is good."
            )
            return self._version(record, _refused("overtaken", text, now), None)
        try:
            case = await self._case(record, row.project, spec, now)
            judgement, figures = await asyncio.to_thread(judged, case)
        except CannotJudge as error:
            return self._version(record, _refused(error.reason, error.text, now), None)
        return self._version(record, judgement, figures)

    async def _case(self, record: TrainingRecord, project: Project, spec: ModelSpec, against: Serving) -> Case:
        workspace = self.workspaces.of(record.project, record.model, record.number)
        try:
            candidate = await _answers(workspace, CANDIDATE)
        except FileNotFoundError:
            text = "Not promoted: what it says about the hold-out is not there."
            raise CannotJudge("no_answers", text) from None
        try:
            before = await _answers(workspace, SERVING)
        except FileNotFoundError:
            before = {}
        serves = await self.versions.named(record.project, record.model, against.version)
        return Case(
            training=record.training,
            questions=project.questions_of(spec),
            truth=await truths(self.store, project, spec, candidate.keys()),
            candidate=candidate,
            serving=before,
            against=against,
            margin=(spec.training or ModelTraining()).margin,
            candidates_figure=record.metrics,
            servings_figure=serves.metrics if serves is not None else {},
        )

    def _version(self, record: TrainingRecord, judgement: Judgement, figures: Figures | None) -> VersionRecord:
        artifact = record.artifact or ""
        return VersionRecord(
            version=record.version or version_name(record.number, artifact),
            number=record.number,
            project=record.project,
            model=record.model,
            provider=record.provider,
            training=record.training,
            parent=record.base,
            artifact=artifact,
            fingerprint=record.fingerprint,
            cut=record.cut,
            config=record.config,
            examples=record.examples,
            seed=record.seed,
            start=record.start,
            package=record.package,
            libraries=record.libraries,
            settings=record.settings,
            metrics=record.metrics,
            report=figures,
            verdict=judgement,
            provisional=judgement.outcome == "provisional",
            trained_ms=record.ended_ms,
            judged_ms=self.clock.now_ms(),
        )

    # ------------------------------------------------------------------------------------------------------- doing

    async def _do(self, version: VersionRecord) -> Sequence[AnyEvent]:
        """Do what was decided about a version that is written down; what is still to be told of it."""
        verdict = version.verdict
        if not verdict.passes:
            return [_rejected(version, verdict.reason, verdict.text)]
        if await self.registry.judged(version) is not None:
            return []  # told by whoever made it serve
        text = (
            "It may serve, but something else began to while that was written down: promote it by hand, if it is good."
        )
        return [_rejected(version, "overtaken", text)]


def _parsed(training: str) -> tuple[str, str, int]:
    try:
        return parse_training_id(training)
    except ValueError as error:
        raise InvalidEvent("unknown_training", str(error)) from None


def _refused(reason: str, text: str, against: Serving) -> Judgement:
    return Judgement(
        outcome="refuse",
        reason=reason,
        text=text,
        against_version=against.version,
        against_artifact=against.artifact,
        against_epoch=against.epoch,
    )


def _rejected(version: VersionRecord, reason: str, text: str) -> AnyEvent:
    data = ModelRejected(
        project=version.project,
        model=version.model,
        provider=version.provider,
        training=version.training,
        version=version.version,
        reason=reason,
        detail=text,
    )
    return event(data, id=names.derived(data.TYPE, version.training), source=SOURCE, time_ms=version.judged_ms)


async def _answers(workspace: Workspace, file: Lines[AnswerLine]) -> Answers:
    lines: AsyncIterator[AnswerLine] = workspace.read(file)
    return {line.task: line.regions async for line in lines}
