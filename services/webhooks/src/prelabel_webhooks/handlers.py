"""From events in the log to what goes out: which are told, under which names, in which form."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from prelabel_contract import cloudevents, names
from prelabel_contract.errors import FORBIDDEN_PROJECT
from prelabel_contract.events import (
    AnnotationDeleted,
    AnnotationSubmitted,
    AnnotationUpdated,
    EventData,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
    ModelTrained,
    PredictionCreated,
    PredictionDeleted,
    PredictionFailed,
    PredictionSuperseded,
    RunCancelled,
    RunCompleted,
    RunCreated,
    RunFailed,
    RunProgressed,
    SubscriptionChanged,
    SubscriptionDisabled,
    SuggestionAccepted,
    SuggestionCorrected,
    SuggestionRejected,
    TaskAccepted,
    TaskDeleted,
    TaskRejected,
    TrainingFailed,
)
from prelabel_runtime.bus.base import Partition, Record

TOLD: tuple[type[EventData], ...] = (
    *(TaskAccepted, TaskRejected, TaskDeleted),
    *(PredictionCreated, PredictionFailed, PredictionSuperseded, PredictionDeleted),
    *(AnnotationSubmitted, AnnotationUpdated, AnnotationDeleted),
    *(SuggestionAccepted, SuggestionCorrected, SuggestionRejected),
    *(RunCreated, RunProgressed, RunCompleted, RunFailed, RunCancelled),
    *(ModelTrained, ModelPromoted, ModelRejected, ModelRolledBack, TrainingFailed),
    SubscriptionDisabled,
)
"""What subscribers are told. A type is named as in the log, without `prelabel.` and its version."""

TOPICS = (names.TASKS, names.PREDICTIONS, names.ANNOTATIONS, names.RUNS, names.LEARNING, names.AUDIT)
"""Where that is written."""

TEST = "webhook.test"
"""The type of a test event, which no log has."""


def public_type(kind: str) -> str:
    """prediction.created, for prelabel.prediction.created.v1."""
    return kind.removeprefix("prelabel.").rpartition(".v")[0]


_BY_TYPE: Mapping[str, type[EventData]] = {cls.TYPE: cls for cls in TOLD}
TYPES: tuple[str, ...] = tuple(sorted(public_type(cls.TYPE) for cls in TOLD))
"""Their public names."""

_THIN = frozenset(
    (
        *("project", "task", "id", "request", "run", "line", "revision", "model", "version", "by"),
        *("annotation", "annotator", "reason", "outcome", "subscription", "state"),
        *("training", "epoch", "provisional"),
    )
)
"""What a thin payload keeps: what an event is about, and how it ended."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event as it goes out, and its place in the log."""

    place: Partition
    offset: int
    id: str
    source: str
    type: str
    time_ms: int
    projects: tuple[str, ...]
    """The projects it is about."""
    task: str | None
    data: bytes
    """The event's data, a JSON object."""

    @property
    def size(self) -> int:
        """About what it takes in memory, in bytes."""
        return len(self.data) + 700

    def body(self, payload: str) -> bytes:
        """What is sent: full, or thin."""
        data = self.data if payload != "thin" else _thin(self.data)
        return told(self.type, self.time_ms, self.id, self.offset, data)

    def delivery_id(self, subscription: str) -> str:
        """Its webhook-id to a subscription."""
        return names.delivery_id(self.source, self.id, subscription)


def told(kind: str, time_ms: int, event: str, sequence: int, data: bytes) -> bytes:
    """A body: {type, timestamp, data}, with the event's id and sequence first in its data."""
    more = data[1:] if data == b"{}" else b"," + data[1:]
    return b'{"type":%b,"timestamp":"%b","data":{"event":%b,"sequence":%d%b}' % (
        orjson.dumps(kind),
        _timestamp(time_ms),
        orjson.dumps(event),
        sequence,
        more,
    )


def outgoing(record: Record) -> Outgoing | None:
    """The event of a record; None for one that subscribers are not told of. Raises `InvalidEvent`.

    The sequence of an event is its place in the log: of two events about a task whose types begin with the same word,
    the greater is the later.
    """
    event = cloudevents.decode(
        record.headers, record.value, topic=record.topic, key=record.key, offset=record.offset, types=_BY_TYPE
    )
    if event is None:
        return None
    data = event.data
    return Outgoing(
        place=record.place,
        offset=record.offset,
        id=event.id,
        source=event.source,
        type=public_type(data.TYPE),
        time_ms=event.time_ms,
        projects=_projects(data),
        task=getattr(data, "task", None),
        data=cloudevents.encode(event)[1],
    )


def _projects(data: EventData) -> tuple[str, ...]:
    """Whose business it is. What a source may not write to a project says nothing to those who listen to that one."""
    if isinstance(data, SubscriptionDisabled):
        return data.projects
    if isinstance(data, TaskRejected) and data.reason == FORBIDDEN_PROJECT:
        return ()
    project = getattr(data, "project", None)
    return (project,) if project else ()


def wants(subscription: SubscriptionChanged, event: Outgoing) -> bool:
    """Whether a subscription is to be told of an event."""
    if subscription.projects and not (event.projects and set(event.projects) <= set(subscription.projects)):
        return False  # what is about more than it asks for is not for it either
    noun = event.type.partition(".")[0]
    return not subscription.types or event.type in subscription.types or f"{noun}.*" in subscription.types


def _thin(data: bytes) -> bytes:
    fields: dict[str, Any] = orjson.loads(data)
    return orjson.dumps({name: value for name, value in fields.items() if name in _THIN})


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC, without the offset that isoformat would write


def _timestamp(ms: int) -> bytes:
    moment = _EPOCH + timedelta(milliseconds=ms)
    return f"{moment.isoformat(timespec='milliseconds')}Z".encode()
