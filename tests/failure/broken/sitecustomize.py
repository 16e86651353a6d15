"""Deliberate damage to a started process, for tests of the checker and of the loop. No product code knows of it.

Python imports a module of this name at start when its folder is on PYTHONPATH. What to break is in the environment:

    PRELABEL_BROKEN   words, separated by spaces:
        commit_first               a batch is committed before it is handled
        random_ids                 ids of requests and outcomes are new each time
        drop:ID                    the task with that id leads to nothing
        die_after_publish:GROUP    once: what a batch led to is published, and the process dies before the commit
        poison_exit:GROUP:TEXT     handling a record that contains the text ends the process
        poison_raise:GROUP:TEXT    … raises
        die_after_blob             once: a blob is stored, and the process dies before what refers to it is published
    PRELABEL_FIRED    a folder: a file with the word's name appears when it did what it says

A folder, not memory, since what is broken dies.
"""

import os
import signal
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def _fired(word: str) -> bool:
    """Note that a word took effect; True the first time."""
    folder = Path(os.environ["PRELABEL_FIRED"])
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / word.replace("/", "_")
    first = not mark.exists()
    with mark.open("a") as file:
        file.write("x")
    return first


def commit_first(word: str) -> None:
    from prelabel_runtime.bus.base import Committed
    from prelabel_runtime.loop import Loop

    process = Loop._process

    async def broken(self: Any, batch: list[Any], before: Any) -> None:
        _fired(word)
        await self._consumer.commit({r.place: Committed(r.offset + 1, "") for r in batch})
        await process(self, batch, before)

    Loop._process = broken  # type: ignore[method-assign]


def random_ids(word: str) -> None:
    from prelabel_contract import names

    derived = names.derived

    def broken_request_id(*parts: object) -> str:
        _fired(word)
        return str(uuid.uuid4())

    def broken_derived(*parts: object) -> str:
        outcome = bool(parts) and str(parts[0]).startswith("prelabel.prediction.")
        return str(uuid.uuid4()) if outcome else derived(*parts)

    names.request_id = broken_request_id  # type: ignore[assignment]
    names.derived = broken_derived


def drop(word: str, task: str) -> None:
    from prelabel_ingestion.handlers import Dispatcher

    tasks = Dispatcher.tasks

    async def broken(self: Any, batch: Any) -> Any:
        replies = list(await tasks(self, batch))
        for place, submitted in enumerate(batch):
            if submitted.data.id == task:
                _fired(word)
                replies[place] = ()
        return replies

    Dispatcher.tasks = broken  # type: ignore[method-assign]


def die_after_publish(word: str, group: str) -> None:
    from prelabel_runtime.loop import Loop

    init = Loop.__init__

    def broken(self: Any, bus: Any, subscription: Any, **more: Any) -> None:
        init(self, bus, subscription, **more)
        if subscription.group != group:
            return

        async def complete(bus: Any, messages: Any, offsets: Any) -> None:
            await bus.publish(messages)
            if messages and _fired(word):
                os.kill(os.getpid(), signal.SIGKILL)
            await self._consumer.commit(offsets)

        self._consumer.complete = complete

    Loop.__init__ = broken  # type: ignore[method-assign]


def die_after_blob(word: str) -> None:
    from prelabel_runtime.blobs import Blobs

    put = Blobs.put

    async def broken(self: Any, project: str, task: str, blob: Any) -> None:
        await put(self, project, task, blob)
        if _fired(word):
            os.kill(os.getpid(), signal.SIGKILL)

    Blobs.put = broken  # type: ignore[method-assign]


def poison_exit(word: str, group: str, text: str) -> None:
    _poison(word, group, text, lambda: os._exit(9))


def poison_raise(word: str, group: str, text: str) -> None:
    def fail() -> None:
        raise RuntimeError("poisoned")

    _poison(word, group, text, fail)


def _poison(word: str, group: str, text: str, harm: Callable[[], None]) -> None:
    from prelabel_runtime.loop import Loop

    handle = Loop._handle

    async def broken(self: Any, items: list[Any]) -> None:
        poisoned = (i.event is not None and text.encode() in (i.record.value or b"") for i in items)
        if self.group == group and any(poisoned):
            _fired(word)
            harm()
        await handle(self, items)

    Loop._handle = broken  # type: ignore[method-assign]


_WAYS: Mapping[str, Callable[..., None]] = {
    way.__name__: way
    for way in (commit_first, random_ids, drop, die_after_publish, die_after_blob, poison_exit, poison_raise)
}

if "prelabel_provider.worker.main" not in sys.orig_argv:
    for _word in os.environ.get("PRELABEL_BROKEN", "").split():
        _name, *_arguments = _word.split(":")
        _WAYS[_name](_word, *_arguments)
