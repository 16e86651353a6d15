"""That a provider runs, told again and again: who has not been heard of for long is gone."""

import contextlib
from collections.abc import Callable

from prelabel_contract.events import ProviderAnnounced, event
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.loop import messages
from prelabel_runtime.service import Part

from .predictor import CannotStart, Predictor, ProviderInfo


class Announced(Part):
    """The models can be asked, and everybody knows what their provider can do."""

    def __init__(
        self,
        predictor: Predictor,
        bus: Bus,
        clock: Clock,
        new_id: Callable[[], str],
        *,
        every: float,
        trains: bool | None = None,
    ) -> None:
        """`every`: seconds between two announcements; `trains`: whether the provider's package has a trainer."""
        self._predictor = predictor
        self._bus = bus
        self._clock = clock
        self._new_id = new_id
        self._every = every
        self._trains = trains
        self._info: ProviderInfo | None = None

    async def start(self) -> None:
        """Get the models ready, and announce the provider; where that fails, they are let go of again."""
        try:
            self._info = await self._predictor.start()
        except CannotStart as error:
            raise Unavailable(f"the model worker: {error}") from error
        try:
            await self._announce(self._info)
        except BaseException:  # nobody stops a part that has not started: its models would be left running
            await self._predictor.stop()
            raise

    async def stop(self) -> None:
        """Let go of them. Others of the same provider may go on, so nobody is told that it is gone."""
        await self._predictor.stop()

    async def run(self) -> None:
        """Say so again; what a bus that is away does not take, it gets the next time."""
        while self._info is not None:
            await self._clock.sleep(self._every)
            with contextlib.suppress(Unavailable):
                await self._announce(self._info)

    async def _announce(self, info: ProviderInfo) -> None:
        now = self._clock.now_ms()
        data = ProviderAnnounced(
            provider=info.name,
            package=info.package,
            kinds=tuple(sorted(info.kinds)),
            settings_schema=dict(info.settings_schema),
            seen_ms=now,
            every_ms=round(self._every * 1000),
            trains=self._trains,
        )
        announced = event(data, id=self._new_id(), source=f"/inference/{info.name}", time_ms=now)
        await self._bus.publish(messages([announced]))
