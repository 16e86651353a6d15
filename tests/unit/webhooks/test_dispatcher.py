"""Several processes share the endpoints: each is served by one of them, and what one leaves another takes up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
from prelabel_contract.events import SubscriptionChanged
from prelabel_webhooks.dispatcher import Dispatcher

from .scene import Scene, scene

COUNT = 12


class Process:
    """A process that serves endpoints."""

    def __init__(self, of: Scene, name: str) -> None:
        self.dispatcher = Dispatcher(of.tools, owner=name)
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.dispatcher.start()
        self._running = asyncio.create_task(self.dispatcher.run())

    async def stop(self) -> None:
        """As on SIGTERM."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait({self._running})
        await self.dispatcher.stop()

    async def kill(self) -> None:
        """As on SIGKILL: nothing is written down, nothing is let go."""
        assert self._running is not None
        for held in self.dispatcher._held.values():
            held.endpoint.save = _nothing  # type: ignore[method-assign]
            await held.endpoint.stop(0)
            held.task.cancel()
        self._running.cancel()
        await asyncio.wait({self._running, *(held.task for held in self.dispatcher._held.values())})

    @property
    def holds(self) -> set[str]:
        """The endpoints it serves."""
        return set(self.dispatcher._held)


async def _nothing() -> None:
    return


@contextlib.asynccontextmanager
async def subscribed(folder: Path) -> AsyncIterator[Scene]:
    """A scene with endpoints that nobody serves yet."""
    async with scene(folder, save_seconds=1, lease_seconds=15) as it:
        places = await Dispatcher(it.tools, owner="nobody").place_since(None)
        assert set(orjson.loads(places)["positions"])
        for number in range(COUNT):
            row = SubscriptionChanged(id=f"s{number}", url="http://127.0.0.1/x", created_ms=it.clock.now_ms())
            await it.subscriptions.add(row, {})
            await it.store.endpoints.create(row.id, places)
        yield it


async def told(it: Scene) -> None:
    """An event comes to every endpoint."""
    before = {name for _, name, _ in it.egress.calls}
    await it.happen()
    await it.clock.pass_until(lambda: len({name for _, name, _ in it.egress.calls} - before) == COUNT, hours=0.02)


async def test_one_process_serves_all_and_two_share(tmp_path: Path) -> None:
    async with subscribed(tmp_path) as it:
        a, b = Process(it, "a"), Process(it, "b")
        await a.start()
        await it.clock.pass_until(lambda: len(a.holds) == COUNT, hours=0.01)
        await told(it)
        await b.start()
        await it.clock.pass_until(lambda: len(a.holds) + len(b.holds) == COUNT and len(b.holds) > 1, hours=0.02)
        assert not a.holds & b.holds
        assert a.holds
        calls = len(it.egress.calls)
        await told(it)
        assert len(it.egress.calls) == calls + COUNT, "each by one of them"
        await b.stop()
        await it.clock.pass_until(lambda: len(a.holds) == COUNT, hours=0.02)
        await told(it)
        assert len({name for _, name, _ in it.egress.calls}) == 3 * COUNT == len(it.egress.calls)
        await a.stop()


async def test_what_a_killed_process_held_is_taken_up_when_its_lease_has_ended(tmp_path: Path) -> None:
    async with subscribed(tmp_path) as it:
        a, b = Process(it, "a"), Process(it, "b")
        await a.start()
        await b.start()
        await it.clock.pass_until(lambda: len(a.holds) + len(b.holds) == COUNT and bool(b.holds), hours=0.02)
        died = it.clock.monotonic()
        await a.kill()
        await it.happen()
        await it.clock.pass_until(lambda: len(b.holds) == COUNT, hours=0.02)
        assert it.clock.monotonic() - died <= 2 * 15
        await it.clock.pass_until(lambda: len({name for _, name, _ in it.egress.calls}) == COUNT, hours=0.02)
        await b.stop()


async def test_a_process_that_comes_back_under_its_name_goes_on_at_once(tmp_path: Path) -> None:
    async with subscribed(tmp_path) as it:
        a = Process(it, "a")
        await a.start()
        await it.clock.pass_until(lambda: len(a.holds) == COUNT, hours=0.01)
        await a.kill()
        again = Process(it, "a")
        began = it.clock.monotonic()
        await again.start()
        await it.clock.pass_until(lambda: len(again.holds) == COUNT, hours=0.01)
        assert it.clock.monotonic() - began <= 1
        await told(it)
        await again.stop()


async def test_the_mark_of_a_process_that_is_long_gone_is_removed(tmp_path: Path) -> None:
    async with subscribed(tmp_path) as it:
        gone, stays = Process(it, "gone"), Process(it, "stays")
        await gone.start()
        await it.clock.pass_until(lambda: len(gone.holds) == COUNT, hours=0.01)
        await gone.kill()
        await it.clock.pass_to(25 * 3600)
        await stays.start()
        await it.clock.pass_until(lambda: len(stays.holds) == COUNT, hours=0.02)
        marks = [name for name in await it.store.endpoints.all() if name.startswith("process/")]
        assert marks == ["process/stays"]
        await stays.stop()
