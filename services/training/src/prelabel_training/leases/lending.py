"""Gives open tasks to annotators: reads the pool, puts it in order, and leases the first that are to be had.

Of two who ask at the same moment each is given tasks that the other is not: what decides is the compare-and-set of the
task's record, and whoever was slower goes on to the next task of the order. A task that was answered while it was being
chosen is given back at once, as is one beyond what its annotator may hold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

import orjson
from prelabel_contract.base import Model, Name, Slug
from prelabel_contract.projects import Project
from prelabel_runtime.clock import Clock
from prelabel_runtime.run import Runtime
from prelabel_runtime.store.base import Projected, StoredOutcome, StoredTask
from pydantic import Field

from ..examples.blind import is_blind
from ..examples.shares import Shares
from .choosing import Choosing, Ways
from .holders import Holders, Holding
from .leases import Lease, Leases
from .pool import Open, Pool, Pools
from .sampling import Asked

MOST: Final = 100
"""Tasks of one request."""
SHORTEST: Final = 10.0
LONGEST: Final = 86_400.0
_ROUNDS: Final = 3
_SPARE: Final = 20
"""Tasks that are put in order beyond those wanted: somebody else may be given some of them meanwhile."""


class LeaseWish(Model):
    """How many tasks, chosen how, for how long."""

    strategy: Ways = Ways.MIXED
    """mixed, uncertainty, disagreement, diversity or random."""
    n: Annotated[int, Field(ge=1, le=MOST)] = 1
    """Tasks. Fewer are given where fewer are open and free, or where their annotator may not hold so many."""
    ttl: Annotated[float, Field(ge=SHORTEST, le=LONGEST)] = 600.0
    """Seconds until they are free again."""
    annotator: Name | None = None
    """Who will answer; null: the key's own name. A key of the role labeler takes tasks for itself only."""
    model: Slug | None = None
    """Whose doubts count for the strategy uncertainty; null: of each task the greatest."""


@dataclass(frozen=True, slots=True)
class Given:
    """A task that was leased."""

    task: StoredTask
    lease: Lease
    blind: bool
    """It is shown without suggestions."""
    suggestions: Sequence[StoredOutcome]
    """What stands predicted of it; nothing for a blind one."""


@dataclass(frozen=True, slots=True)
class Lent:
    """What a request came to."""

    given: Sequence[Given]
    pool: Pool
    held: int
    """Open tasks of the pool that others hold."""


@dataclass(frozen=True, slots=True)
class Lending:
    """Leases tasks."""

    pools: Pools
    choosing: Choosing
    leases: Leases
    holders: Holders
    shares: Shares
    clock: Clock
    new_id: Callable[[], str]

    @classmethod
    def of(cls, runtime: Runtime, *, most: int) -> Self:
        """Over a process's store. `most`: tasks of a project that one annotator holds at once."""
        store, clock = runtime.store, runtime.clock
        leases = Leases(store.documents, clock)
        return cls(
            Pools(store, runtime.rng),
            Choosing(store.examples, runtime.rng),
            leases,
            Holders(store.documents, leases, clock, most),
            Shares(store.documents, clock),
            clock,
            runtime.new_id,
        )

    async def lend(self, project: Project, wish: LeaseWish, annotator: str) -> Lent:
        """Tasks for an annotator, no more than they may hold. Raises a 409 for one who may hold no more.

        Raises `Unavailable`: what was leased by then is free after its time.
        """
        live, holdout = await self.pools.live(), await self.shares.of(project)
        holding = await self.holders.of(project.id, annotator, live, wanted=wish.n)
        if not (n := min(wish.n, self.holders.room(holding))):
            raise self.holders.full(project.id, holding)
        pool = await self.pools.read(project.id, [one.name for one in project.models], wanted=n + _SPARE)
        held = await self.leases.held(project.id, [one.task for one in pool.tasks])
        left = {one.task: one for one in pool.tasks if one.task not in held}
        lease = Lease(
            token=self.new_id(),
            annotator=annotator,
            until_ms=self.clock.now_ms() + round(wish.ttl * 1000),
            strategy=str(wish.strategy),
        )
        given: list[Given] = []
        for _ in range(_ROUNDS):
            wanted = n - len(given)
            if not wanted or not left:
                break
            tasks = list(left.values())
            asked = await self.choosing.chosen(
                project, live, tasks, wish.strategy, wanted + _SPARE, model=wish.model, holdout=holdout
            )
            taken = await self._taken(project.id, asked, lease, wanted)
            given += await self._given(project, live, {one: left[one] for one in taken}, taken, holdout)
            for one in asked:
                del left[one.task]
        return Lent(await self._counted(project.id, holding, given, live), pool, len(held))

    async def renew(self, project: str, task: str, lease: Lease, ttl: float) -> Lease | None:
        """Move the end of a lease, as it was found, to `ttl` seconds from now. None: it was lost meanwhile.

        One that was over had not been counted any more. Raises a 409 where its annotator may hold no more, and gives
        the task back.
        """
        now = self.clock.now_ms()
        until_ms = now + round(ttl * 1000)
        renewed = await self.leases.renew(project, task, lease.token, until_ms=until_ms)
        if renewed is None or lease.until_ms > now:
            return renewed
        live = await self.pools.live()
        holding = await self.holders.of(project, lease.annotator, live, wanted=1)
        if await self.holders.add(project, holding, {task: until_ms}, live):
            return renewed
        await self.leases.release(project, task, lease.token)
        raise self.holders.full(project, holding)

    async def _counted(self, project: str, holding: Holding, given: Sequence[Given], live: Projected) -> list[Given]:
        """Those that there is room for: requests at the same moment share it. The others are given back."""
        if not given:
            return []
        leased = {one.task.uid: one.lease.until_ms for one in given}
        kept = await self.holders.add(project, holding, leased, live)
        for one in given:
            if one.task.uid not in kept:
                await self.leases.release(project, one.task.uid, one.lease.token)
        return [one for one in given if one.task.uid in kept]

    async def _taken(self, project: str, asked: Sequence[Asked], lease: Lease, wanted: int) -> Mapping[str, Lease]:
        """The first of the order that nobody was given meanwhile."""
        taken: dict[str, Lease] = {}
        for one in asked:
            if len(taken) == wanted:
                break
            own = lease.model_copy(update={"strategy": str(one.by)})
            if await self.leases.take(project, one.task, own):
                taken[one.task] = own
        return taken

    async def _given(
        self,
        project: Project,
        live: Projected,
        tasks: Mapping[str, Open],
        taken: Mapping[str, Lease],
        holdout: float,
    ) -> list[Given]:
        """What is shown of tasks that were leased; those that are not open any more are given back."""
        uids = list(taken)
        stored = await live.tasks.get_many(uids)
        answered = await live.annotations.of_tasks(uids)
        blind = {uid for uid in uids if is_blind(project, uid, holdout)}
        outcomes = await live.outcomes.of_tasks([uid for uid in uids if uid not in blind])
        given: list[Given] = []
        for uid, lease in taken.items():
            if uid not in stored or answered.get(uid):
                await self.leases.release(project.id, uid, lease.token)
                continue
            standing = {one.request for one in tasks[uid].newest}
            shown = [one for one in outcomes.get(uid, ()) if one.request in standing]
            given.append(Given(stored[uid], lease, uid in blind, shown))
        return given


def shown(one: Given) -> dict[str, Any]:
    """A leased task, as JSON. What is kept in the blob store is null in `data`, and told in `blobs`."""
    body = orjson.loads(one.task.body)
    return {
        "lease": lease_id(one.task.uid, one.lease),
        "task": one.task.uid,
        "id": one.task.id,
        "data": body["data"],
        **({"blobs": body["blobs"]} if "blobs" in body else {}),
        "meta": body["meta"],
        "revision": one.task.revision,
        "annotator": one.lease.annotator,
        "strategy": one.lease.strategy,
        "until_ms": one.lease.until_ms,
        "blind": one.blind,
        "suggestions": [_suggestion(each) for each in one.suggestions],
    }


def _suggestion(one: StoredOutcome) -> dict[str, Any]:
    body = orjson.loads(one.body)
    return {
        "request": one.request,
        "model": one.model,
        "provider": one.provider,
        "version": one.version,
        "score": one.score,
        "uncertainty": one.uncertainty,
        "revision": one.revision,
        "threshold": body.get("threshold"),
        "regions": body.get("regions", []),
        **({"regions_blob": body["regions_blob"]} if "regions_blob" in body else {}),
    }


def lease_id(task: str, lease: Lease) -> str:
    """What its holder names a lease by."""
    return f"{task}.{lease.token}"


def parsed(lease: str) -> tuple[str, str] | None:
    """Task and token of a lease's name; None for a text that is none."""
    task, dot, token = lease.rpartition(".")
    return (task, token) if dot and task and token else None
