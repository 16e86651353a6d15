"""What the routes of models and their versions answer."""

from prelabel_runtime.http.described import Shown, page

from .registry.registry import Change, Pointer
from .registry.versions import SETTINGS, Figures, Judgement, VersionRecord


class ShownServing(Shown):
    """What a model's tasks are answered by."""

    project: str
    model: str
    provider: str | None
    """Null: the project has no such model any more."""
    version: str
    """`settings`: the model as its settings say."""
    artifact: str
    """SHA-256 of its files; empty: the model as its settings say."""
    epoch: int
    """Counts the changes; 0: there was none."""
    previous_version: str | None
    """What served before."""
    provisional: bool
    """Something less than a hold-out decided."""
    by: str | None
    """`gate`, or the id of the key that asked for it."""
    at_ms: int | None
    announced: bool
    """Those who predict have been told."""


class ShownChange(Shown):
    """What began to serve, when and why."""

    epoch: int
    version: str
    how: str
    """promoted or rolled_back."""
    by: str
    at_ms: int
    provisional: bool
    detail: str


class ShownModel(Shown):
    """A model of a project, and what serves it."""

    name: str
    provider: str
    serving: ShownServing


class Models(Shown):
    """Models of a project."""

    models: list[ShownModel]
    next: None


class ShownVersion(Shown):
    """A version of a model: how it came about and what was decided about it."""

    version: str
    number: int
    """Of its training."""
    model: str
    provider: str
    training: str
    artifact: str
    parent: str | None
    """The artifact that was trained further."""
    fingerprint: str
    """Of the examples."""
    cut: int
    """Offset of the last annotation that it learned from."""
    config: str
    examples: int
    seed: int
    start: str
    package: str
    """Version of the provider's package."""
    libraries: dict[str, str]
    metrics: dict[str, float]
    """What the trainer measured, on its own part of the examples."""
    verdict: Judgement
    provisional: bool
    state: str
    """serving, served (another does now), kept (it may serve, and never did), rejected, refused (it could not be
    loaded)."""
    since_ms: int | None
    """When it last began to serve."""
    refused: str | None
    """Why it could not be loaded where it was to serve."""
    trained_ms: int | None
    judged_ms: int


class ShownLoad(Shown):
    """What a process that predicts said last about a version that it was to load."""

    host: str
    """Which process."""
    state: str
    """serving, or refused."""
    epoch: int
    """Of the change that it was told of."""
    at_ms: int
    detail: str
    memory_mib: float | None
    """Of the model's process, afterwards."""
    seconds: float | None
    """From the news of the version until it served."""


class WholeVersion(ShownVersion):
    """A version with its report, and who has loaded it."""

    settings: dict[str, object]
    """The trainer's."""
    report: Figures | None
    """On the hold-out of the day it was judged; null: there was nothing to score it on."""
    loads: list[ShownLoad]
    """The newest word of each process, the newest first; of 50 at most. Empty: none was to load it, or none has yet."""


Versions = page("versions", ShownVersion)


def shown_serving(project: str, model: str, provider: str | None, pointer: Pointer | None) -> dict[str, object]:
    """What serves."""
    if pointer is None:
        return {
            "project": project,
            "model": model,
            "provider": provider,
            "version": SETTINGS,
            "artifact": "",
            "epoch": 0,
            "previous_version": None,
            "provisional": False,
            "by": None,
            "at_ms": None,
            "announced": True,
        }
    return {
        "project": project,
        "model": model,
        "provider": provider,
        "version": pointer.version,
        "artifact": pointer.artifact,
        "epoch": pointer.epoch,
        "previous_version": pointer.previous_version,
        "provisional": pointer.changes[-1].provisional,
        "by": pointer.by,
        "at_ms": pointer.at_ms,
        "announced": pointer.announced,
    }


def shown_change(change: Change) -> dict[str, object]:
    """One change."""
    return change.model_dump(mode="json", include=set(ShownChange.model_fields))


def shown_version(record: VersionRecord, pointer: Pointer | None, refused: str | None) -> dict[str, object]:
    """A version, without its report."""
    change = None if pointer is None else pointer.of(record.version)
    return {
        **record.model_dump(mode="json", exclude={"project", "report", "settings"}),
        "state": state_of(record, pointer, refused),
        "since_ms": None if change is None else change.at_ms,
        "refused": refused,
    }


def state_of(record: VersionRecord, pointer: Pointer | None, refused: str | None) -> str:
    """What became of a version."""
    if pointer is not None and pointer.version == record.version:
        return "serving" if refused is None else "refused"
    if refused is not None:
        return "refused"
    if pointer is not None and pointer.of(record.version) is not None:
        return "served"
    return "kept" if record.verdict.passes else "rejected"
