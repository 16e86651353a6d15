"""Trainings, versions of models, what people's annotations are worth."""

from typing import Any

from .models import Result


class Why(Result):
    """Why something was done, or was not."""

    reason: str
    """A word for machines."""
    sentence: str
    """For people."""
    have: int = 0
    need: int = 0


class TrainingProgress(Result):
    """How far a training is, as its trainer said last."""

    step: int = 0
    steps: int = 0
    """In all, as far as is known; 0: not known."""
    loss: float | None = None
    score: float | None = None
    seconds_left: float | None = None


class Training(Result):
    """A training of a model."""

    training: str
    """<project>/<model>/<number>"""
    project: str
    model: str
    provider: str
    number: int
    state: str
    """requested, training, evaluating; at the end: trained, failed, refused or cancelled"""
    cancelling: bool = False
    examples: int = 0
    holdout: int = 0
    """Tasks that it is judged by."""
    progress: TrainingProgress = TrainingProgress()
    version: str | None = None
    metrics: dict[str, float] = {}
    """What the trainer measured on its own part of the examples."""
    reason: str = ""
    detail: str = ""
    requested_ms: int
    started_ms: int | None = None
    ended_ms: int | None = None

    @property
    def over(self) -> bool:
        """It has ended, one way or another."""
        return self.state in ("trained", "failed", "refused", "cancelled")


class AskedTraining(Result):
    """What came of asking for a training."""

    training: Training | None = None
    """None: none has started yet; `why` says why."""
    why: Why


class LogLine(Result):
    """A line of a training's log."""

    at_ms: int
    line: str


class Serving(Result):
    """What a model's tasks are answered by."""

    model: str
    provider: str | None = None
    version: str
    """`settings`: the model as its settings say."""
    epoch: int
    """Counts the changes; 0: there was none."""
    previous_version: str | None = None
    provisional: bool = False
    by: str | None = None
    at_ms: int | None = None


class Model(Result):
    """A model of a project, and what serves it."""

    name: str
    provider: str
    serving: Serving


class Verdict(Result):
    """What the gate decided about a version."""

    outcome: str
    """promote, provisional or refuse"""
    reason: str
    text: str = ""
    """For people."""
    basis: str = ""
    metric: str = ""
    tasks: int = 0
    score: float | None = None
    compared: dict[str, Any] | None = None


class Figure(Result):
    """A figure, 0 to 1, and its 95 % interval."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class LabelFigures(Result):
    """How well one label is found."""

    question: str
    label: str
    precision: Figure
    recall: Figure
    f1: Figure


class Report(Result):
    """How well a version did on the hold-out of the day it was judged."""

    tasks: int
    precision: Figure
    recall: Figure
    f1: Figure
    macro_f1: Figure
    accuracy: dict[str, Figure] = {}
    labels: tuple[LabelFigures, ...] = ()
    overall: Figure = Figure()
    """By the metric that the version was judged by."""
    metric: str = ""


class Load(Result):
    """What a process that predicts said last about a version that it was to load."""

    host: str
    state: str
    """serving, or refused"""
    epoch: int
    at_ms: int
    detail: str = ""
    memory_mib: float | None = None
    """Of the model's process, afterwards."""
    seconds: float | None = None
    """From the news of the version until it served."""


class Version(Result):
    """A version of a model: how it came about and what was decided about it."""

    version: str
    number: int
    model: str
    provider: str
    training: str
    examples: int = 0
    verdict: Verdict
    provisional: bool = False
    state: str
    """serving, served (another does now), kept (it may serve, and never did), rejected, refused (it cannot be
    loaded)"""
    refused: str | None = None
    since_ms: int | None = None
    judged_ms: int
    report: Report | None = None
    """Of a version that was asked for by its name."""
    loads: tuple[Load, ...] = ()
    """The same: what those who predict said about it, the newest word first."""


class CurvePoint(Result):
    """A version: what it learned from, and how good it was."""

    version: str
    examples: int
    score: float | None = None
    """On the hold-out of the day it was judged."""
    low: float | None = None
    high: float | None = None
    metric: str = ""
    tasks: int = 0
    """Of the hold-out."""
    enough: bool = True
    """So many that the score says something."""
    state: str
    provisional: bool = False
    outcome: str = ""
    reason: str = ""

    @property
    def served(self) -> bool:
        """It serves, or has served."""
        return self.state in ("serving", "served")


class Curve(Result):
    """The learning curve of a model."""

    model: str
    metric: str | None = None
    serving: str
    points: tuple[CurvePoint, ...] = ()
    """In the order in which they were trained."""


class LabelPoint(Result):
    """A label in one version."""

    version: str
    examples: int = 0
    precision: Figure
    recall: Figure
    f1: Figure


class LabelCurve(Result):
    """A label over the versions."""

    question: str
    label: str
    points: tuple[LabelPoint, ...] = ()


class AcceptedShare(Result):
    """What people made of a version's suggestions."""

    model: str | None = None
    provider: str | None = None
    version: str | None = None
    shown: int
    """Suggestions that somebody decided about."""
    accepted: int
    corrected: int
    rejected: int
    acceptance_rate: float | None = None
    """Accepted as they were, of those decided about, 0 to 1. None: there were none."""
    edit_rate: float | None = None
    """Corrected of those."""
    rejection_rate: float | None = None
    """Refused of those."""


class Acceptance(Result):
    """What people made of suggestions."""

    versions: tuple[AcceptedShare, ...] = ()
    providers: tuple[AcceptedShare, ...] = ()


class Agreed(Result):
    """How far annotators agree on a question."""

    measure: str
    value: float | None = None
    same: float | None = None
    tasks: int = 0
    annotators: int = 0


class LabelCount(Result):
    """How often a label stands in the examples."""

    label: str
    examples: int
    regions: int
    share: float


class QuestionQuality(Result):
    """One question."""

    question: str
    labels: tuple[LabelCount, ...] = ()
    balance: float | None = None
    agreement: Agreed | None = None


class Warned(Result):
    """Something to look at."""

    code: str
    detail: str


class Quality(Result):
    """Whether what people submit is good to learn from."""

    project: str
    tasks: int
    examples: int
    held_out: int
    annotations: int
    annotators: int
    skipped: int
    questions: tuple[QuestionQuality, ...] = ()
    sources: dict[str, int] = {}
    accepted_share: float | None = None
    suggestions: dict[str, int] = {}
    blind: dict[str, Any] = {}
    warnings: tuple[Warned, ...] = ()
    counted_ms: int | None = None
    """When that was: of a large project it is not counted for everybody who asks."""
