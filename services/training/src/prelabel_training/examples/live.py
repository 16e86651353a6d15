"""What the projection says now: a rebuild puts another generation in its place, and drops the one before.

This service only reads it, and nobody waits until a reader has moved on: so it looks each time which one is live.
"""

from collections.abc import Mapping, Sequence

from prelabel_runtime.store.base import Projected, Store, StoredTask


async def live(store: Store) -> Projected:
    """The generation that is live, whichever this process began with. Held for the length of a call."""
    return await store.generation(await store.generations.current())


async def live_tasks(store: Store, uids: Sequence[str]) -> Mapping[str, StoredTask]:
    """Those of the tasks that are there. None is missed because its generation was dropped meanwhile."""
    number = await store.generations.current()
    while True:
        found = await (await store.generation(number)).tasks.get_many(uids)
        if (now := await store.generations.current()) == number:
            return found
        number = now
