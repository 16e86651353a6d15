"""What training's routes answer, for OpenAPI."""

from prelabel_contract.base import Json
from prelabel_provider.training.trainings import TrainingRecord
from prelabel_runtime.http.described import Shown, page
from pydantic import Field

from .triggers.states import ShownWhy


class ModelExamples(Shown):
    """What one model could learn from now, and when it will."""

    model: str
    examples: int
    """Usable, held-out ones not counted."""
    held_out: int
    """Usable, and kept for judging: no model learns from them."""
    left_out: dict[str, int]
    """Tasks with annotations that are no examples, by reason: skipped, unknown_task, label_set, data, unreadable."""
    new: int
    """That the last training was not given. An estimate: 0 only if nothing is new."""
    minimum: int
    """Examples below which nobody trains."""
    training: str | None = None
    """The training under way: <project>/<model>/<number>."""
    why: ShownWhy | None = None
    """Why none is started just now, as it was decided last."""
    until_ms: int | None = None
    """When it will be decided again, if nothing comes before."""


class ExampleCounts(Shown):
    """Examples of a project."""

    project: str
    examples: int
    """Tasks with a usable annotation."""
    holdout: float
    """Share of the tasks that is held out, 0 to less than 1."""
    models: list[ModelExamples] = []


class ShownProgress(Shown):
    """How far a training is, as its trainer said last."""

    step: int
    steps: int
    """In all, as far as is known; 0: not known."""
    loss: float | None = None
    score: float | None = None
    """On the trainer's own part of the examples, 0 to 1."""
    seconds_left: float | None = None


class ShownTraining(Shown):
    """A training."""

    training: str
    """<project>/<model>/<number>."""
    project: str
    model: str
    provider: str
    number: int
    """From 1, per model."""
    state: str
    """requested, training, evaluating; at the end: trained, failed, refused (there is no model in these examples) or
    cancelled."""
    cancelling: bool = False
    """Its end was asked for, and its trainer has not stopped yet."""
    config: str
    """Content hash of the project as it was."""
    cut: int
    """Offset of the last annotation that it learns from."""
    fingerprint: str
    """The name of the set of examples."""
    examples: int
    holdout: int
    """Tasks that it is judged by."""
    seed: int
    start: str
    """blank, settings or serving."""
    base: str | None = None
    """The artifact that is trained further."""
    serving_version: str | None = None
    """What served when it was asked for."""
    settings: dict[str, Json] = {}
    """The trainer's."""
    time_seconds: float
    """After which it is ended."""
    memory_mib: int | None = None
    attempt: int = 0
    """How often a trainer began it."""
    progress: ShownProgress
    version: str | None = None
    artifact: str | None = None
    metrics: dict[str, float] = {}
    """What the trainer measured on its own part of the examples."""
    libraries: dict[str, str] = {}
    package: str = ""
    """Version of the provider's package that trained."""
    reason: str = ""
    """A word for machines: why there is no version."""
    detail: str = ""
    """A sentence for people."""
    requested_ms: int
    started_ms: int | None = None
    ended_ms: int | None = None


Trainings = page("trainings", ShownTraining)


class AskedTraining(Shown):
    """What came of asking for a training."""

    training: ShownTraining | None
    """Null: none has started yet, and `why` says why. With `already` in it: the one that was under way, which has been
    given all there is."""
    why: ShownWhy


class LogLine(Shown):
    """A line of a training's log."""

    at_ms: int
    line: str


class TrainingLog(Shown):
    """What was done and said in a training: its last 200 lines, oldest first."""

    training: str
    lines: list[LogLine] = Field(default_factory=list)


_HIDDEN = {"cancel", "holder", "lease_until_ms", "fence", "log", "threads", "serving_artifact", "serving_epoch"}


def shown(record: TrainingRecord) -> dict[str, object]:
    """A training as JSON."""
    cancelling = record.cancel and not record.state.final
    return {**record.model_dump(mode="json", exclude=_HIDDEN), "cancelling": cancelling}
