"""Who holds which task: one record per task, changed by compare-and-set, so that no two annotators get the same one.

A lease is over at its moment, or when it is given back; the task is free `GRACE_MS` later, by which time an answer that
was handed in at the last moment is known and the task is not open any more. Nothing has to run for that: a process that
dies, or an annotator who leaves, costs a task the rest of its lease.

Whoever holds the record's token may renew, also late, as long as nobody else was given the task and the record is
there: what ended long ago is removed (forgetting.py). The clocks of the processes must agree to within the grace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prelabel_contract.base import READING, Milliseconds, Model, Name
from prelabel_contract.events import Event, TaskDeleted
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.service import Handler, Reply
from prelabel_runtime.store.documents import Document, Documents

KIND: Final = "lease"
"""The kind of the documents; their keys are <project>/<task>."""
GRACE_MS: Final = 5_000
"""From the end of a lease until its task is given to somebody."""
_ATTEMPTS: Final = 10


class Lease(Model):
    """A task in somebody's hands."""

    token: str
    """Empty: given back."""
    annotator: Name
    until_ms: Milliseconds
    strategy: str
    """By which it was chosen: what came of its tasks tells what a strategy is worth."""


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases of a store's projects. Every method raises `Unavailable` where the store does not answer."""

    documents: Documents
    clock: Clock

    async def of(self, project: str, tasks: Sequence[str]) -> Mapping[str, Lease]:
        """What is on record of some tasks, by task: given back, and long over, too."""
        found = await self.documents.get_many(KIND, [_key(project, task) for task in tasks])
        return {task: lease_of(found[key]) for task in tasks if (key := _key(project, task)) in found}

    async def find(self, project: str, task: str, token: str) -> Lease | None:
        """The lease of that token; None: it was given back, or the task was given to somebody else."""
        lease = (await self.of(project, [task])).get(task)
        return lease if lease is not None and token and lease.token == token else None

    async def held(self, project: str, tasks: Sequence[str]) -> frozenset[str]:
        """Those of the tasks that nobody else can be given now."""
        known = await self.of(project, tasks)
        return frozenset(task for task, lease in known.items() if not self._free(lease))

    async def take(self, project: str, task: str, lease: Lease) -> bool:
        """Give a task to somebody; False if somebody has it, or was faster."""
        known = await self.documents.get(KIND, _key(project, task))
        if known is not None and not self._free(lease_of(known)):
            return False
        expected = known.revision if known is not None else 0
        return await self._put(project, task, lease, expected) is not None

    async def renew(self, project: str, task: str, token: str, *, until_ms: int) -> Lease | None:
        """Move the end of a lease. None: there is none of that token, or the task was given to somebody else."""
        return await self._changed(project, task, token, {"until_ms": until_ms})

    async def release(self, project: str, task: str, token: str) -> bool:
        """Give a task back. False: there is no lease of that token (any more)."""
        given_back = {"token": "", "until_ms": self.clock.now_ms()}
        return await self._changed(project, task, token, given_back) is not None

    def forgetting(self, handler: Handler) -> Handler:
        """The same handler of deleted tasks, which forgets their leases first: they name people."""

        async def handle(batch: Sequence[Event[TaskDeleted]]) -> Sequence[Reply]:
            for one in batch:
                await self._forget(_key(one.data.project, one.data.task))
            return await handler(batch)

        return handle

    async def _changed(self, project: str, task: str, token: str, change: Mapping[str, object]) -> Lease | None:
        for _ in range(_ATTEMPTS):
            known = await self.documents.get(KIND, _key(project, task))
            if known is None or not token:
                return None
            lease = lease_of(known)
            if lease.token != token:
                return None
            lease = lease.model_copy(update=change)
            if await self._put(project, task, lease, known.revision) is not None:
                return lease
        raise Unavailable("the record of a lease")

    async def _put(self, project: str, task: str, lease: Lease, expected: int) -> Document | None:
        return await self.documents.put(KIND, _key(project, task), lease.model_dump_json(), expected=expected)

    async def _forget(self, key: str) -> None:
        for _ in range(_ATTEMPTS):
            known = await self.documents.get(KIND, key)
            if known is None or await self.documents.delete(KIND, key, expected=known.revision):
                return
        raise Unavailable("the record of a lease")

    def _free(self, lease: Lease) -> bool:
        return lease.until_ms + GRACE_MS <= self.clock.now_ms()


def lease_of(known: Document) -> Lease:
    """What a record says."""
    return Lease.model_validate_json(known.body, context=dict(READING))


def _key(project: str, task: str) -> str:
    return f"{project}/{task}"
