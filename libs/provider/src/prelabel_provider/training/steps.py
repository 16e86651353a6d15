"""What is done for one held training: its model is trained and published, then the hold-out is answered.

Each step begins where the record says that the last one ended, so whoever takes up a training goes on with it. What a
step needs and cannot reach (model store, workspace, topics) is waited for, under the lease.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from prelabel_contract.events import ConfigPublished
from prelabel_contract.projects import ModelSpec, Project
from prelabel_runtime import log
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.tables import Table
from pydantic import JsonValue

from ..base import BadSettings
from ..models.manifest import ArtifactRefused, Rules
from ..models.store import Models, Origin
from ..models.workspace import CANDIDATE, EXAMPLES, HOLDOUT, SERVING, AnswerLine, Lines, Workspace, Workspaces
from ..predictor import CannotLoad, CannotStart
from ..scratch import clear_left, emptied, scratch
from ..trainer import CHECKPOINTS
from ..worker.worker import WorkerLimits
from .evaluation import Evaluation, TooSlow
from .held import Held
from .process import Gone, Launch, TrainingProcess, trained
from .settings import TrainerRoleSettings
from .trainings import TrainingProgress, TrainingRecord, TrainingState, version_name
from .words import JobFile, Known, Made, Refused, Stepped

T = TypeVar("T")
_log = log.get("prelabel.training")
_AGAIN_SECONDS = 1.0
"""Until what does not answer is asked again."""


class GivenUp(Exception):
    """There is no version, and there will be none on another try."""

    def __init__(self, state: TrainingState, reason: str, detail: str) -> None:
        """`state`: failed or refused. `reason`: a word for machines. `detail`: a sentence for people."""
        super().__init__(detail)
        self.state = state
        self.reason = reason
        self.detail = detail


def _failed(reason: str, detail: str) -> GivenUp:
    return GivenUp(TrainingState.FAILED, reason, detail)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a training's configuration says."""

    project: Project
    model: ModelSpec


@dataclass(frozen=True, slots=True)
class Steps:
    """Everything that training looks at."""

    provider: str
    python: str
    settings: TrainerRoleSettings
    limits: WorkerLimits
    """Of the processes that answer the hold-out."""
    models: Models
    workspaces: Workspaces
    configs: Table[ConfigPublished]
    clock: Clock
    metrics: Metrics
    on_step: Callable[[Held, TrainingProgress], None] = field(default=lambda held, progress: None)

    async def done(self, held: Held, known: Known) -> TrainingRecord:
        """Do what is left to do of a training, and write its end. Raises `GivenUp`, `Lost` and `Cancelled`."""
        if held.record.tries > self.settings.attempts:
            begun = held.record.tries - 1
            raise _failed("crashed", f"whoever was at it ended {begun} times before it was done: killed, or crashed")
        asked = await self._asked(held.record)
        rules = Rules(self.provider, frozenset(known.writes))
        if held.record.artifact is None:
            await self._train(held, asked, known, rules)
        await self._evaluate(held, asked, known, rules)
        return await held.end(TrainingState.TRAINED)

    async def _asked(self, record: TrainingRecord) -> Asked:
        config = await self._patiently(lambda: self.configs.find(record.config))
        if config is None:
            raise _failed("unknown_config", "the project's configuration that it was asked for is not known")
        model = config.project.model(record.model)
        if model is None or model.provider != record.provider:
            raise _failed("unknown_model", f"the project has no model {record.model!r} of {record.provider}")
        return Asked(config.project, model)

    # ------------------------------------------------------------------------------------------------------ training

    async def _train(self, held: Held, asked: Asked, known: Known, rules: Rules) -> None:
        await asyncio.to_thread(clear_left)
        async with scratch() as folder:
            job = await self._job(held, asked, rules, folder)
            made = await self._made(held, job, folder)
            origin = Origin(held.record.seed, held.record.fingerprint, made.libraries)
            artifact = await self._published(Path(job.folder), made, origin, rules)
        held.note(f"published as {artifact[:12]}: {len(made.files)} files")
        await held.settled(
            state=TrainingState.EVALUATING,
            artifact=artifact,
            version=version_name(held.record.number, artifact),
            metrics={name: value for name, value in made.metrics.items() if value is not None},
            libraries=made.libraries,
            package=known.package,
            tries=1,
        )

    async def _job(self, held: Held, asked: Asked, rules: Rules, folder: Path) -> JobFile:
        record, workspace = held.record, self._workspace(held.record)
        if record.fence == 1:
            record = await held.settled(threads=self.settings.threads)  # whoever goes on uses as many
        examples = folder / EXAMPLES.name
        try:
            await self._patiently(lambda: workspace.download(EXAMPLES, examples))
        except FileNotFoundError:
            raise _failed("no_examples", "its examples are not there any more") from None
        base = await self._base(record, rules)
        return JobFile(
            examples=str(examples),
            label_set=asked.project.questions_of(asked.model),
            folder=str(folder / "artifact"),
            seed=record.seed,
            settings=record.settings,
            base=None if base is None else str(base),
            base_settings=dict(asked.model.settings) if base is None and record.start != "blank" else None,
            threads=record.threads,
        )

    async def _base(self, record: TrainingRecord, rules: Rules) -> Path | None:
        if record.base is None:
            return None
        artifact = record.base
        try:
            return await self._patiently(lambda: self.models.fetch(artifact, rules))
        except ArtifactRefused as error:
            raise _failed("base", f"what it is to go on from cannot be had: {error.detail}") from error

    async def _made(self, held: Held, job: JobFile, folder: Path) -> Made:
        """What the trainer made, in as many attempts as it takes. Raises `GivenUp`."""
        while True:
            said = await self._attempt(held, job, folder)
            match said:
                case Made():
                    return said
                case Refused():
                    raise GivenUp(TrainingState.REFUSED, said.reason, _unplaced(said.detail, job.base))
                case Gone(reason="crashed") if held.record.tries < self.settings.attempts:
                    held.note(f"attempt {held.record.attempt}: {said.detail}; it is begun anew")
                    await held.settled(attempt=held.record.attempt + 1, tries=held.record.tries + 1)
                case Gone():
                    raise _failed(said.reason, said.detail)

    async def _attempt(self, held: Held, job: JobFile, folder: Path) -> Made | Refused | Gone:
        await asyncio.to_thread(_emptied, folder, job)
        record = held.record
        launch = self.launch(record)
        held.note(f"attempt {record.attempt}: training with seed {record.seed}")
        self.metrics.trainer_attempts.labels(self.provider).inc()
        began = self.clock.monotonic()

        def stepped(said: Stepped) -> None:
            progress = TrainingProgress(**{name: getattr(said, name) for name in said.__struct_fields__})
            held.progressed(progress)
            self.on_step(held, progress)

        try:
            async with TrainingProcess.begun(launch, folder / "job.json", held.until) as process:
                _log.info("training begins", training=record.training, attempt=record.attempt, pid=process.pid)
                with held.telling(process.may_go_on):
                    await process.known()
                    return await trained(process, stepped, record.time_seconds)
        except Gone as error:
            return error
        finally:
            self.metrics.trainer_seconds.labels(self.provider).observe(self.clock.monotonic() - began)

    def launch(self, record: TrainingRecord | None = None) -> Launch:
        """How a process is started: for a training, or to be introduced."""
        wanted = (None if record is None else record.memory_mib, None if record is None else self.settings.memory_mib)
        return Launch(
            provider=self.provider,
            python=self.python,
            threads=1 if record is None else record.threads,
            memory_mib=min((mib for mib in wanted if mib is not None), default=None),
            nice=self.settings.nice,
            start_seconds=self.settings.start_seconds,
        )

    async def _published(self, folder: Path, made: Made, origin: Origin, rules: Rules) -> str:
        try:
            return await self._patiently(lambda: self.models.publish(folder, made.files, origin, rules))
        except ArtifactRefused as error:
            raise _failed(error.reason, f"its files are refused: {error.detail}") from error

    # ---------------------------------------------------------------------------------------------------- evaluating

    async def _evaluate(self, held: Held, asked: Asked, known: Known, rules: Rules) -> None:
        sources = frozenset(known.sources)
        evaluation = Evaluation(
            provider=self.provider,
            python=self.python,
            limits=self.limits,
            nice=self.settings.nice,
            project=asked.project,
            model=asked.model,
            seconds=self.settings.evaluate_seconds,
        )
        try:
            await self._answer_by_candidate(held, asked, evaluation, sources, rules)
            await self._answer_by_serving(held, asked, evaluation, sources, rules)
        except FileNotFoundError:
            raise _failed("no_holdout", "its hold-out is not there any more") from None

    async def _answer_by_candidate(
        self, held: Held, asked: Asked, evaluation: Evaluation, sources: frozenset[str], rules: Rules
    ) -> None:
        record, workspace = held.record, self._workspace(held.record)
        assert record.artifact is not None  # noqa: S101 - it was published
        settings: Mapping[str, JsonValue] = {}
        try:
            settings = await self._settings_of(record.artifact, asked.model, sources, rules)
            count = await self._answered(workspace, CANDIDATE, evaluation, settings)
        except (ArtifactRefused, BadSettings, CannotLoad) as error:
            why = _unplaced(str(error), settings.get("path"))
            raise _failed("unloadable", f"the version that was made cannot be loaded: {why}") from error
        except TooSlow as error:
            raise _failed("timeout", f"the version that was made {error}") from None
        held.note(f"answered {count} held-out tasks")

    async def _answer_by_serving(
        self, held: Held, asked: Asked, evaluation: Evaluation, sources: frozenset[str], rules: Rules
    ) -> None:
        record, workspace = held.record, self._workspace(held.record)
        name = record.serving_version or "the model as its settings say"
        settings: Mapping[str, JsonValue] = {}
        try:
            settings = await self._settings_of(record.serving_artifact, asked.model, sources, rules)
            await self._answered(workspace, SERVING, evaluation, settings)
            held.note(f"{name}, which serves, answered them too")
        except (ArtifactRefused, BadSettings, CannotLoad) as error:
            why = _unplaced(str(error), settings.get("path") if record.serving_artifact else None)
            held.note(f"{name}, which serves, cannot be loaded, and so answers nothing: {why}")
            await self._patiently(lambda: workspace.write(SERVING, evaluation.nothing(workspace.read(HOLDOUT))))
        except TooSlow as error:  # nothing to compare with: a version is not better for that
            raise _failed("timeout", f"{name}, which serves, {error}") from None

    async def _answered(
        self, workspace: Workspace, file: Lines[AnswerLine], evaluation: Evaluation, settings: Mapping[str, JsonValue]
    ) -> int:
        return await self._patiently(lambda: _answered(workspace, file, evaluation, settings))

    async def _settings_of(
        self, artifact: str, model: ModelSpec, sources: frozenset[str], rules: Rules
    ) -> Mapping[str, JsonValue]:
        """The provider's settings of a version. Empty artifact: the model as its settings say."""
        if not artifact:
            return model.settings
        folder = await self._patiently(lambda: self.models.fetch(artifact, rules))
        return version_settings(model.settings, sources, folder)

    # ------------------------------------------------------------------------------------------------------- helpers

    def _workspace(self, record: TrainingRecord) -> Workspace:
        return self.workspaces.of(record.project, record.model, record.number)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """What a call answers, once it does: until then the lease is kept, and cancelling works."""
        while True:
            try:
                return await call()
            except Unavailable as error:
                _log.warning("training waits", what=error.what)
            except CannotLoad:
                raise
            except CannotStart as error:
                _log.warning("training waits for the provider's process", error=str(error))
            await self.clock.sleep(_AGAIN_SECONDS)


def _unplaced(why: str, folder: JsonValue) -> str:
    """What is wrong, without where a version lies on this machine: a training's record is shown to everybody."""
    return why.replace(folder, "its folder") if isinstance(folder, str) and folder else why


async def _answered(
    workspace: Workspace,
    file: Lines[AnswerLine],
    evaluation: Evaluation,
    settings: Mapping[str, JsonValue],
) -> int:
    """Write down what a model says about the hold-out, and how many tasks that are. Raises `TooSlow`."""
    async with aclosing(workspace.read(HOLDOUT)) as tasks, aclosing(evaluation.answers(settings, tasks)) as said:
        return await workspace.write(file, said)  # its process ends with this block, however left


def version_settings(
    settings: Mapping[str, JsonValue], sources: frozenset[str], folder: Path
) -> Mapping[str, JsonValue]:
    """A model's settings with a version's files in place of what they name."""
    return {**{name: value for name, value in settings.items() if name not in sources}, "path": str(folder)}


def _emptied(folder: Path, job: JobFile) -> None:
    """Write the job's file beside a folder for what it makes: of an attempt before, there is what it goes on from."""
    emptied(Path(job.folder), CHECKPOINTS)
    (folder / "job.json").write_text(job.model_dump_json())
