"""One endpoint on a virtual clock: a real store and bus, an endpoint that answers as it is told, days in a second."""

import asyncio
import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import orjson
from prelabel_contract import names
from prelabel_contract.events import SubscriptionChanged, TaskDeleted, event
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.egress import Answer
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.store.deliveries import StoredDelivery
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.topics.spec import topic_spec
from prelabel_webhooks import cursor
from prelabel_webhooks.endpoint import Endpoint, Tools
from prelabel_webhooks.feed import Feed
from prelabel_webhooks.handlers import TOPICS
from prelabel_webhooks.sender import Sender, Target
from prelabel_webhooks.settings import WebhooksSettings
from prelabel_webhooks.subscriptions import Subscriptions, table
from prelabel_webhooks.vault import Vault

KEY = "A" * 43 + "="
PATIENCE = 60.0
"""Seconds until what must come has failed to come."""
T = TypeVar("T")


class VirtualClock:
    """Time passes only in `pass_until`, from one sleeper's moment to the next, when nobody has anything left to do."""

    def __init__(self, settled: Callable[[], Awaitable[None]]) -> None:
        self._settled = settled
        self._now = 0.0
        self._changes = 0
        self.watched: set[asyncio.Task[None]] = set()
        """What must not end while time passes."""
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return 1_700_000_000_000 + round(1000 * self._now)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until that has passed."""
        waiter = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, waiter))
        self._changes += 1
        await waiter

    async def pass_to(self, seconds: float) -> None:
        """Let time pass to a moment, exactly."""
        reached = asyncio.create_task(self.sleep(seconds - self._now))
        await self.pass_until(reached.done)

    async def pass_until(self, reached: Callable[[], bool], *, hours: float = 500.0) -> None:
        """Let time pass until something holds. Raises AssertionError after so many hours."""
        end, patience = self._now + 3600 * hours, time.monotonic() + PATIENCE
        while True:
            seen = -1
            while seen != self._changes:  # whoever begins to wait anew has done something
                seen = self._changes
                await self._settled()
            if reached():
                return
            self._sleepers = [(at, waiter) for at, waiter in self._sleepers if not waiter.done()]
            if not self._sleepers:  # somebody waits for a thread, not for time
                assert time.monotonic() < patience, "nobody waits for anything"
                continue
            assert not any(task.done() for task in self.watched), "what should run has ended"
            moment = min(at for at, _ in self._sleepers)
            assert moment <= end, f"not within {hours:g} h"
            self._now = max(self._now, moment)
            for at, waiter in self._sleepers:
                if at <= self._now:
                    waiter.set_result(None)


@dataclass
class ScriptedEgress:
    """Answers calls as it is told, and notes when they came."""

    clock: VirtualClock
    answer: Callable[[int], tuple[int, dict[str, str]]] = lambda call: (200, {})
    calls: list[tuple[float, str, str]] = field(default_factory=list)
    """Of each: seconds, webhook-id, signature."""

    async def request(self, method: str, url: str, **more: Any) -> Answer:
        """One call."""
        headers = dict(more["headers"])
        self.calls.append((self.clock.monotonic(), headers["webhook-id"], headers["webhook-signature"]))
        status, sent = self.answer(len(self.calls))
        return Answer(status, sent, b"ok", False, 0.01)

    def moments(self) -> list[float]:
        """When calls came, in seconds."""
        return [at for at, _, _ in self.calls]


@dataclass
class Scene:
    """Everything around one endpoint."""

    clock: VirtualClock
    egress: ScriptedEgress
    store: SqliteStore
    bus: SqliteBus
    subscriptions: Subscriptions
    tools: Tools
    secret: str = ""
    row: SubscriptionChanged | None = None
    sent: int = 0

    async def happen(self, count: int = 1) -> None:
        """Something happens that the endpoint is told of."""
        told = []
        for _ in range(count):
            self.sent += 1
            data = TaskDeleted(project="p", task=f"task-{self.sent}")
            told.append(event(data, id=f"event-{self.sent}", source="/tests", time_ms=self.clock.now_ms()))
        await self.bus.publish(messages(told))

    def now(self) -> SubscriptionChanged:
        """The subscription as it is."""
        assert self.row is not None
        row = self.subscriptions.get(self.row.id)
        assert row is not None
        return row

    async def delivery(self) -> StoredDelivery:
        """The only delivery."""
        assert self.row is not None
        (one,) = await self.store.deliveries.page(self.row.id, limit=2)
        return one

    @contextlib.asynccontextmanager
    async def endpoint(self, *, ends: bool = False, **fields: Any) -> AsyncIterator[Endpoint]:
        """The endpoint, running; made with its subscription the first time. `ends`: it is to end by itself."""
        if self.row is None:
            new = SubscriptionChanged(id="s", url="http://127.0.0.1/x", created_ms=self.clock.now_ms(), **fields)
            self.row, self.secret = await self.subscriptions.add(new, {})
            places = cursor.written(await self.bus.offsets(TOPICS, "end"))
            await self.store.endpoints.create(self.row.id, orjson.dumps({"positions": places}).decode())
        stored = await self.store.endpoints.claim(self.row.id, "test", self.clock.now_ms(), self.clock.now_ms() + 1)
        assert stored is not None
        row = self.now()
        endpoint = Endpoint(row, Target.of(row, self.subscriptions.vault), stored, self.tools)
        running = asyncio.create_task(endpoint.run())
        if not ends:
            self.clock.watched.add(running)
        try:
            yield endpoint
        finally:
            self.clock.watched.discard(running)
            if running.done() and not ends:
                running.result()
            await endpoint.stop(0)
            running.cancel()
            await asyncio.wait({running})


class Asked:
    """How often the store and the bus were asked for something that a thread of theirs does."""

    def __init__(self, store: SqliteStore, bus: SqliteBus) -> None:
        self.times = 0
        file = store._file
        assert file._reading is not None
        assert bus._reading is not None
        for of, name in ((file.writer, "write"), (file._reading, "submit"), (bus, "hand_in"), (bus._reading, "submit")):
            setattr(of, name, self._counted(getattr(of, name)))

    def _counted(self, what: Callable[..., T]) -> Callable[..., T]:
        def counted(*values: Any, **more: Any) -> T:
            self.times += 1
            return what(*values, **more)

        return counted


async def settled(store: SqliteStore, bus: SqliteBus) -> None:
    """Everybody has done what they could without time passing: what they asked of store and bus is answered, too.

    What is answered may lead to the next question, so that is when nobody has asked for a while.
    """
    asked, patience, quiet = _ASKED[store], time.monotonic() + PATIENCE, 0
    while quiet < 2:
        assert time.monotonic() < patience, "somebody asks and asks, while no time passes"
        before = asked.times
        while bus._pending_bytes:  # noqa: ASYNC110 - the disk tells nobody but who asked
            await asyncio.sleep(0.001)
        await store._file.writer.write(_nothing, [None])
        await _all_at_once(store._file._reading, store._file._readers)
        await _all_at_once(bus._reading, 1)
        for _ in range(20):
            await asyncio.sleep(0)
        ours = 1 + store._file._readers + 1
        quiet = quiet + 1 if asked.times == before + ours else 0


async def _all_at_once(pool: Executor | None, threads: int) -> None:
    """Every thread of a pool has come here: what was asked of it before is answered, also by one that stood still."""
    meeting, loop = threading.Barrier(threads), asyncio.get_running_loop()
    await asyncio.gather(*(loop.run_in_executor(pool, meeting.wait, PATIENCE) for _ in range(threads)))


_ASKED: WeakKeyDictionary[SqliteStore, Asked] = WeakKeyDictionary()


def _nothing(connection: sqlite3.Connection, items: Sequence[None]) -> None:
    return


@contextlib.asynccontextmanager
async def scene(folder: Path, **settings: Any) -> AsyncIterator[Scene]:
    """A scene; `settings` are the service's."""
    store = SqliteStore(folder / "results.db")
    bus = SqliteBus(folder / "log.db", clock=SystemClock())  # it cleans its file by the clock
    clock = VirtualClock(lambda: settled(store, bus))
    await bus.start()
    await store.start()
    _ASKED[store] = Asked(store, bus)
    await bus.provision([topic_spec(name, 1) for name in (*TOPICS, names.ACCESS)])
    rng = random.Random(7)
    ours = WebhooksSettings(**{"save_seconds": 7200, **settings})
    rows = table(bus, rng)
    subscriptions = Subscriptions(
        bus, rows, Vault([KEY], random.Random(1).randbytes), clock, random.Random(2).randbytes
    )
    feed = Feed(bus, window_bytes=ours.window_bytes, clock=clock, rng=rng)
    egress = ScriptedEgress(clock)
    sender = Sender(egress, clock=clock, metrics=Metrics(), attempt_seconds=20)  # type: ignore[arg-type]
    tools = Tools(store, feed, sender, subscriptions, ours, clock, rng, Metrics())
    following = []
    try:
        for part in (rows, feed):
            await part.start()
            following.append(asyncio.create_task(part.run()))
        yield Scene(clock, egress, store, bus, subscriptions, tools)
    finally:
        for task in following:
            task.cancel()
        await asyncio.wait(following)
        await rows.stop()
        await feed.stop()
        await store.stop()
        await bus.stop()
