"""From events to the store. Every write bears repetition and any order: these handlers need neither care nor state."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from prelabel_contract import names
from prelabel_contract.events import (
    AnnotationDeleted,
    AnnotationSubmitted,
    AnnotationUpdated,
    DeadLetterDiscarded,
    DeadLetterReplayed,
    Event,
    EventData,
    PredictionCreated,
    PredictionFailed,
    PredictionSuperseded,
    RunCancelled,
    RunCompleted,
    RunCreated,
    RunFailed,
    RunSealed,
    TaskAccepted,
    TaskDeleted,
    TaskRejected,
)
from prelabel_runtime.bus.base import Record
from prelabel_runtime.service import Handler, Reply
from prelabel_runtime.store.annotations import stored_annotation
from prelabel_runtime.store.base import (
    Projected,
    RunState,
    State,
    Store,
    StoredLine,
    StoredOutcome,
    StoredTask,
)
from prelabel_runtime.store.dead_letters import Decision, LetterState

from .letters import parted

DONE: Reply = ()


@dataclass(frozen=True, slots=True)
class Projection:
    """Writes events into the repositories it owns: those of the live generation, or of one that is being rebuilt."""

    store: Store | Projected

    def on(self) -> Mapping[type[EventData], Handler]:
        """Which event goes where."""
        return {
            TaskAccepted: self.tasks_accepted,
            TaskRejected: self.tasks_rejected,
            TaskDeleted: self.tasks_deleted,
            PredictionCreated: self.outcomes,
            PredictionFailed: self.outcomes,
            PredictionSuperseded: self.superseded,
            AnnotationSubmitted: self.annotations,
            AnnotationUpdated: self.annotations,
            AnnotationDeleted: self.annotations,
            RunCreated: self.run_created,
            RunSealed: self.run_sealed,
            RunCompleted: self.run_ended,
            RunFailed: self.run_ended,
            RunCancelled: self.run_ended,
        }

    def decisions(self) -> Mapping[type[EventData], Handler]:
        """The same for what people decided about dead letters."""
        return {DeadLetterReplayed: self.decided, DeadLetterDiscarded: self.decided}

    async def tasks_accepted(self, batch: Sequence[Event[TaskAccepted]]) -> Sequence[Reply]:
        """Tasks, the outcomes they wait for, and the lines they came on."""
        # Lines last: whoever counts them to the end of a run finds what they wait for, in the same generation.
        into = self.store.lines
        await asyncio.gather(
            # Side by side. One file (SQLite) takes them one by one, in this order: who finds a new revision there finds
            # what it waits for. MongoDB gives no order: a revision may be found a moment before that.
            self.store.outcomes.put([pending for e in batch for pending in _pending(e.data)]),
            self.store.tasks.put([_task(e.data) for e in batch]),
        )
        lines = [
            StoredLine(
                key=f"{e.data.run}:{e.data.line}",
                project=e.data.project,
                run=e.data.run,
                line=e.data.line,
                task=e.data.task,
                at_ms=e.data.accepted_ms,
            )
            for e in batch
            if e.data.run is not None and e.data.line is not None
        ]
        if lines:
            await into.put(lines)
        return [DONE] * len(batch)

    async def tasks_rejected(self, batch: Sequence[Event[TaskRejected]]) -> Sequence[Reply]:
        """Lines that could not be taken, with the reasons."""
        await self.store.lines.put([_rejected(e) for e in batch])
        return [DONE] * len(batch)

    async def tasks_deleted(self, batch: Sequence[Event[TaskDeleted]]) -> Sequence[Reply]:
        """Forget tasks and all that was said about them."""
        uids = [e.data.task for e in batch]
        await self.store.tasks.delete(uids)
        await self.store.outcomes.delete_of_tasks(uids)
        await self.store.annotations.delete_of_tasks(uids)
        await self.store.dead_letters.delete_of_tasks(uids)
        return [DONE] * len(batch)

    async def outcomes(self, batch: Sequence[Event[PredictionCreated | PredictionFailed]]) -> Sequence[Reply]:
        """The ends of requests."""
        await self.store.outcomes.put([_outcome(e) for e in batch])
        return [DONE] * len(batch)

    async def superseded(self, batch: Sequence[Event[PredictionSuperseded]]) -> Sequence[Reply]:
        """Predictions that something newer replaces."""
        await self.store.outcomes.supersede({e.data.request: e.data.by for e in batch})
        return [DONE] * len(batch)

    async def annotations(self, batch: Sequence[Event[AnnotationSubmitted | AnnotationDeleted]]) -> Sequence[Reply]:
        """What people said."""
        await self.store.annotations.put([stored_annotation(e) for e in batch])
        return [DONE] * len(batch)

    async def run_created(self, batch: Sequence[Event[RunCreated]]) -> Sequence[Reply]:
        """Runs that exist."""
        for e in batch:
            await self.store.runs.open(e.data.run, e.data.project, e.time_ms)
        return [DONE] * len(batch)

    async def run_sealed(self, batch: Sequence[Event[RunSealed]]) -> Sequence[Reply]:
        """Runs whose total is known."""
        for e in batch:
            await self.store.runs.seal(e.data.run, e.data.project, e.data.total, e.time_ms)
        return [DONE] * len(batch)

    async def run_ended(self, batch: Sequence[Event[RunCompleted | RunFailed | RunCancelled]]) -> Sequence[Reply]:
        """Runs that ended, by whoever's word."""
        for e in batch:
            state = _END[type(e.data)]
            await self.store.runs.finish(e.data.run, state, e.time_ms, getattr(e.data, "reason", ""))
            await self.store.runs.announced(e.data.run)
        return [DONE] * len(batch)

    async def decided(self, batch: Sequence[Event[DeadLetterReplayed | DeadLetterDiscarded]]) -> Sequence[Reply]:
        """What people decided about dead letters."""
        await self.store.dead_letters.decide([decision(e.data, e.time_ms) for e in batch])
        return [DONE] * len(batch)

    async def letters(self, records: Sequence[Record]) -> None:
        """Records of the groups' dead letters, as they are."""
        letters, ends = parted(records)
        await self.store.dead_letters.put(letters)
        await self.store.dead_letters.resolve(ends)


TOPICS = (names.TASKS, names.PREDICTIONS, names.ANNOTATIONS, names.RUNS, names.AUDIT)
"""What the events of `Projection.on` are read from; the groups' dead letters come beside them."""


_END: dict[type[RunCompleted | RunFailed | RunCancelled], RunState] = {
    RunCompleted: RunState.COMPLETED,
    RunFailed: RunState.FAILED,
    RunCancelled: RunState.CANCELLED,
}


def decision(data: DeadLetterReplayed | DeadLetterDiscarded, at_ms: int) -> Decision:
    """A decision about a dead letter, for the index."""
    if isinstance(data, DeadLetterReplayed):
        return Decision(data.letter, LetterState.REPLAYED, at_ms, data.actor, replay=data.replay)
    return Decision(data.letter, LetterState.DISCARDED, at_ms, data.actor, why=data.reason)


def _task(data: TaskAccepted) -> StoredTask:
    body = {"data": data.data, "meta": data.meta, "door": data.door}
    if data.blobs:
        body["blobs"] = {name: ref.model_dump() for name, ref in data.blobs.items()}
    return StoredTask(
        uid=data.task,
        project=data.project,
        id=data.id,
        revision=data.revision,
        first_ms=data.accepted_ms,
        config=data.config,
        body=orjson.dumps(body).decode(),
        run=data.run,
    )


def _pending(data: TaskAccepted) -> Sequence[StoredOutcome]:
    return [
        StoredOutcome(
            request=ref.request,
            project=data.project,
            task=data.task,
            revision=data.revision,
            model=ref.model,
            provider=ref.provider,
            task_ms=data.accepted_ms,
            state=State.PENDING,
            run=data.run,
        )
        for ref in data.requests
    ]


def _outcome(event: Event[PredictionCreated | PredictionFailed]) -> StoredOutcome:
    data = event.data
    state, score, uncertainty, beside = State.CREATED, None, None, _KEPT_BESIDE
    if isinstance(data, PredictionCreated):
        score, uncertainty = data.score, data.uncertainty
        if not data.generation:  # as those look that were told before there were any
            beside = _KEPT_BESIDE | {"generation"}
    else:
        # An end of a later version is not a prediction: it counts as failed here, and its body still tells.
        known = data.outcome in (State.FAILED, State.CANCELLED, State.EXPIRED)
        state = State(data.outcome) if known else State.FAILED
    return StoredOutcome(
        request=data.request,
        project=data.project,
        task=data.task,
        revision=data.revision,
        model=data.model,
        provider=data.provider,
        task_ms=data.accepted_ms,
        state=state,
        offset=event.offset,
        at_ms=event.time_ms,
        version=data.version,
        score=score,
        body=data.model_dump_json(exclude_none=True, exclude=beside),
        run=data.run,
        uncertainty=uncertainty,
    )


_KEPT_BESIDE = {
    *("project", "task", "request", "id", "revision", "model", "provider", "lane", "run", "meta"),
    *("correlation", "accepted_ms", "version", "score", "uncertainty"),
}


def _rejected(event: Event[TaskRejected]) -> StoredLine:
    data = event.data
    body = {"id": data.id, "reason": data.reason, "errors": [e.model_dump() for e in data.errors], "door": data.door}
    return StoredLine(
        key=f"{data.run}:{data.line}" if data.run and data.line else event.id,
        project=data.project,
        run=data.run,
        line=data.line,
        task=None,
        at_ms=event.time_ms,
        body=orjson.dumps(body).decode(),
    )
