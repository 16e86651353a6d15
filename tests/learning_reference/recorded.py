"""What the log says of a project's learning: what was said, which trainings were asked for. No store is looked at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self, cast

import orjson
from prelabel_contract import cloudevents
from prelabel_contract.events import (
    AnnotationDeleted,
    AnnotationSubmitted,
    ConfigPublished,
    Event,
    EventData,
    TaskAccepted,
    TaskDeleted,
    TrainingRequested,
)
from prelabel_contract.projects import Project
from prelabel_runtime.store.annotations import stored_annotation
from prelabel_runtime.store.base import StoredAnnotation, StoredTask

from tests.failure.log import LogRecord


@dataclass(slots=True)
class Recorded:
    """A project, from the first record to the last; told again is told once."""

    annotations: dict[tuple[str, int], StoredAnnotation] = field(default_factory=dict)
    """By their ids and offsets; withdrawals too."""
    tasks: dict[str, StoredTask] = field(default_factory=dict)
    """By uid, at their newest revisions."""
    deleted: set[str] = field(default_factory=set)
    configs: dict[str, Project] = field(default_factory=dict)
    """By hash."""
    requested: dict[str, TrainingRequested] = field(default_factory=dict)
    """By training, in the order in which they were asked for."""

    @classmethod
    def of(cls, log: Sequence[LogRecord], project: str) -> Self:
        """Read a log."""
        found = cls()
        for one in _events(log):
            if getattr(one.data, "project", None) == project or isinstance(one.data, ConfigPublished):
                found._take(one)
        return found

    def _take(self, one: Event[EventData]) -> None:
        data = one.data
        match data:
            case AnnotationSubmitted() | AnnotationDeleted():
                said = cast(Event[AnnotationSubmitted | AnnotationDeleted], one)
                self.annotations[data.annotation, one.offset] = stored_annotation(said)
            case TaskAccepted():
                known = self.tasks.get(data.task)
                if known is None or data.revision >= known.revision:
                    self.tasks[data.task] = _stored(data)
            case TaskDeleted():
                self.deleted.add(data.task)
            case ConfigPublished():
                self.configs[data.hash] = data.project
            case TrainingRequested():
                self.requested.setdefault(data.training, data)
            case _:
                pass

    def said(self, cut: int) -> dict[str, list[StoredAnnotation]]:
        """By task, what had been said up to a place in the log, in the order of the tasks."""
        found: dict[str, list[StoredAnnotation]] = {}
        for one in self.annotations.values():
            if one.offset <= cut and one.task not in self.deleted:
                found.setdefault(one.task, []).append(one)
        return dict(sorted(found.items()))


def _events(log: Sequence[LogRecord]) -> Iterator[Event[EventData]]:
    for record in log:
        if record.value is None or not record.type:
            continue
        read = cloudevents.decode(
            record.headers, record.value, topic=record.topic, key=record.key, offset=record.offset
        )
        if read is not None:
            yield read


def _stored(data: TaskAccepted) -> StoredTask:
    """As much as learning looks at."""
    body = orjson.dumps({"data": data.data, "blobs": {name: ref.model_dump() for name, ref in data.blobs.items()}})
    return StoredTask(data.task, data.project, data.id, data.revision, data.accepted_ms, data.config, body.decode())
