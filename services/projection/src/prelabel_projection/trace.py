"""The way of one task: each step with its time, and what it waits for now.

When a task was accepted and predicted is stored. When a door took it in stands in the log, under its revision: that is
looked up there, and is left out where the log no longer holds it or may not be read.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from prelabel_contract import cloudevents, names
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import TaskSubmitted
from prelabel_contract.names import Lane
from prelabel_runtime.bus.base import Bus, Partition
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.store.base import State, StoredAnnotation, StoredOutcome, StoredTask
from prelabel_runtime.store.dead_letters import KnownLetter

from .api_dead_letters import shown
from .reading import Reading

Hop = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Submission:
    """What a door wrote about a task, and when."""

    at_ms: int
    door: str
    lane: str
    run: str | None


@dataclass(frozen=True, slots=True)
class Tracing:
    """Follows a task through the log and the store."""

    reading: Reading
    bus: Bus

    async def of(self, project: str, name: str) -> dict[str, Any]:
        """The trace of a task at its newest revision. A 404 for one that is not accepted."""
        task = await self.reading.task(project, name)
        store = self.reading.store
        outcomes = (await store.outcomes.of_tasks([task.uid])).get(task.uid, ())
        current = [one for one in outcomes if one.revision >= task.revision]
        annotations = (await store.annotations.of_tasks([task.uid])).get(task.uid, ())
        submitted = await self._submission(task)
        now_ms = self.reading.clock.now_ms()
        pending = [one for one in current if one.state is State.PENDING]
        return {
            "task": task.uid,
            "id": task.id,
            "revision": task.revision,
            "now_ms": now_ms,
            "hops": _in_order(_hops(task, submitted, current, annotations)),
            "waiting": await asyncio.gather(*(self._waiting(one, submitted) for one in pending)),
            "dead_letters": [_letter(one) for one in await store.dead_letters.of_task(task.uid)],
        }

    async def _submission(self, task: StoredTask) -> Submission | None:
        try:
            ends = await self.bus.offsets((names.SUBMITTED,), "end")
            places = [place for place, end in ends.items() if end > task.revision]
            found = await asyncio.gather(*(self.bus.fetch(place, task.revision, 1) for place in places))
        except Unavailable:
            return None
        for record in (record for records in found for record in records):
            if record.offset != task.revision or record.key != task.uid.encode():
                continue
            try:
                event = cloudevents.decode(record.headers, record.value, topic=record.topic, key=record.key)
            except InvalidEvent:
                return None
            if event is not None and isinstance(event.data, TaskSubmitted):
                return Submission(record.timestamp_ms, event.data.door, str(event.data.lane), event.data.run)
        return None

    async def _waiting(self, outcome: StoredOutcome, submitted: Submission | None) -> dict[str, Any]:
        """What a request waits for: its provider's group, and how much stands before that."""
        lane = submitted.lane if submitted is not None and submitted.lane in {str(one) for one in Lane} else None
        behind = await self._behind(outcome.provider, lane) if lane is not None else None
        return {
            "model": outcome.model,
            "provider": outcome.provider,
            "request": outcome.request,
            "lane": lane,
            "group": names.inference_group(outcome.provider, lane) if lane is not None else None,
            "since_ms": outcome.task_ms,
            "behind": behind,
        }

    async def _behind(self, provider: str, lane: str) -> int | None:
        """Records that a provider's lane has not handled; None where that may not be asked."""
        topic = (names.requests(provider, lane),)
        try:
            ends, begins, done = await asyncio.gather(
                self.bus.offsets(topic, "end"),
                self.bus.offsets(topic, "beginning"),
                self.bus.committed(names.inference_group(provider, lane), topic),
            )
        except Unavailable:
            return None
        return sum(max(0, end - _place(place, begins, done)) for place, end in ends.items())


def _place(place: Partition, begins: Mapping[Partition, int], done: Mapping[Partition, int]) -> int:
    return max(begins.get(place, 0), done.get(place, 0))


def _hops(
    task: StoredTask,
    submitted: Submission | None,
    outcomes: Sequence[StoredOutcome],
    annotations: Sequence[StoredAnnotation],
) -> Sequence[Hop]:
    accepted_ms = max([one.task_ms for one in outcomes], default=task.first_ms)
    hops: list[Hop] = []
    if submitted is not None:
        handed_in = {"door": submitted.door, "lane": submitted.lane, "run": submitted.run}
        hops.append({"hop": "submitted", "at_ms": submitted.at_ms, **handed_in})
    hops.append({"hop": "accepted", "at_ms": accepted_ms, "revision": task.revision})
    hops += [_outcome(one) for one in outcomes if one.state is not State.PENDING]
    hops += [{"hop": "annotated", "at_ms": one.at_ms, "annotator": one.annotator} for one in annotations]
    return hops


def _letter(known: KnownLetter) -> dict[str, Any]:
    whole = shown(known)
    return {name: whole[name] for name in ("id", "group", "reason", "at_ms", "state", "result")}


def _outcome(outcome: StoredOutcome) -> Hop:
    body = orjson.loads(outcome.body)
    hop = {
        "hop": str(outcome.state),
        "at_ms": outcome.at_ms,
        "model": outcome.model,
        "provider": outcome.provider,
        "version": outcome.version,
        "reason": body.get("reason"),
        "detail": body.get("detail"),
    }
    return {name: value for name, value in hop.items() if value is not None}


def _in_order(hops: Sequence[Hop]) -> Sequence[Hop]:
    """By time; what happened at the same moment stays in the order of the way. `after_ms` is since the hop before."""
    ordered = sorted(hops, key=lambda hop: int(hop["at_ms"]))
    before = [None, *ordered[:-1]]
    return [
        {**hop, "after_ms": None if earlier is None else hop["at_ms"] - earlier["at_ms"]}
        for hop, earlier in zip(ordered, before, strict=True)
    ]
