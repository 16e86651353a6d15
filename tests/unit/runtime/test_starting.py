"""Services start side by side, and whatever ends a start: what has started is stopped, the rest is given up."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from prelabel_runtime import process, run
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Refused
from prelabel_runtime.health import Health
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, open_bus, open_store, serve
from prelabel_runtime.service import Part, Service
from prelabel_runtime.settings import RuntimeSettings

from .scene import Handled, subscription

PATIENCE = 30.0
"""Seconds until a start that hangs is a failed test."""


class Scripted(Part):
    """A part that starts as a test says; what becomes of it goes into a journal that parts share."""

    def __init__(self, name: str, journal: list[str], starts: Callable[[], Awaitable[object]]) -> None:
        self._name = name
        self._journal = journal
        self._starts = starts
        self.began, self.started = asyncio.Event(), asyncio.Event()

    async def start(self) -> None:
        self.began.set()
        try:
            await self._starts()
        except asyncio.CancelledError:
            self._journal.append(f"{self._name} cancelled")
            raise
        self._journal.append(f"{self._name} started")
        self.started.set()

    async def stop(self) -> None:
        self._journal.append(f"{self._name} stopped")


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    settings = RuntimeSettings(
        bus=f"sqlite:///{tmp_path / 'log.db'}",
        store=f"sqlite:///{tmp_path / 'results.db'}",
        health_port=0,
        partitions=1,
    )
    clock = SystemClock()
    return Runtime(settings, open_bus(settings, clock), open_store(settings, clock), Metrics())


def _exit_code(runtime: Runtime, services: Sequence[Service], stopping: asyncio.Event) -> int:
    """What a process of these services comes to, that is told to stop as soon as it is ready."""

    async def told(_: Runtime) -> None:
        stopping.set()

    async def work() -> None:
        async with asyncio.timeout(PATIENCE):
            await serve(runtime, lambda _: services, name="tests", ready=told, stopping=stopping)

    return process.run("tests", work)


async def _at_once() -> None:
    """Nothing to wait for."""


async def _never() -> None:
    await asyncio.Event().wait()


def test_services_start_side_by_side(runtime: Runtime) -> None:
    async def waits() -> None:
        await other.began.wait()

    journal: list[str] = []
    one = Scripted("one", journal, waits)
    other = Scripted("other", journal, one.began.wait)
    services = [Service("one", parts=(one,)), Service("other", parts=(other,))]
    assert _exit_code(runtime, services, asyncio.Event()) == 0
    assert sorted(journal) == ["one started", "one stopped", "other started", "other stopped"]


async def test_whoever_looks_at_any_moment_finds_it_ready_only_when_its_loops_have_joined(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping, health = asyncio.Event(), Health(runtime.clock)
    monkeypatch.setattr(run, "Health", lambda _: health)

    async def look() -> set[str]:
        try:
            while health.unready():  # noqa: ASYNC110 - nobody tells of what is looked at
                await asyncio.sleep(0)  # before and after each step of the others
            return {group for group, loop in health.loops.items() if loop.joined}
        finally:
            stopping.set()

    service = Service("one", subscriptions=(subscription(Handled(), group="a"), subscription(Handled(), group="b")))
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        looked = group.create_task(look())
        group.create_task(serve(runtime, lambda _: [service], name="tests", stopping=stopping))
    assert looked.result() == {"a", "b"}


def test_what_has_started_is_stopped_once_where_another_service_is_refused(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refuses() -> None:
        await upper.started.wait()
        raise Refused("no such model")

    journal: list[str] = []
    lower, upper = Scripted("lower", journal, _at_once), Scripted("upper", journal, _at_once)
    refused = Scripted("refused", journal, refuses)
    services = [Service("one", parts=(lower, upper)), Service("other", parts=(refused,))]
    assert _exit_code(runtime, services, asyncio.Event()) == process.EXIT_REFUSED == 2
    assert journal == ["lower started", "upper started", "upper stopped", "lower stopped"]
    assert capsys.readouterr().err == "prelabel tests: no such model\n"


def test_starts_that_hang_are_given_up_when_it_is_told_to_stop(runtime: Runtime) -> None:
    async def hangs() -> None:
        await other.began.wait()
        stopping.set()
        await _never()

    stopping = asyncio.Event()
    journal: list[str] = []
    one, other = Scripted("one", journal, hangs), Scripted("other", journal, _never)
    services = [Service("one", parts=(one,)), Service("other", parts=(other,))]
    assert _exit_code(runtime, services, stopping) == 0
    assert sorted(journal) == ["one cancelled", "other cancelled"]
