"""A provider says that it runs, again and again, and is gone when it does not."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prelabel_contract import cloudevents, names
from prelabel_contract.events import ProviderAnnounced
from prelabel_provider.announced import Announced
from prelabel_provider.base import Description, Failed
from prelabel_provider.predictor import CannotStart, Predictor, ProviderInfo
from prelabel_runtime.bus.base import Bus, TopicSpec
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.testing.doubles import ManualClock, WatchedBus, counted_ids
from pydantic import JsonValue

NOW = 1_700_000_000_000


class Nothing(Predictor):
    """No models: only what a provider is."""

    restarts: Mapping[str, int] = {}

    def __init__(self, *, starts: bool = True) -> None:
        self._starts = starts
        self.stops = 0

    async def start(self) -> ProviderInfo:
        if not self._starts:
            raise CannotStart("no such interpreter")
        return ProviderInfo("nothing", "1.2", frozenset({"span", "choice"}), {"type": "object"})

    async def stop(self) -> None:
        self.stops += 1

    def turn(self, *_: Any, **__: Any) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def load(self, settings: Mapping[str, JsonValue]) -> Description:
        raise NotImplementedError

    def description(self, key: str) -> Description:
        raise NotImplementedError

    async def predict_each(self, *_: Any, **__: Any) -> Sequence[bytes | Failed]:
        raise NotImplementedError


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    bus = SqliteBus(tmp_path / "log.db", clock=SystemClock())
    await bus.start()
    # Not compacted here: every announcement is to be seen.
    await bus.provision([TopicSpec(names.PROVIDERS, 1)])
    yield bus
    await bus.stop()


async def _told(bus: Bus, many: int, announced: Announced) -> list[ProviderAnnounced]:
    """The first announcements of a provider that runs until there are so many."""
    reader = bus.reader((names.PROVIDERS,), start="beginning")
    await reader.start()
    running = asyncio.create_task(announced.run())
    found: list[ProviderAnnounced] = []
    try:
        async with asyncio.timeout(60):
            while len(found) < many:
                for record in await reader.poll(10, 1.0):
                    assert record.value is not None
                    event = cloudevents.decode(record.headers, record.value, topic=record.topic, key=record.key)
                    assert event is not None
                    assert isinstance(event.data, ProviderAnnounced)
                    found.append(event.data)
    finally:
        running.cancel()
        await reader.stop()
    return found[:many]


async def test_a_provider_says_again_and_again_that_it_runs(bus: Bus) -> None:
    announced = Announced(Nothing(), bus, ManualClock(NOW), counted_ids(), every=20.0, trains=False)
    await announced.start()
    told = await _told(bus, 3, announced)
    assert [one.seen_ms for one in told] == [NOW, NOW + 20_000, NOW + 40_000]
    assert {(one.provider, one.package, one.kinds, one.every_ms, one.trains) for one in told} == {
        ("nothing", "1.2", ("choice", "span"), 20_000, False)
    }


async def test_a_bus_that_is_away_for_a_while_is_told_afterwards(bus: Bus) -> None:
    away = iter([False, True, True, False])

    def before(step: str) -> None:
        if step == "publish" and next(away, False):
            raise Unavailable("the bus")

    announced = Announced(Nothing(), WatchedBus(bus, before), ManualClock(NOW), counted_ids(), every=20.0)
    await announced.start()
    assert [one.seen_ms for one in await _told(bus, 2, announced)] == [NOW, NOW + 60_000]


async def test_a_provider_that_cannot_start_is_not_announced(bus: Bus) -> None:
    announced = Announced(Nothing(starts=False), bus, ManualClock(NOW), counted_ids(), every=20.0)
    with pytest.raises(Unavailable, match="no such interpreter"):
        await announced.start()
    await announced.run()
    assert set((await bus.offsets((names.PROVIDERS,), "end")).values()) == {0}


@pytest.mark.parametrize("error", [Unavailable("the bus"), asyncio.CancelledError()], ids=["failed", "cancelled"])
async def test_models_whose_announcement_comes_to_nothing_are_let_go_of(bus: Bus, error: BaseException) -> None:
    def before(step: str) -> None:
        if step == "publish":
            raise error

    models = Nothing()
    announced = Announced(models, WatchedBus(bus, before), ManualClock(NOW), counted_ids(), every=20.0)
    with pytest.raises(type(error)):
        await announced.start()
    assert models.stops == 1


@pytest.mark.parametrize(
    ("seen_ms", "every_ms", "gone"),
    [(NOW - 60_000, 20_000, False), (NOW - 60_001, 20_000, True), (NOW + 5_000, 20_000, False), (None, None, False)],
)
def test_a_provider_that_is_silent_three_times_as_long_as_it_promised_is_gone(
    seen_ms: int | None, every_ms: int | None, gone: bool
) -> None:
    said = ProviderAnnounced(
        provider="nothing", package="1", kinds=(), settings_schema={}, seen_ms=seen_ms, every_ms=every_ms
    )
    assert said.gone(NOW) is gone
