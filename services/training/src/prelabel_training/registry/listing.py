"""What is open of a project, in the order in which it is to be asked again: listed once, then read from front to back.

The order must not move while it is worked off (each answer changes a doubt), so it is written down.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from prelabel_runtime.store.base import Doubt, Store
from prelabel_runtime.store.paging import PageKey

from ..examples.live import live

KIND: Final = "repredict_list"
"""The kind of a part of the list; its key is <project>/<generation>/<number>."""
PART: Final = 2_000
"""Tasks of a part."""
MOST: Final = 200_000
"""Tasks of a list: the most doubtful ones. What is left is asked after the next promotion, if it is open then."""
_SCAN: Final = 2_000
_UNANSWERED: Final = 2.0
"""The doubt about a task that the model has said nothing about: it comes first."""
_UNKNOWN: Final = -1.0
"""The doubt where a model gives nothing to tell by: such tasks come last, as they were accepted."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Lists in a store."""

    store: Store

    async def write(self, project: str, model: str, generation: str, alive: Callable[[], Awaitable[None]]) -> int:
        """List the open tasks of a project; how many they are. `alive` is awaited now and then."""
        doubtful: list[tuple[float, str]] = []
        after: PageKey | None = None
        while True:
            now = await live(self.store)
            uids, after = await now.tasks.unannotated(project, scan=_SCAN, after=after)
            doubts = await now.outcomes.doubts(uids) if uids else {}
            doubtful += [(-_doubt(doubts.get(uid, ()), model), uid) for uid in uids]
            if after is None or len(doubtful) > 2 * MOST:
                doubtful.sort(key=lambda one: one[0])  # of equals, as they were accepted
                del doubtful[MOST:]
            await alive()
            if after is None:
                break
        await self._replace(project, generation, [uid for _, uid in doubtful])
        return len(doubtful)

    async def read(self, project: str, generation: str, place: int, limit: int) -> Sequence[str]:
        """At most so many tasks from a place on, all of one part; none at the end."""
        found = await self.store.documents.get(KIND, _key(project, generation, place // PART))
        uids: list[str] = [] if found is None else orjson.loads(found.body)
        return uids[place % PART :][:limit]

    async def remove(self, project: str, generation: str) -> None:
        """It is worked off."""
        await self._cut(project, generation, 0)

    async def _replace(self, project: str, generation: str, uids: Sequence[str]) -> None:
        parts = [uids[first : first + PART] for first in range(0, len(uids), PART)]
        for number, part in enumerate(parts):
            key, body = _key(project, generation, number), orjson.dumps(part).decode()
            while True:
                found = await self.store.documents.get(KIND, key)
                if await self.store.documents.put(KIND, key, body, expected=found.revision if found else 0) is not None:
                    break
        await self._cut(project, generation, len(parts))  # what a process that died had listed
        await self._forget_others(project, generation)

    async def _forget_others(self, project: str, generation: str) -> None:
        """Lists of epochs that serve no more."""
        model, own = generation.rpartition("/")[0], f"{project}/{generation}/"
        after: str | None = None
        while page := await self.store.documents.page(KIND, prefix=f"{project}/{model}/", limit=100, after=after):
            for document in page:
                if not document.key.startswith(own):
                    await self.store.documents.delete(KIND, document.key, expected=document.revision)
            after = page[-1].key

    async def _cut(self, project: str, generation: str, first: int) -> None:
        prefix = f"{project}/{generation}/"
        while page := await self.store.documents.page(KIND, prefix=prefix, limit=100, after=_before(prefix, first)):
            for document in page:
                await self.store.documents.delete(KIND, document.key, expected=document.revision)


def _key(project: str, generation: str, number: int) -> str:
    return f"{project}/{generation}/{number:08d}"


def _before(prefix: str, number: int) -> str:
    return f"{prefix}{number - 1:08d}" if number else prefix


def _doubt(known: Sequence[Doubt], model: str) -> float:
    """How unsure the model's newest answer about a task is."""
    own = [one for one in known if one.model == model]
    if not own:
        return _UNANSWERED
    newest = max(own, key=lambda one: (one.revision, one.offset))
    return _UNKNOWN if newest.uncertainty is None else newest.uncertainty
