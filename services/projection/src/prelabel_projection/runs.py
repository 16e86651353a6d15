"""Runs: how far they are, and their end.

Progress is read from what is stored, never counted along the way: a redelivery cannot inflate it. A run is complete
when it is sealed, every line of it has been dispatched, and no request of it is pending. Its end is written first and
published after, under a derived id; a crash between the two publishes it again.
"""

import random
from collections import OrderedDict

import orjson
from prelabel_contract import names
from prelabel_contract.events import RunCompleted, RunFailed, event
from prelabel_runtime import log
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.retry import backoff
from prelabel_runtime.service import Part
from prelabel_runtime.store.base import LineCounts, RunState, State, Store, StoredRun

from .settings import ProjectionSettings

SOURCE = "/projection"
_KEPT = 10_000
"""Runs whose lines are remembered."""
_AGE_SECONDS = 5.0
"""How often the age of the oldest task that waits is measured, at most."""
_log = log.get("prelabel.projection")


class Progress:
    """How far one run is."""

    def __init__(self, run: StoredRun, accepted: int, rejected: int, outcomes: dict[str, int]) -> None:
        self.run = run
        self.accepted = accepted
        self.rejected = rejected
        self.outcomes = outcomes

    @property
    def ended(self) -> int:
        """Requests that have an outcome."""
        return sum(n for state, n in self.outcomes.items() if state != State.PENDING)

    def shown(self) -> dict[str, object]:
        """As JSON."""
        return {
            "run": self.run.run,
            "project": self.run.project,
            "state": str(self.run.state),
            "total": self.run.total,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "outcomes": self.outcomes,
            "opened_ms": self.run.opened_ms,
            "ended_ms": self.run.ended_ms,
            "reason": self.run.reason or None,
        }

    def sse(self, number: int) -> bytes:
        """As a server-sent event."""
        return b"id: %d\nevent: progress\ndata: %s\n\n" % (number, orjson.dumps(self.shown()))


class Looks:
    """How far runs are, as cheaply as can be: what cannot change any more is counted once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._whole: OrderedDict[tuple[int, str], LineCounts] = OrderedDict()
        """Of runs whose last line has been dispatched, by generation of the store."""

    async def progress(self, run: StoredRun) -> Progress:
        """From the stored lines and outcomes. Lines first: what is dispatched later can only be counted as pending."""
        lines = await self._lines(run)
        counts = await self._store.outcomes.counts_of_run(run.run)
        return Progress(run, lines.accepted, lines.rejected, {str(state): n for state, n in counts.items() if n})

    async def complete(self, run: StoredRun) -> bool:
        """Whether nothing more will come: every line was dispatched, and then no request was pending.

        While a run is under way this asks for one pending request and counts nothing.
        """
        if await self._store.outcomes.pending_in_run(run.run):
            return False
        if run.total is None or _all(await self._lines(run)) < run.total:
            return False
        return not await self._store.outcomes.pending_in_run(run.run)

    async def _lines(self, run: StoredRun) -> LineCounts:
        place = (self._store.projected.generation, run.run)
        known = self._whole.get(place)
        if known is not None and _all(known) >= (run.total or 0):  # an upload that was sent again may have more lines
            return known
        lines = await self._store.lines.counts(run.run)
        if run.total is not None and _all(lines) >= run.total:
            self._whole[place] = lines
            if len(self._whole) > _KEPT:
                self._whole.popitem(last=False)
        return lines


def _all(lines: LineCounts) -> int:
    return lines.accepted + lines.rejected


class RunWatcher(Part):
    """Ends runs that are complete, and those whose upload was never finished."""

    def __init__(
        self,
        store: Store,
        looks: Looks,
        bus: Bus,
        settings: ProjectionSettings,
        clock: Clock,
        metrics: Metrics,
        rng: random.Random,
    ) -> None:
        self._store = store
        self._looks = looks
        self._bus = bus
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._rng = rng
        self._aged_at = float("-inf")

    async def start(self) -> None:
        """Nothing to get ready."""

    async def stop(self) -> None:
        """Nothing to let go."""

    async def run(self) -> None:
        """Look at unfinished runs again and again."""
        waits = backoff(self._settings.watch_seconds, 10.0, self._rng)
        while True:
            try:
                await self.look()
            except Unavailable:
                await self._clock.sleep(next(waits))
                continue
            waits = backoff(self._settings.watch_seconds, 10.0, self._rng)
            await self._clock.sleep(self._settings.watch_seconds)

    async def look(self) -> None:
        """End what is at its end."""
        now = self._clock.now_ms()
        for run in await self._store.runs.unfinished():
            if run.state in (RunState.COMPLETED, RunState.FAILED):
                await self._announce(run)
            elif run.state is RunState.SEALED and await self._looks.complete(run):
                await self._end(run, RunState.COMPLETED)
            elif run.state is RunState.OPEN and now - run.opened_ms > self._settings.unsealed_hours * 3_600_000:
                await self._end(run, RunState.FAILED, "its upload was never completed")
        if self._clock.monotonic() - self._aged_at >= _AGE_SECONDS:
            oldest = await self._store.outcomes.oldest_pending_ms()
            self._metrics.oldest_unresolved.set((now - oldest) / 1000 if oldest is not None else 0)
            self._aged_at = self._clock.monotonic()

    async def _end(self, run: StoredRun, state: RunState, reason: str = "") -> None:
        now = self._clock.now_ms()
        await self._store.runs.finish(run.run, state, now, reason)
        ended = await self._store.runs.get(run.project, run.run)
        # Told by another meanwhile, with a later moment: the earlier one holds, and is told as well.
        if ended is not None and (not ended.announced or (ended.state is state and ended.ended_ms == now)):
            await self._announce(ended)

    async def _announce(self, run: StoredRun) -> None:
        progress = await self._looks.progress(run)
        data: RunCompleted | RunFailed
        if run.state is RunState.COMPLETED:
            data = RunCompleted(
                project=run.project,
                run=run.run,
                total=run.total or 0,
                accepted=progress.accepted,
                rejected=progress.rejected,
                outcomes=progress.outcomes,
            )
        else:
            data = RunFailed(project=run.project, run=run.run, reason=run.reason)
        event_id = names.derived(data.TYPE, run.run)
        ended = event(data, id=event_id, source=SOURCE, time_ms=run.ended_ms or self._clock.now_ms())
        await self._bus.publish(messages([ended]))
        await self._store.runs.announced(run.run)
        _log.info(
            "run ended", run=run.run, state=str(run.state), accepted=progress.accepted, rejected=progress.rejected
        )
