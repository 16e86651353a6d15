"""Every event of Prelabel: its versioned type, its data, and where it goes.

An event's data is a model below; `TYPE` is its CloudEvents type, `topic` and `key` say where it is written.
Types and fields are append-only once released: a field may be added with a default, nothing is renamed,
narrowed or removed.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from pydantic import Field

from . import names
from .annotations import Annotation
from .base import Count, Json, Milliseconds, Model, Name, NotEmpty, Score, Slug, TaskId
from .blobs import BlobRef
from .errors import FieldError
from .names import Lane
from .projects import Project
from .regions import Regions

AnyLane = Annotated[Lane | str, Field(union_mode="left_to_right")]
"""A lane as read from a log: one that a later version added stays as written. Doors take `Lane` only."""


class EventData(Model):
    """The data of one type of event."""

    TYPE: ClassVar[str]
    """CloudEvents `type`: prelabel.<noun>.<verb>.v<major>."""

    @property
    def topic(self) -> str:
        """The topic it belongs to."""
        raise TypeError(f"{type(self).__name__} does not say its topic")

    @property
    def key(self) -> str:
        """The record key: what must stay in order has the same key."""
        raise TypeError(f"{type(self).__name__} does not say its key")

    @property
    def extension(self) -> tuple[str, bytes] | None:
        """A header beside the attributes: who shares a topic with others passes over what is theirs unread."""
        return None


D = TypeVar("D", bound=EventData)
D_co = TypeVar("D_co", bound=EventData, covariant=True)


class Event(NamedTuple, Generic[D_co]):
    """An event with its envelope (CloudEvents 1.0). A tuple, since three are made for every task: made in a third of
    the time that a frozen dataclass takes.

    `topic` and `key` are where it is, or will be, written; `offset` is its place in the topic's partition, -1
    before it is written. `(source, id)` names the event: a redelivery has the same.
    """

    data: D_co
    id: str
    source: str
    time_ms: int
    topic: str
    key: str
    offset: int = -1

    @property
    def type(self) -> str:
        """CloudEvents `type`."""
        return self.data.TYPE


def event(
    data: D,
    *,
    id: str,  # noqa: A002 - CloudEvents calls it so
    source: str,
    time_ms: int,
    topic: str | None = None,
    key: str | None = None,
) -> Event[D]:
    """Wrap data for publishing, by default to the topic and key it names itself."""
    return Event(
        data,
        id,
        source,
        time_ms,
        data.topic if topic is None else topic,
        data.key if key is None else key,
    )


class _ByTask(EventData):
    project: Slug
    task: str
    """The task's uid."""

    @property
    def key(self) -> str:
        return self.task


class _ByRun(EventData):
    project: Slug
    run: str

    @property
    def key(self) -> str:
        return self.run

    @property
    def topic(self) -> str:
        return names.RUNS


# ------------------------------------------------------------------------------------ submitted (doors write)


class Inbound(EventData):
    """What upstream systems write to inbound.<source>: a task for a project, or an annotation of one."""

    project: Slug


class InboundTask(Inbound):
    """A task from an upstream system."""

    TYPE = "prelabel.task.submitted.v1"
    id: TaskId | None = None
    data: Annotated[dict[Name, Json], NotEmpty()]
    meta: dict[str, Json] = Field(default_factory=dict)
    lane: Lane = Lane.BULK
    run: str | None = None


class InboundAnnotation(Inbound):
    """An annotation from an upstream system."""

    TYPE = "prelabel.annotation.submitted.v1"
    annotation: Annotation


class TaskSubmitted(_ByTask):
    """A door took a task in. Its offset in `submitted` is the task's revision."""

    TYPE = "prelabel.task.submitted.v1"
    id: TaskId | None = None
    data: Annotated[dict[Name, Json], NotEmpty()]
    blobs: dict[Name, BlobRef] = Field(default_factory=dict)
    """Fields that are too large for an event; in `data` they are null."""
    meta: dict[str, Json] = Field(default_factory=dict)
    lane: AnyLane = Lane.BULK
    run: str | None = None
    line: Annotated[int, Field(ge=1)] | None = None
    """The line of the upload."""
    correlation: str | None = None
    """Somebody waits for the outcomes under this name on `replies`."""
    deadline_ms: Milliseconds | None = None
    """Nobody waits any more after this moment."""
    door: str = "http"
    """How it came in: http, or inbound.<source>."""

    @property
    def topic(self) -> str:
        return names.SUBMITTED

    @property
    def extension(self) -> tuple[str, bytes] | None:
        return names.LANE_HEADERS.get(self.lane)


class RunOpened(_ByRun):
    """An upload began."""

    TYPE = "prelabel.run.opened.v1"

    @property
    def topic(self) -> str:
        return names.SUBMITTED


class RunSealed(_ByRun):
    """An upload ended: the run has this many lines, taken or refused."""

    TYPE = "prelabel.run.sealed.v1"
    total: Annotated[int, Field(ge=0)]

    @property
    def topic(self) -> str:
        return names.SUBMITTED


# ----------------------------------------------------------------------------------------- tasks (dispatcher)


class RequestRef(Model):
    """One request of a task: to be answered by exactly one outcome."""

    request: str
    model: Slug
    provider: Slug


class TaskAccepted(_ByTask):
    """The task is in, under this revision, with one request per model."""

    TYPE = "prelabel.task.accepted.v1"
    id: TaskId | None = None
    revision: Annotated[int, Field(ge=0)]
    data: dict[Name, Json]
    blobs: dict[Name, BlobRef] = Field(default_factory=dict)
    """Fields that are too large for an event; in `data` they are null."""
    meta: dict[str, Json] = Field(default_factory=dict)
    config: str
    """Content hash of the project as it was."""
    requests: tuple[RequestRef, ...] = ()
    lane: AnyLane = Lane.BULK
    run: str | None = None
    line: int | None = None
    accepted_ms: Milliseconds
    unchanged: bool = False
    """The same id with the same content came again: nothing new was requested."""
    correlation: str | None = None
    door: str = "http"

    @property
    def topic(self) -> str:
        return names.TASKS


class TaskRejected(_ByTask):
    """The task cannot be taken, and why."""

    TYPE = "prelabel.task.rejected.v1"
    id: str | None = None
    reason: str
    """A word for machines: invalid, unknown_project, forbidden_project, too_large, …"""
    errors: tuple[FieldError, ...] = ()
    run: str | None = None
    line: int | None = None
    correlation: str | None = None
    door: str = "http"

    @property
    def topic(self) -> str:
        return names.TASKS


class TaskDeleted(_ByTask):
    """The task and all that was said about it is to go."""

    TYPE = "prelabel.task.deleted.v1"

    @property
    def topic(self) -> str:
        return names.TASKS


# -------------------------------------------------------------------------------------- requests and outcomes


class _ByRequest(_ByTask):
    request: str
    id: TaskId | None = None
    revision: Annotated[int, Field(ge=0)]
    model: Slug
    provider: Slug
    lane: AnyLane = Lane.BULK
    run: str | None = None
    meta: dict[str, Json] = Field(default_factory=dict)
    correlation: str | None = None
    accepted_ms: Milliseconds = 0
    """When the task was accepted."""
    config: str
    """Content hash of the project as it was."""
    input_hash: str
    """Content hash of the fields that the model reads."""


class PredictionRequested(_ByRequest):
    """A model is asked to predict the regions of a task."""

    TYPE = "prelabel.prediction.requested.v1"
    data: dict[Name, Json]
    """The fields that the model's questions are asked about."""
    blobs: dict[Name, BlobRef] = Field(default_factory=dict)
    """Fields that are too large for an event; in `data` they are null."""
    generation: str = ""
    """Tells apart requests that ask the same again: a re-label's run, or <model>/<epoch> after a promotion."""
    deadline_ms: Milliseconds | None = None

    @property
    def topic(self) -> str:
        return names.requests(self.provider, self.lane)


class PredictionCreated(_ByRequest):
    """A model version's regions for a task, with their lineage."""

    TYPE = "prelabel.prediction.created.v1"
    version: str
    """The model version: what was loaded and by what content."""
    regions: Regions = ()
    regions_blob: BlobRef | None = None
    """Regions that are too large for an event: `regions` is empty, and they are kept in the blob store."""
    score: Score | None = None
    """The lowest score of the regions that have one."""
    uncertainty: Score | None = None
    """How much the model doubts, 0 to 1: what people should look at first. Null where it gave nothing to tell by."""
    generation: str = ""
    """Its request's."""
    label_set: str
    """Content hash of the label set."""
    threshold: Score | None = None
    dropped: dict[str, int] = Field(default_factory=dict)
    """Regions that the model gave and that cannot be kept, counted by reason."""

    @property
    def topic(self) -> str:
        return names.PREDICTIONS


class PredictionFailed(_ByRequest):
    """The request ended without a prediction."""

    TYPE = "prelabel.prediction.failed.v1"
    outcome: Literal["failed", "cancelled", "expired"] | str = "failed"
    reason: str
    """A word for machines: input, worker_crashed, timeout, unknown_model, settings, deadline, …"""
    detail: str = ""
    version: str | None = None

    @property
    def topic(self) -> str:
        return names.PREDICTIONS


class PredictionSuperseded(_ByTask):
    """A prediction that a newer one, or a newer revision of the task, replaces."""

    TYPE = "prelabel.prediction.superseded.v1"
    request: str
    model: Slug
    by: str
    """The request, or the revision, that replaces it."""

    @property
    def topic(self) -> str:
        return names.PREDICTIONS


class PredictionDeleted(_ByTask):
    """A prediction somebody deleted."""

    TYPE = "prelabel.prediction.deleted.v1"
    request: str

    @property
    def topic(self) -> str:
        return names.PREDICTIONS


# ------------------------------------------------------------------------------------------------ annotations


class _ByProject(EventData):
    project: Slug

    @property
    def key(self) -> str:
        return self.project


class _OfAnnotation(_ByProject):
    task: str
    """The task's uid."""
    annotation: str
    """The annotation's uid."""
    annotator: Name

    @property
    def topic(self) -> str:
        return names.ANNOTATIONS


class AnnotationSubmitted(_OfAnnotation):
    """A person's answer."""

    TYPE = "prelabel.annotation.submitted.v1"
    regions: Regions = ()
    lead_time: float | None = None
    skipped: bool = False
    ground_truth: bool = False
    parent_prediction: str | None = None


class AnnotationUpdated(AnnotationSubmitted):
    """A person's answer, changed: it replaces what it was."""

    TYPE = "prelabel.annotation.updated.v1"


class AnnotationDeleted(_OfAnnotation):
    """A person's answer, withdrawn."""

    TYPE = "prelabel.annotation.deleted.v1"


class _OfSuggestion(_ByProject):
    task: str
    request: str
    """The prediction that was shown."""
    annotator: Name
    annotation: str | None = None
    """What was handed in of it."""
    model: Slug | None = None
    """Whose prediction it was."""
    provider: Slug | None = None
    version: str | None = None
    """The model version that had predicted it."""

    @property
    def topic(self) -> str:
        return names.ANNOTATIONS


class SuggestionAccepted(_OfSuggestion):
    """A person took a prediction as it was."""

    TYPE = "prelabel.suggestion.accepted.v1"


class SuggestionCorrected(_OfSuggestion):
    """A person took a prediction with changes."""

    TYPE = "prelabel.suggestion.corrected.v1"


class SuggestionRejected(_OfSuggestion):
    """A person refused a prediction."""

    TYPE = "prelabel.suggestion.rejected.v1"


# ------------------------------------------------------------------------------------------------------- runs


class RunCreated(_ByRun):
    """A run exists."""

    TYPE = "prelabel.run.created.v1"


class RunProgressed(_ByRun):
    """How far a run is, read from the stored outcomes."""

    TYPE = "prelabel.run.progressed.v1"
    total: int | None = None
    """Lines; null until the run is sealed."""
    accepted: int = 0
    rejected: int = 0
    outcomes: dict[str, int] = Field(default_factory=dict)
    """Outcomes by state: pending, created, failed, cancelled, expired."""


class RunCompleted(_ByRun):
    """Every request of a sealed run has its outcome."""

    TYPE = "prelabel.run.completed.v1"
    total: int
    accepted: int = 0
    rejected: int = 0
    outcomes: dict[str, int] = Field(default_factory=dict)


class RunFailed(_ByRun):
    """The run will not complete: its upload was never sealed."""

    TYPE = "prelabel.run.failed.v1"
    reason: str


class RunCancelled(_ByRun):
    """Somebody stopped the run."""

    TYPE = "prelabel.run.cancelled.v1"


# ------------------------------------------------------------------------------------------ state (compacted)


class ConfigPublished(EventData):
    """A project as it was, under its content hash."""

    TYPE = "prelabel.config.published.v1"
    hash: str
    project: Project

    @property
    def key(self) -> str:
        return self.hash

    @property
    def topic(self) -> str:
        return names.CONFIGS


class ProjectChanged(EventData):
    """The project as it is now."""

    TYPE = "prelabel.project.changed.v1"
    project: Project
    config: str
    version: Annotated[int, Field(ge=1)]
    """Counts the changes."""
    deleted: bool = False

    @property
    def key(self) -> str:
        return self.project.id

    @property
    def topic(self) -> str:
        return names.PROJECTS


class _OfModel(EventData):
    project: Slug
    model: Slug


class ModelServing(_OfModel):
    """The serving pointer of (project, model): exactly one version serves."""

    TYPE = "prelabel.model.serving.v1"
    version: str
    """`settings` for the model as its settings say."""
    epoch: Annotated[int, Field(ge=0)]
    """Counts the changes."""
    provider: Slug | None = None
    """Whose artifact it is: a model that was given another provider since is not served by it."""
    artifact: str = ""
    """SHA-256 of the artifact; empty for the model as its settings say."""
    previous_version: str = "settings"
    """What served before: where the artifact cannot be loaded it goes on."""
    previous: str = ""
    """Its artifact."""

    @property
    def key(self) -> str:
        return names.model_key(self.project, self.model)

    @property
    def topic(self) -> str:
        return names.MODELS


SILENCES = 3
"""A provider that lets so many announcements pass that were due is gone."""


class _Announced(EventData):
    provider: Slug
    package: str
    """Version of its package."""
    kinds: tuple[str, ...]
    settings_schema: dict[str, Json]
    seen_ms: Milliseconds | None = None
    """When it said so, by its own clock."""
    every_ms: Count | None = None
    """It says so again after this time, as long as it runs. Null: an older version, which says so once."""

    @property
    def topic(self) -> str:
        return names.PROVIDERS

    def gone(self, now_ms: int) -> bool:
        """It has been silent for much longer than it promised. Clocks may differ by less than that."""
        if self.seen_ms is None or self.every_ms is None:
            return False
        return now_ms - self.seen_ms > SILENCES * self.every_ms


class ProviderAnnounced(_Announced):
    """A provider runs, and what it can do. It says so again and again."""

    TYPE = "prelabel.provider.announced.v1"
    trains: bool | None = None
    """Whether its package has a trainer. Null: an older version, which does not say."""

    @property
    def key(self) -> str:
        return self.provider


class TrainerAnnounced(_Announced):
    """A provider's trainer runs, and what it learns. It says so again and again.

    `settings_schema` is that of one training's settings.
    """

    TYPE = "prelabel.trainer.announced.v1"

    @property
    def key(self) -> str:
        return names.trainer_key(self.provider)


class KeyChanged(EventData):
    """A key to the API as it is now: its hash, never the key. A browser's session and a one-time link are keys too."""

    TYPE = "prelabel.key.changed.v1"
    id: str
    kind: Literal["key", "session", "link"] | str = "key"
    name: str = ""
    """What people call it."""
    hash: str
    """SHA-256 of the whole key, as hex."""
    role: Literal["admin", "reviewer", "labeler", "service"] | str
    projects: tuple[Slug, ...] = ()
    """The projects it reaches; empty: all."""
    created_ms: Milliseconds = 0
    created_by: str = ""
    """Id of the key that made it."""
    bootstrap: str = ""
    """Of a session or a link that the key in the settings made: the start of that key's hash. It ends with it."""
    expires_ms: Milliseconds | None = None
    revoked: bool = False

    @property
    def key(self) -> str:
        return f"key/{self.id}"

    @property
    def topic(self) -> str:
        return names.ACCESS


class KeyUsed(EventData):
    """A key was used: told now and then, not each time."""

    TYPE = "prelabel.key.used.v1"
    id: str
    at_ms: Milliseconds

    @property
    def key(self) -> str:
        return f"used/{self.id}"

    @property
    def topic(self) -> str:
        return names.ACCESS


class LinkUsed(EventData):
    """A one-time link was exchanged for a session. Of several, the first in the log holds."""

    TYPE = "prelabel.link.used.v1"
    id: str
    session: str
    """Id of the session it became."""

    @property
    def key(self) -> str:
        return f"link/{self.id}"

    @property
    def topic(self) -> str:
        return names.ACCESS


class Sealed(Model):
    """A secret at rest: encrypted, with the name of the key that opens it."""

    sealed: str
    """The ciphertext, base64."""
    sealed_with: str
    """Id of the encryption key."""
    expires_ms: Milliseconds | None = None
    """It is no longer used after this moment."""


class SubscriptionChanged(EventData):
    """A webhook endpoint as it is now. Its secrets and the values of its headers are encrypted."""

    TYPE = "prelabel.subscription.changed.v1"
    id: str
    url: str
    types: tuple[str, ...] = ()
    """Event types it wants, such as prediction.created; empty: all."""
    projects: tuple[Slug, ...] = ()
    """Projects whose events it gets; empty: all."""
    headers: dict[str, Sealed] = Field(default_factory=dict)
    secrets: tuple[Sealed, ...] = ()
    """Active signing secrets, newest first."""
    payload: Literal["full", "thin"] | str = "full"
    rate: float | None = None
    """At most so many deliveries a second; null: as fast as it answers."""
    signing: Literal["hmac", "ed25519"] | str = "hmac"
    """How deliveries are signed: with a secret that the receiver has too (v1), or so that it needs none (v1a)."""
    ordered: bool = False
    """The events of a task come in order: what follows one waits until that is delivered, or given up."""
    description: str = ""
    state: Literal["active", "disabled"] | str = "active"
    reason: str = ""
    """Why it is disabled."""
    created_ms: Milliseconds = 0
    created_by: str = ""
    version: Annotated[int, Field(ge=1)] = 1
    """Counts the changes."""
    deleted: bool = False

    @property
    def key(self) -> str:
        return f"subscription/{self.id}"

    @property
    def topic(self) -> str:
        return names.ACCESS


# ------------------------------------------------------------------------------------------------------ audit


class _OfAudit(EventData):
    @property
    def topic(self) -> str:
        return names.AUDIT


class AuditRecorded(_OfAudit):
    """Who changed what."""

    TYPE = "prelabel.audit.recorded.v1"
    actor: str
    """Id of the key; "bootstrap" for the one from the settings."""
    actor_name: str = ""
    role: str
    action: str
    """noun.verb, such as project.put."""
    subject: str
    """What was changed: the path of it."""
    project: Slug | None = None
    status: int
    """The HTTP status that was answered."""
    detail: dict[str, Json] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.project or self.actor


class SubscriptionDisabled(_OfAudit):
    """A webhook endpoint gets nothing more until somebody resumes it."""

    TYPE = "prelabel.subscription.disabled.v1"
    subscription: str
    url: str
    reason: str
    """gone (it answered 410), failing (for days), …"""
    since_ms: Milliseconds | None = None
    """When the failures began."""
    projects: tuple[Slug, ...] = ()

    @property
    def key(self) -> str:
        return self.subscription


class _OfDeadLetter(_OfAudit):
    letter: str
    group: str
    actor: str
    partition: Annotated[int, Field(ge=0)] = 0
    offset: Annotated[int, Field(ge=0)]
    """Where the letter stands in the group's dead letters."""

    @property
    def key(self) -> str:
        return self.letter


class DeadLetterReplayed(_OfDeadLetter):
    """A dead letter was given to its group once more."""

    TYPE = "prelabel.dead_letter.replayed.v1"
    replay: str
    """Id of the replay."""


class DeadLetterDiscarded(_OfDeadLetter):
    """Somebody decided that a dead letter is not needed."""

    TYPE = "prelabel.dead_letter.discarded.v1"
    reason: str


class DeadLetterResolved(EventData):
    """After a replay its group has handled a dead letter: said by the group, among its dead letters."""

    TYPE = "prelabel.dead_letter.resolved.v1"
    letter: str
    group: str

    @property
    def topic(self) -> str:
        return names.dead_letters(self.group)

    @property
    def key(self) -> str:
        return self.letter


# --------------------------------------------------------------------------------------------------- training


class _Learning(_OfModel):
    provider: Slug

    @property
    def key(self) -> str:
        return self.project

    @property
    def topic(self) -> str:
        return names.LEARNING


class _OfTraining(_Learning):
    training: str
    """<project>/<model>/<number>."""


class TrainingRequested(_OfTraining):
    """Train this model on the examples up to a cut."""

    TYPE = "prelabel.training.requested.v1"
    cut: int
    """Offset of the last annotation it includes."""
    config: str

    @property
    def topic(self) -> str:
        return names.training(self.provider)


class TrainingCancelled(_OfTraining):
    """Stop that training."""

    TYPE = "prelabel.training.cancelled.v1"

    @property
    def topic(self) -> str:
        return names.training(self.provider)


class TrainingProgressed(_OfTraining):
    """How far a training is."""

    TYPE = "prelabel.training.progressed.v1"
    step: Count
    steps: Count
    loss: float | None = None
    score: Score | None = None
    """On the trainer's own part of the examples, never the hold-out."""
    seconds_left: float | None = None


class TrainingFailed(_OfTraining):
    """A training ended without a version."""

    TYPE = "prelabel.training.failed.v1"
    reason: str
    """A word for machines: too_few, single_class, timeout, memory, crashed, cancelled, …"""
    detail: str = ""


class _OfVersion(_OfTraining):
    version: str


class ModelTrained(_OfVersion):
    """A version exists. Whether it may serve is decided next."""

    TYPE = "prelabel.model.trained.v1"
    artifact: str
    """SHA-256 of the artifact."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """What the trainer measured on its own part of the examples."""


class ModelRejected(_OfVersion):
    """The gate kept a version from serving."""

    TYPE = "prelabel.model.rejected.v1"
    reason: str
    """A word for machines."""
    detail: str = ""
    """A sentence for people, with the figures."""


class ModelPromoted(_OfVersion):
    """A version serves from now on."""

    TYPE = "prelabel.model.promoted.v1"
    epoch: int
    provisional: bool = False
    """The hold-out was too small to tell: cross-validation decided."""
    detail: str = ""


class ModelRolledBack(_OfVersion):
    """An older version serves again."""

    TYPE = "prelabel.model.rolled_back.v1"
    epoch: int
    reason: str = ""


class ModelLoaded(_Learning):
    """A process that predicts has taken up the serving version, or refused it and goes on with what it had."""

    TYPE = "prelabel.model.loaded.v1"
    version: str
    epoch: Annotated[int, Field(ge=0)]
    host: str
    """Which process."""
    state: Literal["serving", "refused"] | str
    detail: str = ""
    memory_mib: float | None = None
    """Of the model's process, afterwards."""
    seconds: float | None = None
    """From the news of the version until it served."""


# --------------------------------------------------------------------------------------------------- registry


def _leaves(cls: type[EventData]) -> Iterator[type[EventData]]:
    if "TYPE" in cls.__dict__:
        yield cls
    for sub in cls.__subclasses__():
        yield from _leaves(sub)


PUBLIC: Mapping[str, type[EventData]] = {cls.TYPE: cls for cls in _leaves(Inbound)}
"""What upstream systems may write to inbound topics, by type."""

EVENTS: Mapping[str, type[EventData]] = {cls.TYPE: cls for cls in _leaves(EventData) if not issubclass(cls, Inbound)}
"""Every event that travels between the services, by type."""

Outcome = PredictionCreated | PredictionFailed
"""How a request ends."""

AnyEvent = Event[Any]
