"""Handlers that also tell what follows from what they have written."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from prelabel_contract.events import AnyEvent, Event
from prelabel_runtime.service import Handler, Reply

Tell = Callable[[Sequence[Event[Any]]], Awaitable[Mapping[int, Sequence[AnyEvent]]]]
"""By place in a batch, which is stored by now: what is to be told of it."""


def telling(write: Handler, tell: Tell) -> Handler:
    """That handler; what it could not write is told nothing of."""

    async def handle(batch: Sequence[Event[Any]]) -> Sequence[Reply]:
        replies = list(await write(batch))
        for place, told in (await tell(batch)).items():
            reply = replies[place]
            if not isinstance(reply, Exception):
                replies[place] = [*reply, *told]
        return replies

    return handle
