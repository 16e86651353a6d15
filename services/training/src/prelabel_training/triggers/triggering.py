"""Looks at projects when it is time to: the part of the service that keeps trainings starting."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Final

from prelabel_contract.events import ProjectChanged
from prelabel_runtime import log
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Fatal, Refused, Unavailable
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.service import Part
from prelabel_runtime.tables import Table

from ..settings import TrainingSettings
from .agenda import Agenda
from .states import States
from .trigger import Trigger

_SHARE: Final = 10
"""A look may take one part in so many of the time."""
_AFTER_DEFECT: Final = 30.0
"""Seconds."""
_log = log.get("prelabel.training")


class Triggering(Part):
    """Wakes the trigger. Several processes may: what they decide is compare-and-set."""

    def __init__(
        self,
        trigger: Trigger,
        states: States,
        projects: Table[ProjectChanged],
        settings: TrainingSettings,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._trigger = trigger
        self._states = states
        self._projects = projects
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._agenda = Agenda()
        self._moved = asyncio.Condition()

    async def start(self) -> None:
        """Nothing to get ready."""

    async def stop(self) -> None:
        """Nothing to let go: `run` ends its looks when it is cancelled."""

    def wake(self, projects: Iterable[str]) -> None:
        """Something was stored of these projects: look at them when they have rested."""
        now = self._clock.monotonic()
        for project in projects:
            self._agenda.want(project, now)

    async def decided(self, project: str, seconds: float) -> None:
        """Look at a project now, and wait until some look has ended, or so many seconds."""
        async with self._moved:
            self._agenda.hurry(project, self._clock.monotonic())
            await self._end_of_a_look(seconds)

    async def moved(self, seconds: float) -> None:
        """Wait until some look has ended, or so many seconds; nobody looks sooner for it."""
        async with self._moved:
            await self._end_of_a_look(seconds)

    async def _end_of_a_look(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._moved.wait(), seconds)

    async def run(self) -> None:
        """Look at what is due, again and again."""
        async with asyncio.TaskGroup() as looks:
            looks.create_task(self._sweep_again_and_again())
            while True:
                for project in self._agenda.due(self._clock.monotonic()):
                    looks.create_task(self._look(project))
                await self._until_due()

    async def _until_due(self) -> None:
        at = self._agenda.next()
        added = asyncio.create_task(self._agenda.added())
        waits = {added}
        if at is not None:
            waits.add(asyncio.create_task(self._clock.sleep(max(0.0, at - self._clock.monotonic()))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
            await asyncio.wait(waits)

    async def _look(self, project: str) -> None:
        again: float | None = self._clock.monotonic() + _AFTER_DEFECT
        rests = self._settings.look_seconds
        try:
            look = await self._trigger.look(project)
            rests = max(rests, _SHARE * look.seconds)
            again = self._at(look.again_ms)
        except Unavailable as error:
            again = self._clock.monotonic() + error.after
        except (Fatal, Refused):
            raise
        except Exception as error:
            self._metrics.failed.labels("training-trigger", type(error).__name__).inc()
            _log.error("a look at a project ended by a defect", project=project, exc_info=error)
        finally:
            self._agenda.looked(project, self._clock.monotonic() + rests, again)
            async with self._moved:
                self._moved.notify_all()

    def _at(self, moment_ms: int | None) -> float | None:
        if moment_ms is None:
            return None
        return self._clock.monotonic() + max(0.0, (moment_ms - self._clock.now_ms()) / 1000)

    async def _sweep_again_and_again(self) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                await self._sweep()
            await self._clock.sleep(self._settings.sweep_seconds)

    async def _sweep(self) -> None:
        """Look at every project that may have something to decide: cheap where nothing has changed."""
        learning = {
            name
            for name, row in self._projects.rows().items()
            if not row.deleted and any(one.training is not None for one in row.project.models)
        }
        self.wake(learning | await self._states.projects())
        self._agenda.forget_rests(self._clock.monotonic())
