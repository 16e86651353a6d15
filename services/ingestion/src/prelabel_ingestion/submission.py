"""Turning what a caller sent into the one record that a door writes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prelabel_contract import names
from prelabel_contract.base import unchecked
from prelabel_contract.blobs import BlobRef
from prelabel_contract.errors import FieldError, InvalidEvent
from prelabel_contract.events import AnyEvent, Event, TaskRejected, TaskSubmitted, event
from prelabel_contract.limits import MAX_DATA_BYTES
from prelabel_contract.names import Lane
from prelabel_contract.tasks import Task, json_size
from prelabel_runtime.blobs import Blobs
from prelabel_runtime.store.base import Submission
from pydantic import ValidationError

from .asking import Content
from .shares import Shares

_submitted = unchecked(TaskSubmitted)
REUSED = InvalidEvent(
    "idempotency_key_reused",
    "this Idempotency-Key was sent with another content before: take a new key, or give tasks ids to change them",
)


def content_of(data: TaskSubmitted) -> str:
    """The hash of what a task says: the same means that nothing changed."""
    return Content.of(data).hash(data.meta)


def reuses_key(data: TaskSubmitted, known: Submission | None) -> bool:
    """Whether an unnamed task would overwrite another content: only a key that was used before can do that."""
    return data.id is None and known is not None and known.content != content_of(data)


@dataclass(frozen=True, slots=True)
class Door:
    """Where tasks of one caller come in."""

    project: str
    name: str
    blobs: Blobs
    now_ms: Callable[[], int]
    new_id: Callable[[], str]
    shares: Shares
    lane: Lane = Lane.BULK
    run: str | None = None
    idempotency_key: str | None = None

    @property
    def source(self) -> str:
        """CloudEvents `source` of what this door writes."""
        return f"/ingestion/{self.name}"

    def parse(self, value: Any, *, json: bool = False) -> Task:
        """A task from what was sent; unknown fields are refused. Raises `InvalidEvent`."""
        try:
            if json:
                return Task.model_validate_json(value, extra="forbid")
            return Task.model_validate(value, extra="forbid")
        except ValidationError as error:
            raise InvalidEvent.from_validation(error, what="task") from None

    def uid(self, task: Task, line: int) -> str:
        """Which task it is: by the caller's id, else by idempotency key and line, else a new one."""
        if task.id is not None:
            return names.task_uid(self.project, task.id)
        if self.idempotency_key is not None:
            return names.task_uid_of_line(self.project, self.idempotency_key, line)
        return self.new_id()

    async def submit(
        self, task: Task, line: int = 1, *, correlation: str | None = None, deadline_ms: int | None = None
    ) -> AnyEvent:
        """The record for the dispatcher, after what is too large for it was stored.

        Raises `InvalidEvent` for what cannot be stored, `Unavailable` where the blob store does not answer.
        """
        uid = self.uid(task, line)
        fitting, blobs = await self.blobs.shed(self.project, uid, task.data)
        return self._record(task, uid, line, dict(fitting), blobs, correlation, deadline_ms)

    def submit_small(self, task: Task, line: int) -> AnyEvent | None:
        """As `submit`, but at once; None for a task of which something must be stored first."""
        if json_size(task.data) > MAX_DATA_BYTES:
            return None
        return self._record(task, self.uid(task, line), line, task.data, {})

    def _record(
        self,
        task: Task,
        uid: str,
        line: int,
        data: dict[str, Any],
        blobs: dict[str, BlobRef],
        correlation: str | None = None,
        deadline_ms: int | None = None,
    ) -> AnyEvent:
        made = _submitted(
            project=self.project,
            task=uid,
            id=task.id,
            data=data,
            blobs=blobs,
            meta=task.meta,
            lane=self.shares.lane(self.project, self.lane),
            run=self.run,
            line=line if self.run else None,
            correlation=correlation,
            deadline_ms=deadline_ms,
            door=self.name,
        )
        return Event(made, self.new_id(), self.source, self.now_ms(), names.SUBMITTED, uid)

    def refuse(self, error: InvalidEvent, line: int) -> AnyEvent:
        """A line of an upload that cannot be taken: it is told, and counted, like any other."""
        uid = names.derived("rejected", self.run, line)
        data = TaskRejected(
            project=self.project,
            task=uid,
            reason=error.reason,
            errors=error.errors or (FieldError(pointer="", detail=error.detail),),
            run=self.run,
            line=line,
            door=self.name,
        )
        return event(data, id=uid, source=self.source, time_ms=self.now_ms())
