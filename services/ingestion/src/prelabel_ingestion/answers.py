"""What ingestion's routes answer, for OpenAPI."""

from typing import Literal

from prelabel_contract.base import Json
from prelabel_contract.projects import Project
from prelabel_runtime.http.described import Shown, page
from prelabel_runtime.http.shapes import Outcome, WrongLine


class ShownProject(Project):
    """A project as it is now. It may be sent back as it is."""

    config: str
    """Content hash of this configuration."""
    version: int
    """Counts changes; the `ETag`."""


class TakenTask(Shown):
    """A task that was taken: the bus has acknowledged it."""

    task: str
    """Its uid."""
    id: str | None
    """The caller's own id."""


class RunLinks(Shown):
    """Where to follow a run."""

    run: str
    errors: str
    events: str


class TakenUpload(Shown):
    """An upload that was taken, all but the lines that are told: the bus has acknowledged it."""

    run: str
    accepted: int
    rejected: int
    errors: list[WrongLine]
    """The first of those that were rejected."""
    links: RunLinks
    tasks: list[str] = []
    """Of an array: the tasks' uids, in order."""


class DeletedTask(Shown):
    """A task that is being deleted, with everything that was said about it."""

    task: str


class TakenAnnotation(Shown):
    """An annotation that was taken, or is being withdrawn."""

    annotation: str
    """Its uid."""


class TakenAnnotations(Shown):
    """Annotations that were taken, in order."""

    annotations: list[str]


class Predicted(Shown):
    """What every model says about a task."""

    task: str
    id: str | None
    predictions: list[Outcome]


class NotYetPredicted(Shown):
    """A task that takes longer than was waited for."""

    task: str
    predictions: None


class TakenEvents(Shown):
    """CloudEvents that were taken."""

    accepted: int


class ShownProvider(Shown):
    """A provider that has announced itself."""

    provider: str
    state: Literal["running", "gone"]
    """gone: it has not been heard of for longer than it promised."""
    seen_ms: int | None
    """When it was heard of last, by its own clock; null: by a version that says so once, at its start."""
    package: str
    """Version of its package."""
    kinds: list[str]
    """The kinds of regions that it gives."""
    settings_schema: dict[str, Json]
    """JSON Schema of a model's settings."""
    trains: bool | None
    """Whether its models can learn; null: it does not say."""


class ShownKey(Shown):
    """A key, without what opens anything."""

    id: str
    kind: Literal["key", "session"]
    prefix: str
    """How it begins."""
    name: str
    role: str
    projects: list[str]
    """The projects that it reaches; none: all."""
    created_ms: int
    created_by: str
    expires_ms: int | None
    last_used_ms: int | None
    revoked: bool


class NewKey(ShownKey):
    """A key that was made. `key` is what is sent; it is not shown again."""

    key: str


class Me(Shown):
    """Who calls."""

    id: str
    kind: str
    name: str
    role: str
    projects: list[str] | None
    """The projects that are reached; null: all."""
    expires_ms: int | None
    now_ms: int
    """What time it is here."""


class NewLink(Shown):
    """A link that opens a session, once."""

    url: str
    """Behind this address."""
    expires_ms: int


Projects = page("projects", ShownProject)
Providers = page("providers", ShownProvider)
Keys = page("keys", ShownKey)
