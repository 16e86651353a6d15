"""The same trainings once more, in memory, one after the other, from what the log says up to each one's cut.

Its parts are those that decide in the services (policy, hold-out, fingerprint, trainer, gate). What is left out is all
that lies between them: stores, workspaces, leases, topics, processes. What comes of it names what must have come there.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prelabel_contract.projects import ModelSpec, Project
from prelabel_contract.regions import REGIONS, Region
from prelabel_provider.align import Aligner
from prelabel_provider.base import Failed, Input, Predicted, Provider
from prelabel_provider.models.manifest import Manifest, StoredFile
from prelabel_provider.trainer import Example, Job, Trained, Trainer
from prelabel_provider.training.trainings import version_name
from prelabel_training.examples.fingerprint import fingerprint
from prelabel_training.examples.holdout import in_holdout
from prelabel_training.examples.lens import Lens, Lesson
from prelabel_training.gate.judging import Case, judged
from prelabel_training.registry.registry import Serving
from prelabel_training.triggers.preparing import seed_of
from prelabel_training.triggers.rules import training_of

from .recorded import Recorded


@dataclass(frozen=True, slots=True)
class Version:
    """What a training must have led to."""

    training: str
    examples: int
    fingerprint: str
    seed: int
    artifact: str
    version: str
    outcome: str
    passes: bool
    """It serves from then on."""
    text: str
    """What is said of it, with its score."""


@dataclass(slots=True)
class InMemory:
    """The loop of one model."""

    recorded: Recorded
    provider: type[Provider[Any]]
    trainer: Trainer[Any]
    folder: Path
    """There, empty: artifacts are made in it."""
    serving: Serving = field(default_factory=Serving)
    _metrics: Mapping[str, float] = field(default_factory=dict)
    """What the trainer said of the version that serves."""

    def versions(self) -> list[Version]:
        """All of them, in the order in which their trainings were asked for."""
        return [self._version(name) for name in self.recorded.requested]

    def _version(self, training: str) -> Version:
        asked = self.recorded.requested[training]
        project = self.recorded.configs[asked.config]
        model = project.model(asked.model)
        assert model is not None, "a training of a model that the project has not"
        lessons = self._lessons(project, model, asked.cut)
        apart = {one.task for one in lessons if in_holdout(project.id, one.task, project.learning.holdout)}
        learned = [one for one in lessons if one.task not in apart]
        named, seed = fingerprint((one.task, one.seen.content) for one in learned), seed_of(training)
        folder = self.folder / training.replace("/", "-")
        folder.mkdir(parents=True)
        made = self._trained(project, model, learned, folder, seed)
        artifact = _artifact(model.provider, folder, made, seed, named)
        holdout = [one for one in lessons if one.task in apart]
        case = Case(
            training=training,
            questions=project.questions_of(model),
            truth={one.task: one.regions for one in holdout},
            candidate=self._said(project, model, folder, holdout),
            serving=self._said(project, model, self._serves(), holdout),
            against=self.serving,
            margin=training_of(model).margin,
            candidates_figure=made.metrics,
            servings_figure=self._metrics,
        )
        judgement, _ = judged(case)
        number = int(training.rpartition("/")[2])
        version = version_name(number, artifact)
        if judgement.passes:
            (self.folder / artifact).symlink_to(folder)
            self.serving = Serving(version, artifact, self.serving.epoch + 1)
            self._metrics = made.metrics
        return Version(
            training=training,
            examples=len(learned),
            fingerprint=named,
            seed=seed,
            artifact=artifact,
            version=version,
            outcome=str(judgement.outcome),
            passes=judgement.passes,
            text=judgement.text,
        )

    def _serves(self) -> Path | None:
        return self.folder / self.serving.artifact if self.serving.artifact else None

    def _lessons(self, project: Project, model: ModelSpec, cut: int) -> list[Lesson]:
        lens = Lens.of(project, model)
        looked = (lens.lesson(said, self.recorded.tasks.get(task)) for task, said in self.recorded.said(cut).items())
        return [one for one in looked if isinstance(one, Lesson)]

    def _trained(
        self, project: Project, model: ModelSpec, learned: Sequence[Lesson], folder: Path, seed: int
    ) -> Trained:
        said = training_of(model)
        examples = tuple(Example(one.task, one.data, one.regions) for one in learned)
        base = self._serves() if said.start == "serving" else None
        job = Job(examples, project.questions_of(model), folder, seed, dict(said.settings), base)
        return self.trainer.train(job, lambda _: None)

    def _said(
        self, project: Project, model: ModelSpec, folder: Path | None, holdout: Sequence[Lesson]
    ) -> dict[str, tuple[Region, ...] | None]:
        """What a version says; `folder` None: the model as its settings say."""
        settings = dict(model.settings)
        if folder is not None:
            settings = {name: value for name, value in settings.items() if name not in self.trainer.source_settings}
            settings["path"] = str(folder.resolve())
        provider = self.provider.load(self.provider.Settings.model_validate(settings))
        aligner, field_ = Aligner(project, model), project.questions_of(model)[0].field
        said = provider.predict([Input(one.task, one.data, field_) for one in holdout])
        found: dict[str, tuple[Region, ...] | None] = {}
        for one, answer in zip(holdout, said, strict=True):
            if isinstance(answer, Failed):
                found[one.task] = None
                continue
            written = REGIONS.dump_json(answer.regions) if isinstance(answer, Predicted) else answer.regions
            found[one.task] = aligner.align(one.data, written).regions
        return found


def _artifact(provider: str, folder: Path, made: Trained, seed: int, named: str) -> str:
    """The name of what was made: the hash of its manifest."""
    files = {}
    for name in made.files:
        content = (folder / name).read_bytes()
        files[name] = StoredFile(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    manifest = Manifest(provider=provider, files=files, libraries=dict(made.libraries), seed=seed, fingerprint=named)
    return manifest.artifact
