"""What the projection's routes answer, for OpenAPI."""

from typing import Annotated, Literal

from prelabel_contract.base import Json
from prelabel_contract.blobs import BlobRef
from prelabel_contract.regions import Regions
from prelabel_runtime.http.described import Shown, page
from prelabel_runtime.http.shapes import Data, Outcome, WrongLine
from pydantic import Field

from .cards import Card
from .learning import ModelLearning
from .overview import ProjectSeen, ProviderSeen


class ShownTask(Shown):
    """A task."""

    task: str
    """Its uid."""
    id: str | None
    """The caller's own id."""
    data: Data
    """Its fields. One that is too large to be shown here is null, and told in `blobs`."""
    meta: Data
    revision: int
    accepted_ms: int
    config: str
    """Content hash of the project as it was."""
    blobs: dict[str, BlobRef] = {}
    predictions: list[Outcome] = []
    """If they were asked for."""


class ShownAnnotation(Shown):
    """What a person said about a task."""

    annotation: str
    """Its uid."""
    annotator: str
    at_ms: int
    regions: Regions
    id: str | None = None
    lead_time: float | None = None
    """Seconds the person took."""
    skipped: bool = False
    ground_truth: bool = False
    parent_prediction: str | None = None


class WholeTask(ShownTask):
    """A task with all that was said about it."""

    predictions: list[Outcome]
    annotations: list[ShownAnnotation]


class TaskPredictions(Shown):
    """What every model said about a task, or that it has not said it yet."""

    task: str
    predictions: list[Outcome]


class Counts(Shown):
    """Tasks of a project, and its requests by model and state."""

    tasks: int
    models: dict[str, dict[str, int]]


class ShownRun(Shown):
    """How far a run is."""

    run: str
    project: str
    state: Literal["open", "sealed", "completed", "failed", "cancelled"]
    total: int | None
    """Lines; known once the upload is complete."""
    accepted: int
    rejected: int
    outcomes: dict[str, int]
    """Requests by state."""
    opened_ms: int
    ended_ms: int | None
    reason: str | None


class WrongLines(Shown):
    """Lines that were not taken, and the number to go on after; null at the end."""

    errors: list[WrongLine]
    next: int | None


Tasks = page("tasks", ShownTask)
Runs = page("runs", ShownRun)


class ShownAudit(Shown):
    """Somebody changed something."""

    id: str
    at_ms: int
    actor: str
    """The key's id."""
    action: str
    """noun.verb"""
    project: str | None
    subject: str | None
    """What was changed."""


Audit = page("audit", ShownAudit)


# ------------------------------------------------------------------------------------------------------- dead letters


class Position(Shown):
    """Where a record lies among its group's dead letters."""

    partition: int
    offset: int


class Place(Shown):
    """Where the record was that could not be handled."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    size: int
    """Bytes of its value."""


class ShownLetter(Shown):
    """A record that a group could not handle."""

    id: str
    group: str
    reason: str
    detail: str
    at_ms: int
    attempts: int | None
    position: Position
    original: Place
    project: str | None
    task: str | None
    type: str | None
    state: Literal["open", "replayed", "discarded"]
    decided_by: str | None
    decided_ms: int | None
    discard_reason: str | None
    replay: str | None
    result: Literal["succeeded", "dead_lettered_again"] | None
    """Of a replay."""
    resolved_ms: int | None
    again: str | None
    """The dead letter that its replay became."""
    replay_of: str | None
    """The dead letter whose replay this was."""


class Bytes(Shown):
    """Bytes, and their text where they are one."""

    base64: str | None
    text: str | None


class RecordHeader(Bytes):
    """A header of a record."""

    name: str


class ShownRecord(Shown):
    """A record as its sender wrote it."""

    whole: bool
    """False: only its beginning is still there."""
    key: Bytes
    headers: list[RecordHeader]
    value: str | None
    """In base64."""
    text: str | None
    json_: Annotated[Json, Field(alias="json")] = None
    """What its text says."""


class WholeLetter(ShownLetter):
    """A dead letter with its record."""

    record: ShownRecord


class ShownReplay(Shown):
    """How far a replay is."""

    replay: str
    state: Literal["running", "completed", "failed"]
    done: int
    total: int | None
    error: dict[str, Json] | None
    created_ms: int
    by: str
    rate: float
    """Letters per second."""
    replayed: int
    skipped: int
    failed: int
    failures: list[dict[str, str]]
    """The first of them."""
    succeeded: int
    dead_lettered_again: int
    waiting: int
    """Given back, and not handled yet."""


LetterPage = page("deadletters", ShownLetter)


class ShownRebuild(Shown):
    """How far a rebuild is, and how what it made differs from the live projection."""

    rebuild: str
    state: Literal["running", "completed", "failed"]
    step: str
    mode: Literal["switch", "compare"]
    by: str
    created_ms: int
    done: int
    """Records read."""
    total: int | None
    rate: float | None
    """Records per second."""
    generation: int
    """Of the projection that is made."""
    error: dict[str, Json] | None
    invalid: int
    """Records that could not be handled, as in the live one."""
    equal: bool | None
    differences: dict[str, Json]
    """By kind of what is stored."""


# ----------------------------------------------------------------------------------------------------------- overview


class ShownOverview(Shown):
    """Everything at a glance, of the caller's projects."""

    at_ms: int
    projects: list[ProjectSeen]
    more_projects: int
    """Projects that are not listed."""
    providers: list[ProviderSeen]
    missing: list[str]
    """Providers that a listed project uses and that do not run."""
    waiting_since_ms: int | None
    """When the oldest task that waits for an outcome was accepted."""
    dead_letters: int
    slot_seconds: int
    tasks_by_slot: list[int]
    """The oldest slot first."""
    outcomes_by_slot: list[int]
    latest: list[Card]
    """The tasks that were predicted last."""
    learning: list[ModelLearning]
    """Models that have learned something, or are about to."""
    totals: dict[str, int]
    """Tasks, and requests by state, of the listed projects."""
    outcomes_per_second: float
