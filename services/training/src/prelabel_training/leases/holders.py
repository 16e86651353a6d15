"""How many tasks an annotator holds in a project at once: no more than a bound, so that nobody empties the pool.

One record per project and annotator lists the tasks that were leased; whether they are still held is asked of the
leases themselves, so renewing and giving back change nothing here. A task that was answered is not held any more,
whatever is left of its lease. The list is written after the leases, by compare-and-set: of requests at the same moment
only as many tasks are handed out as there is room for, and the others are given back. Who dies in between has handed
out nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prelabel_contract import names
from prelabel_contract.base import READING, Milliseconds, Model, Name
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.http.problems import Problem
from prelabel_runtime.store.base import Projected
from prelabel_runtime.store.documents import Document, Documents

from .leases import Leases

KIND: Final = "lease_holder"
"""The kind of the documents; their keys are <project>/<a name that follows from the annotator's>."""
_ATTEMPTS: Final = 50


class Holder(Model):
    """The tasks that somebody was given."""

    annotator: Name
    tasks: tuple[str, ...]
    """Uids; those that were found not to be held any more are left out at the next writing."""
    until_ms: Milliseconds
    """When the last of their leases ends, as it was when this was written; those that were renewed may end later."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What somebody holds now."""

    annotator: str
    until_ms: Mapping[str, int]
    """The end of each lease, by task."""
    revision: int
    """Of the record; 0: there is none."""


@dataclass(frozen=True, slots=True)
class Holders:
    """The annotators of a store's projects. Every method raises `Unavailable` where the store does not answer."""

    documents: Documents
    leases: Leases
    clock: Clock
    most: int
    """Tasks of a project that one annotator holds at once."""

    async def of(self, project: str, annotator: str, live: Projected, *, wanted: int) -> Holding:
        """What an annotator holds. Answered tasks are looked for where `wanted` more would be too many with them."""
        known = await self.documents.get(KIND, _key(project, annotator))
        until_ms: Mapping[str, int] = {} if known is None else await self._standing(project, holder_of(known))
        if len(until_ms) + wanted > self.most:
            answered = await live.annotations.of_tasks(list(until_ms))
            until_ms = {task: end for task, end in until_ms.items() if not answered.get(task)}
        return Holding(annotator, until_ms, 0 if known is None else known.revision)

    def room(self, holding: Holding) -> int:
        """How many more tasks somebody may be given."""
        return max(0, self.most - len(holding.until_ms))

    def full(self, project: str, holding: Holding) -> Problem:
        """Somebody holds as many tasks as they may: how many these are, and what to do."""
        now = self.clock.now_ms()
        seconds = max(1, -(-(min(holding.until_ms.values(), default=now) - now) // 1000))
        return Problem(
            409,
            "too_many_leases",
            f"{holding.annotator!r} holds {len(holding.until_ms)} tasks of the project {project}, and {self.most} are "
            f"the most: hand in answers, give tasks back (DELETE /v1/projects/{project}/leases/LEASE), or wait: the "
            f"first lease ends in {seconds} s",
        )

    async def add(self, project: str, holding: Holding, leased: Mapping[str, int], live: Projected) -> frozenset[str]:
        """Those of the tasks that were leased (with the ends of their leases) that there is still room for."""
        for _ in range(_ATTEMPTS):
            others = {task: end for task, end in holding.until_ms.items() if task not in leased}
            fitting = list(leased)[: max(0, self.most - len(others))]
            if not fitting:
                return frozenset()
            until_ms = others | {task: leased[task] for task in fitting}
            holder = Holder(annotator=holding.annotator, tasks=tuple(until_ms), until_ms=max(until_ms.values()))
            written = await self.documents.put(
                KIND, _key(project, holding.annotator), holder.model_dump_json(), expected=holding.revision
            )
            if written is not None:
                return frozenset(fitting)
            holding = await self.of(project, holding.annotator, live, wanted=len(leased))
        raise Unavailable("the record of an annotator's leases")

    async def _standing(self, project: str, holder: Holder) -> dict[str, int]:
        now = self.clock.now_ms()
        leases = await self.leases.of(project, holder.tasks)
        return {
            task: lease.until_ms
            for task, lease in leases.items()
            if lease.token and lease.annotator == holder.annotator and lease.until_ms > now
        }


def holder_of(known: Document) -> Holder:
    """What a record says."""
    return Holder.model_validate_json(known.body, context=dict(READING))


def _key(project: str, annotator: str) -> str:
    return f"{project}/{names.derived('holder', annotator)}"
