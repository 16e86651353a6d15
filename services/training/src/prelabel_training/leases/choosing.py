"""Which open tasks are given next: the pool's order by a strategy, with what only that strategy needs read for it.

Held-out tasks come by chance and in their share, whatever the strategy: if those that a model doubts were asked first,
versions would be judged by the hardest of them alone.

What is read is bounded: texts of so many candidates for diversity, predictions of so many for disagreement. Of the
others neither is known, and they come where sampling.py puts what is not known.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import orjson
from prelabel_contract.base import READING
from prelabel_contract.projects import Project
from prelabel_contract.regions import REGIONS, Regions
from prelabel_runtime.store.base import Examples, Projected
from pydantic import ValidationError

from ..examples.holdout import in_holdout
from . import sampling
from .pool import Open
from .sampling import USUAL, Asked, Candidate, Mix, Strategy, disagreement, order

TEXTS: Final = sampling.POOL
"""Candidates whose texts are read."""
COMPARED: Final = 1_000
"""Candidates whose predictions are compared."""
_CHUNK: Final = 100
_CHARACTERS: Final = 4_000
"""Of a text, those at its beginning: no more of it is compared."""


class Ways(StrEnum):
    """How tasks are chosen."""

    MIXED = "mixed"
    """Mostly what the model is unsure of, some of what is unlike the rest, some at random."""
    UNCERTAINTY = "uncertainty"
    DISAGREEMENT = "disagreement"
    DIVERSITY = "diversity"
    RANDOM = "random"

    @property
    def mix(self) -> Mix:
        """The strategies that take turns."""
        return USUAL if self is Ways.MIXED else Mix((sampling.Turn(Strategy(self.value), 1.0),))


class Choosing:
    """Puts open tasks in an order."""

    def __init__(self, examples: Examples, rng: random.Random) -> None:
        self._examples = examples
        self._rng = rng

    async def chosen(
        self,
        project: Project,
        live: Projected,
        tasks: Sequence[Open],
        way: Ways,
        count: int,
        *,
        model: str | None = None,
        holdout: float = 0.0,
    ) -> list[Asked]:
        """The first `count` of the tasks. `model`: whose doubts count; None: of each task the greatest.

        `holdout`: the share of the project's tasks that is held out, 0 to less than 1.
        """
        held = [one.task for one in tasks if in_holdout(project.id, one.task, holdout)]
        apart = frozenset(held)
        others = [one for one in tasks if one.task not in apart]
        ordered = await self._ordered(project, live, others, way, count, model) if others else []
        drawn = [Asked(task, Strategy.RANDOM) for task in self._rng.sample(held, min(count, len(held)))]
        return self._by_chance(drawn, ordered, holdout)[:count]

    def _by_chance(self, some: Sequence[Asked], others: Sequence[Asked], share: float) -> list[Asked]:
        """Both in their own orders; the next is one of `some` by so much of a chance, while there are any of both."""
        mixed: list[Asked] = []
        at = 0
        for one in some:
            while at < len(others) and self._rng.random() >= share:
                mixed.append(others[at])
                at += 1
            mixed.append(one)
        return [*mixed, *others[at:]]

    async def _ordered(
        self, project: Project, live: Projected, tasks: Sequence[Open], way: Ways, count: int, model: str | None
    ) -> list[Asked]:
        strategies = {turn.strategy for turn in way.mix.turns}
        texts: Mapping[str, str] = {}
        done: Sequence[str] = ()
        differ: Mapping[str, float] = {}
        if Strategy.DIVERSITY in strategies:
            texts = await self._texts(project, live, [one.task for one in self._some(tasks, TEXTS)])
            done = await self._done(project, live)
        if Strategy.DISAGREEMENT in strategies:
            several = [one for one in tasks if len(one.newest) > 1]
            differ = await _disagreements(project, live, self._some(several, COMPARED))
        candidates = [
            Candidate(one.task, one.uncertainty(model), differ.get(one.task), texts.get(one.task, "")) for one in tasks
        ]
        seed = random.Random(self._rng.getrandbits(64))
        return await asyncio.to_thread(order, candidates, way.mix, count, seed, done=done)

    def _some(self, tasks: Sequence[Open], most: int) -> Sequence[Open]:
        return tasks if len(tasks) <= most else self._rng.sample(tasks, most)

    async def _texts(self, project: Project, live: Projected, uids: Sequence[str]) -> Mapping[str, str]:
        fields = list(dict.fromkeys(name for one in project.label_set.questions for name in one.fields))
        return {uid: text async for uid, text in _read(live, uids, fields)}

    async def _done(self, project: Project, live: Projected) -> Sequence[str]:
        """Texts of annotated tasks: as many as diversity keeps away from, from a place that is drawn."""
        place = f"{self._rng.getrandbits(32):08x}"
        known = list(await self._examples.page(project.id, limit=sampling.SPREAD, after=place))
        if len(known) < sampling.SPREAD:
            known += await self._examples.page(project.id, limit=sampling.SPREAD - len(known))
        uids = list(dict.fromkeys(one.task for one in known))
        return list((await self._texts(project, live, uids)).values())


async def _read(live: Projected, uids: Sequence[str], fields: Sequence[str]) -> AsyncIterator[tuple[str, str]]:
    """The beginnings of tasks' texts, a few tasks in memory at a time: data may be large."""
    for at in range(0, len(uids), _CHUNK):
        for uid, task in (await live.tasks.get_many(uids[at : at + _CHUNK])).items():
            data = orjson.loads(task.body)["data"]
            said = [data[name][:_CHARACTERS] for name in fields if isinstance(data.get(name), str)]
            yield uid, " ".join(said)


async def _disagreements(project: Project, live: Projected, tasks: Sequence[Open]) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for at in range(0, len(tasks), _CHUNK):
        some = tasks[at : at + _CHUNK]
        outcomes = await live.outcomes.of_tasks([one.task for one in some])
        for one in some:
            bodies = {outcome.request: outcome.body for outcome in outcomes.get(one.task, ())}
            said = [_regions(bodies.get(doubt.request)) for doubt in one.newest]
            value = disagreement([each for each in said if each is not None], project.label_set.questions)
            if value is not None:
                found[one.task] = value
    return found


def _regions(body: str | None) -> Regions | None:
    """What was predicted; None where it lies in the blob store, or cannot be read."""
    said: dict[str, Any] = {} if body is None else orjson.loads(body)
    if "regions" not in said or said.get("regions_blob") is not None:
        return None
    try:
        return REGIONS.validate_python(said["regions"], context=dict(READING))
    except ValidationError:
        return None
