"""How far the annotations of a project have been written down, as a record that everybody may look at.

A writer says which offset it is about to write up to (`begun`), writes, and says that it has (`done`). So whoever reads
the record before and after reading what is written knows whether it read exactly what was said up to `done`: what a
training learned from can be named by one number, in any process, through any crash. The record's revision moves with
whatever changes what there is to learn, deletions of tasks too: who remembers it knows later whether anything happened.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from prelabel_contract.base import READING, Model
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.store.documents import Documents

KIND: Final = "heard"
_ATTEMPTS: Final = 100


class _Body(Model):
    begun: int = -1
    done: int = -1
    changes: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """How far one project is. Offsets are -1 for none."""

    begun: int = -1
    done: int = -1
    revision: int = 0
    """Moves with every change; 0: nothing was ever said."""

    @property
    def settled(self) -> bool:
        """Nobody is writing, or died while writing."""
        return self.begun == self.done


class Hearing:
    """The records of a store, and who of this process is at which project."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def position(self, project: str) -> Position:
        """How far a project is."""
        found = await self._documents.get(KIND, project)
        if found is None:
            return Position()
        body = _Body.model_validate_json(found.body, context=dict(READING))
        return Position(body.begun, body.done, found.revision)

    @contextlib.asynccontextmanager
    async def writing(self, last: Mapping[str, int]) -> AsyncIterator[None]:
        """While annotations are written; `last`: of each project the greatest offset among them."""
        async with contextlib.AsyncExitStack() as held:
            for project in sorted(last):
                await held.enter_async_context(self._lock(project))
            await _all(self._move(project, begun=offset) for project, offset in last.items())
            yield
            await _all(self._move(project, begun=offset, done=offset) for project, offset in last.items())

    @contextlib.asynccontextmanager
    async def still(self, project: str) -> AsyncIterator[None]:
        """While this is held nobody of this process writes annotations of the project."""
        async with self._lock(project):
            yield

    async def changed(self, projects: Collection[str]) -> None:
        """Something else changed what there is to learn; nothing to be told where nothing was ever said."""
        await _all(self._touch(project) for project in projects)

    def _lock(self, project: str) -> asyncio.Lock:
        lock = self._locks.get(project)
        if lock is None:
            lock = self._locks[project] = asyncio.Lock()
        return lock

    async def _move(self, project: str, *, begun: int, done: int = -1) -> None:
        for _ in range(_ATTEMPTS):
            found = await self._documents.get(KIND, project)
            body = _Body.model_validate_json(found.body, context=dict(READING)) if found else _Body()
            if body.begun >= begun and body.done >= done:
                return
            moved = _Body(begun=max(body.begun, begun), done=max(body.done, done), changes=body.changes + 1)
            expected = found.revision if found else 0
            if await self._documents.put(KIND, project, moved.model_dump_json(), expected=expected):
                return
        raise Unavailable("the record of what was heard")

    async def _touch(self, project: str) -> None:
        for _ in range(_ATTEMPTS):
            found = await self._documents.get(KIND, project)
            if found is None:
                return
            body = _Body.model_validate_json(found.body, context=dict(READING))
            touched = body.model_copy(update={"changes": body.changes + 1})
            if await self._documents.put(KIND, project, touched.model_dump_json(), expected=found.revision):
                return
        raise Unavailable("the record of what was heard")


async def _all(steps: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*steps)
