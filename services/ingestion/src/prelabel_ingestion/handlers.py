"""The dispatcher: what was submitted becomes tasks and requests, or a rejection. And the inbound doors.

Only the dispatcher makes tasks and requests, from one log, so there is no dual write: whatever dies, the record in
`submitted` is read again and leads to the same events under the same ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prelabel_contract import names
from prelabel_contract.base import unchecked
from prelabel_contract.errors import FORBIDDEN_PROJECT, FieldError, InvalidEvent
from prelabel_contract.events import (
    AnnotationSubmitted,
    AnyEvent,
    ConfigPublished,
    Event,
    EventData,
    InboundAnnotation,
    InboundTask,
    ProjectChanged,
    RequestRef,
    RunCreated,
    RunOpened,
    RunSealed,
    TaskAccepted,
    TaskDeleted,
    TaskRejected,
    TaskSubmitted,
    event,
)
from prelabel_contract.names import Lane
from prelabel_contract.tasks import Task
from prelabel_runtime.blobs import Blobs
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import TryAgain
from prelabel_runtime.service import Reply
from prelabel_runtime.store.base import DELETED, Submission, Submissions
from prelabel_runtime.tables import Table
from pydantic import ValidationError

from .annotations import submitted_annotation
from .asking import Ask, Asks, Content, request
from .settings import Source
from .shares import Shares
from .submission import REUSED, reuses_key

SOURCE = "/ingestion/dispatcher"
_accepted_task = unchecked(TaskAccepted)


class _Read(NamedTuple):
    """A submitted task, beside what is remembered of it from here on."""

    named: bool
    """By its caller."""
    project: ProjectChanged
    content: Content
    this: Submission


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Everything the dispatcher looks at."""

    projects: Table[ProjectChanged]
    configs: Table[ConfigPublished]
    submissions: Submissions
    blobs: Blobs
    clock: Clock
    shares: Shares
    asks: Asks = field(default_factory=Asks)

    async def tasks(self, batch: Sequence[Event[TaskSubmitted]]) -> Sequence[Reply]:
        """Accept or reject submitted tasks, and request one prediction per model of their project."""
        read = [await self._read(submitted) for submitted in batch]
        known = await self._known([one for one in read if one is not None])
        now = self.clock.now_ms()
        replies: list[Reply] = []
        news: dict[str, Submission] = {}
        for submitted, one in zip(batch, read, strict=True):
            if one is None:
                detail = f"there is no project {submitted.data.project!r}"
                replies.append(_rejected(submitted, "unknown_project", detail))
                continue
            project, content, this = one.project, one.content, one.this
            before = known.get(this.uid)
            if before is not None and before.content == DELETED and before.revision < this.revision:
                detail = "the task of that id was deleted, for good: give it another id"
                replies.append(_rejected(submitted, "deleted", detail, at="/id"))
                continue
            # The newer one of two lanes may have been here first: then this one changes nothing either.
            if before is not None and before.content == this.content and before.revision != this.revision:
                config = await self.configs.find(before.config)
                as_it_was = self._asks(project) if config is None else self.asks.of(config.hash, config.project)
                replies.append(_accepted(submitted, content, as_it_was, before, now, unchanged=True))
                continue
            if before is not None and before.revision < this.revision and reuses_key(submitted.data, before):
                replies.append(_rejected(submitted, REUSED.reason, REUSED.detail, at=""))
                continue
            if before is None:
                known[this.uid] = this
            elif before.revision <= this.revision:  # an older one changes nothing of what is remembered
                known[this.uid] = news[this.uid] = this
            replies.append(_accepted(submitted, content, self._asks(project), this, now, unchanged=False))
        if news:
            await self.submissions.put(list(news.values()))
        return replies

    async def _read(self, submitted: Event[TaskSubmitted]) -> _Read | None:
        """A submitted task beside its project; None where there is no such project."""
        data = submitted.data
        project = self.projects.get(data.project) or await self.projects.find(data.project)
        if project is None or project.deleted:
            return None
        content = Content.of(data)
        this = Submission(data.task, submitted.offset, content.hash(data.meta), project.config)
        return _Read(data.id is not None, project, content, this)

    async def _known(self, read: Sequence[_Read]) -> dict[str, Submission]:
        """What was known of the tasks before. Those that nothing was known of are remembered from here on."""
        first: dict[str, _Read] = {}
        for one in read:
            first.setdefault(one.this.uid, one)
        # Only a task that its caller named is likely to have been here before.
        named = [uid for uid, one in first.items() if one.named]
        known = dict(await self.submissions.get_many(named)) if named else {}
        known.update(await self.submissions.put_new([one.this for uid, one in first.items() if uid not in known]))
        return known

    def _asks(self, project: ProjectChanged) -> tuple[Ask, ...]:
        return self.asks.of(project.config, project.project)

    async def run_opened(self, opened: Event[RunOpened]) -> Sequence[AnyEvent]:
        """An upload began: there is a run."""
        run = RunCreated(project=opened.data.project, run=opened.data.run)
        return [_event(run, names.derived("run.created", run.run), opened.time_ms)]

    async def run_sealed(self, sealed: Event[RunSealed]) -> Sequence[AnyEvent]:
        """An upload ended: who follows the run needs its total."""
        event_id = names.derived("run.sealed", sealed.data.run, sealed.data.total)
        return [event(sealed.data, id=event_id, source=SOURCE, time_ms=sealed.time_ms, topic=names.RUNS)]

    async def task_deleted(self, deleted: Event[TaskDeleted]) -> Sequence[AnyEvent]:
        """A task is to go: it goes the way it came, behind everything submitted before, and its id stays used."""
        uid = deleted.data.task
        known = (await self.submissions.get_many([uid])).get(uid)
        config = known.config if known is not None else ""
        await self.submissions.put([Submission(uid, revision=deleted.offset, content=DELETED, config=config)])
        await self.blobs.delete_of_task(deleted.data.project, uid)
        return [_event(deleted.data, names.derived("task.deleted", deleted.id), deleted.time_ms)]

    async def deletion_noted(self, deleted: Event[TaskDeleted]) -> Sequence[AnyEvent]:
        """A task is to go, as seen by a group that does not see it off: nothing behind this may bring it back."""
        uid = deleted.data.task
        known = (await self.submissions.get_many([uid])).get(uid)
        config = known.config if known is not None else ""
        await self.submissions.put([Submission(uid, revision=deleted.offset, content=DELETED, config=config)])
        return []


def _accepted(
    submitted: Event[TaskSubmitted],
    content: Content,
    asks: Sequence[Ask],
    known: Submission,
    now: int,
    *,
    unchanged: bool,
) -> list[AnyEvent]:
    data = submitted.data
    asked = [request(data, content, ask, known, now) for ask in asks]
    accepted = _accepted_task(
        project=data.project,
        task=data.task,
        id=data.id,
        revision=known.revision,
        data=data.data,
        blobs=data.blobs,
        meta=data.meta,
        config=known.config,
        requests=tuple(RequestRef(request=r.request, model=r.model, provider=r.provider) for r in asked),
        lane=data.lane,
        run=data.run,
        line=data.line,
        accepted_ms=now,
        unchanged=unchanged,
        correlation=data.correlation,
        door=data.door,
    )
    told = _told(accepted, submitted, now)
    # Somebody who waits for an unchanged task needs its outcome too; the store keeps the first one all the same.
    if not unchanged or data.correlation:
        told += [Event(r, r.request, SOURCE, now, names.requests(r.provider, r.lane), r.task) for r in asked]
    return told


def _rejected(submitted: Event[TaskSubmitted], reason: str, detail: str, *, at: str = "/project") -> list[AnyEvent]:
    data = submitted.data
    rejected = TaskRejected(
        project=data.project,
        task=data.task,
        id=data.id,
        reason=reason,
        errors=(FieldError(pointer=at, detail=detail),),
        run=data.run,
        line=data.line,
        correlation=data.correlation,
        door=data.door,
    )
    return _told(rejected, submitted, submitted.time_ms)


def _told(data: TaskAccepted | TaskRejected, submitted: Event[TaskSubmitted], now_ms: int) -> list[AnyEvent]:
    """The event on its topic, and a copy to whoever waits for it."""
    event_id = names.derived(data.TYPE, data.task, submitted.offset)
    told = [_event(data, event_id, now_ms)]
    if data.correlation:
        told.append(event(data, id=event_id, source=SOURCE, time_ms=now_ms, topic=names.REPLIES, key=data.correlation))
    return told


def _event(data: EventData, event_id: str, now_ms: int) -> AnyEvent:
    return event(data, id=event_id, source=SOURCE, time_ms=now_ms)


@dataclass(frozen=True, slots=True)
class InboundDoor:
    """What one upstream system writes, checked against what it may do."""

    name: str
    source: Source
    dispatcher: Dispatcher

    async def task(self, inbound: Event[InboundTask]) -> Sequence[AnyEvent]:
        """A task for the dispatcher, or a rejection that its sender can read in `tasks`."""
        data = inbound.data
        uid = (
            names.task_uid(data.project, data.id)
            if data.id
            else names.task_uid_of_event(data.project, inbound.source, inbound.id)
        )
        if data.project not in self.source.projects:
            detail = f"source {self.name!r} may write to: {', '.join(self.source.projects)}"
            return [self._refuse(inbound, uid, FORBIDDEN_PROJECT, FieldError(pointer="/project", detail=detail))]
        if data.lane not in self.source.lanes:
            detail = f"source {self.name!r} may use the lanes: {', '.join(self.source.lanes)}"
            return [self._refuse(inbound, uid, "forbidden_lane", FieldError(pointer="/lane", detail=detail))]
        try:
            Task(id=data.id, data=data.data, meta=data.meta)
        except ValidationError as error:
            wrong = InvalidEvent.from_validation(error, what="task")
            return [self._refuse(inbound, uid, wrong.reason, *wrong.errors)]
        try:
            fitting, blobs = await self.dispatcher.blobs.shed(data.project, uid, data.data)
        except InvalidEvent as error:
            return [self._refuse(inbound, uid, error.reason, *error.errors)]
        submitted = TaskSubmitted(
            project=data.project,
            task=uid,
            id=data.id,
            data=dict(fitting),
            blobs=blobs,
            meta=data.meta,
            lane=self.dispatcher.shares.lane(data.project, Lane(data.lane)),
            run=names.run_of_source(self.name, data.run) if data.run is not None else None,
            door=f"inbound.{self.name}",
        )
        return [self._event(submitted, inbound)]

    async def annotation(self, inbound: Event[InboundAnnotation]) -> Sequence[AnyEvent]:
        """An annotation. Raises `InvalidEvent`: what cannot be taken goes to the dead letters of this source."""
        data = inbound.data
        if data.project not in self.source.projects:
            raise InvalidEvent(FORBIDDEN_PROJECT, f"source {self.name!r} may not write to project {data.project!r}")
        project = await self.dispatcher.projects.find(data.project)
        if project is None or project.deleted:
            raise InvalidEvent("unknown_project", f"there is no project {data.project!r}")
        try:
            known = await submitted_annotation(
                data.annotation,
                data.annotation.annotator,
                project.project,
                self.dispatcher.submissions,
                self.dispatcher.configs,
                otherwise=names.derived("annotation", inbound.source, inbound.id),
            )
        except InvalidEvent as error:
            if error.reason == "unknown_task":  # it may have been sent a moment after its task
                raise TryAgain(error.detail, after=0.5) from None
            raise
        return [self._event(known, inbound)]

    def _event(self, data: TaskSubmitted | TaskRejected | AnnotationSubmitted, inbound: Event[EventData]) -> AnyEvent:
        event_id = names.derived("inbound", self.name, inbound.source, inbound.id)
        return event(
            data, id=event_id, source=f"/ingestion/inbound.{self.name}", time_ms=self.dispatcher.clock.now_ms()
        )

    def _refuse(self, inbound: Event[InboundTask], uid: str, reason: str, *errors: FieldError) -> AnyEvent:
        rejected = TaskRejected(
            project=inbound.data.project,
            task=uid,
            id=inbound.data.id,
            reason=reason,
            errors=errors,
            door=f"inbound.{self.name}",
        )
        return self._event(rejected, inbound)
