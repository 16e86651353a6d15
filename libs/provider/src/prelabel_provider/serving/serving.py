"""Serving versions: what inference answers with follows the serving pointers, and nobody waits for it.

Promises (tests/unit/provider/test_serving.py, tests/failure/test_swap_kills.py):

- A pointer that moves has its version fetched, checked, loaded and tried beside what serves (`swap`); then it serves,
  from one batch to the next. No request fails and none waits; batches under way end with the version they began with.
- What cannot be had, loaded or trusted is refused and told (`model.loaded`, refused), and what served goes on. Where
  the store, the machine or the process may be at fault it is tried again, ever more seldom; what is wrong with the
  content stays wrong until the pointer moves, or the model's settings do.
- After a start the first request to a model waits until its version is loaded. One that cannot be loaded is passed over
  for the version before it, then for the model as its settings say; that is told too.
- A version that served and is still loaded serves again at once: a rollback loads nothing.
- Pointers to another provider's versions change nothing; where a pointer is taken back, the settings serve.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from prelabel_contract import names
from prelabel_contract.events import AnyEvent, ConfigPublished, ModelLoaded, ModelServing, event
from prelabel_runtime import log
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.loop import messages
from prelabel_runtime.retry import backoff
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Part
from prelabel_runtime.tables import Table
from pydantic import JsonValue

from ..base import BadSettings
from ..models.manifest import ArtifactRefused, Rules
from ..models.store import Models
from ..predictor import CannotLoad, CannotStart
from ..worker.worker import ModelWorker
from .pointers import TRIED_AGAIN, Pointers
from .served import Line, Release, Served, Versions, served
from .swap import CanaryFailed, Memory, Swap, resident_mib

LOAD_ATTEMPTS = 3
"""Times that a version may take a process with it, or be too slow, until it is not tried any more."""
TELL_SECONDS = 5.0
"""Between attempts to tell what a bus that is away did not take."""
FORGET_MS = 24 * 3600 * 1000
"""A version that is not used any more stays on this machine for so long."""
RENEW_SECONDS = 3600.0
"""Between two times that what answers is renewed on this machine, where others may tidy it."""
_MENDABLE = frozenset({"missing", "forbidden", "missing_file"})
"""What is wrong with an artifact that may be right later."""
_log = log.get("prelabel.serving")


class _Trouble(NamedTuple):
    """Why a version cannot be asked."""

    error: Exception
    wanted: Served | None
    """As it was to be asked; None: it did not come so far."""


@dataclass(slots=True)
class _State:
    """How far a line's pointer has been followed."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    dealt: ModelServing | None = None
    """What was taken up or refused last."""
    current: bool = True
    """It was taken up."""
    attempts: int = 0
    """That ended with a process, of this pointer."""
    own: Mapping[str, JsonValue] | None = None
    """The settings of the model that it was taken up or refused with."""
    good: Mapping[str, JsonValue] | None = None
    """Those that what serves was loaded with."""
    waits: Iterator[float] | None = None
    again: float | None = None
    """When a refused one is tried again, by the monotonic clock; None: never."""

    def deal_with(self, pointer: ModelServing | None, own: Mapping[str, JsonValue] | None) -> None:
        """It is about to be taken up."""
        if (pointer, own) != (self.dealt, self.own):
            self.attempts, self.waits = 0, None
        self.dealt, self.own, self.again, self.current = pointer, own, None, True

    def wants(self, pointer: ModelServing | None, own: Mapping[str, JsonValue] | None, now: float) -> bool:
        """Whether there is something to do: it moved, it is time, or other settings may do better."""
        moved = pointer != self.dealt or (not self.current and own != self.own)
        return moved or (self.again is not None and self.again <= now)


class Serving(Part):
    """Keeps the lines of one provider's models where their pointers are."""

    def __init__(
        self,
        runtime: Runtime,
        swap: Swap,
        models: Models,
        configs: Table[ConfigPublished],
        *,
        provider: str,
        host: str,
        again_seconds: float,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        """`host`: this process, for people; `again_seconds`: until what was refused is tried for the second time.

        `renew_seconds`: less than anybody waits who removes what nobody uses.
        """
        self.versions = Versions()
        self._provider = provider
        self._host = host
        self._bus = runtime.bus
        self._clock = runtime.clock
        self._rng = runtime.rng
        self._metrics = runtime.metrics
        self._swap = swap
        self._worker: ModelWorker = swap.worker
        self._models = models
        self._configs = configs
        self._again_seconds = again_seconds
        self._renew_seconds = renew_seconds
        self._pointers = Pointers(runtime.bus, rng=runtime.rng)
        self._states: dict[Line, _State] = {}
        self._busy: set[Line] = set()
        self._untold: deque[AnyEvent] = deque()
        self._telling = asyncio.Lock()

    @property
    def loading(self) -> bool:
        """Whether a version is being loaded beside what serves."""
        return self._swap.turn.locked()

    def given_up(self, line: Line) -> bool:
        """Whether the version that a line's pointer names was refused, and is not tried again."""
        state = self._state(line)
        return not state.current and state.again is None and line not in self._busy

    # ------------------------------------------------------------------------------------------------------- running

    async def start(self) -> None:
        """Read the pointers. What they point to is loaded when it is asked for, the latest ones before that."""
        await self._pointers.start()
        for pointer in self._pointers.rows().values():
            if pointer.provider == self._provider and pointer.artifact:
                self._unsettle(self.versions.line(pointer.project, pointer.model))

    async def stop(self) -> None:
        """Let go."""
        await self._pointers.stop()
        self._models.stop()

    async def run(self) -> None:
        """Follow the pointers."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pointers.run())
            group.create_task(self._warm_up())
            group.create_task(self._renew_again())
            await self._follow(group)

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        changed = self._pointers.changed
        while True:
            changed.clear()
            await self._flush()
            for line in self._due():
                self._busy.add(line)
                group.create_task(self._bring_up(line))
            self._count()
            waiting = asyncio.create_task(changed.wait()), asyncio.create_task(self._until_due())
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waiting:
                    one.cancel()

    async def _until_due(self) -> None:
        """Wait for the next thing that is to be done at a time."""
        now = self._clock.monotonic()
        idle = (state for line, state in self._states.items() if line.cold is None and line not in self._busy)
        times = [state.again for state in idle if state.again is not None]
        seconds = [max(0.0, time - now) for time in times] + ([TELL_SECONDS] if self._untold else [])
        await self._clock.sleep(min(seconds, default=3600.0))

    async def _warm_up(self) -> None:
        """Settle the lines whose pointers moved last, as many as are loaded at once, before they are asked."""
        rows = [row for row in self._pointers.rows().values() if row.provider == self._provider]
        for row in rows[::-1][: self._swap.models]:
            line = self.versions.line(row.project, row.model)
            if line.cold is not None and self._own(line) is not None:
                try:
                    await line.cold()
                except Exception as error:  # whoever asks it first meets that too
                    _log.warning(
                        "a model is not settled yet", project=line.project, model=line.model, error=type(error).__name__
                    )

    def _due(self) -> list[Line]:
        """The lines whose pointer moved, or is to be tried again."""
        now = self._clock.monotonic()
        due = []
        lines = [self.versions.line(row.project, row.model) for row in self._pointers.rows().values()]
        for line in {*lines, *self._states}:
            state = self._state(line)
            wanted = state.wants(self._pointer(line), line.own, now)
            if wanted and line.cold is None and line not in self._busy:
                due.append(line)
        return due

    # --------------------------------------------------------------------------------------------- one pointer moved

    async def _bring_up(self, line: Line) -> None:
        """Take up where a line's pointer is, beside what serves."""
        state = self._state(line)
        async with state.lock:
            if line.cold is None:
                pointer = self._pointer(line)
                state.deal_with(pointer, self._own(line))
                if pointer is None:
                    line.release = None
                else:
                    await self._take_up(line, pointer, state)
        self._busy.discard(line)
        self._pointers.changed.set()  # it may have moved meanwhile

    async def _take_up(self, line: Line, pointer: ModelServing, state: _State) -> None:
        began = self._clock.monotonic()
        wanted: Served | None = None
        try:
            release = await self._release(pointer.version, pointer.artifact)
            memory = Memory(after=resident_mib(self._worker.pid))
            if release is not None or line.release is not None:
                if (own := state.own) is None:  # the first request settles it
                    self._unsettle(line)
                    return
                wanted = served(own, release)
                memory = await self._swap.load(wanted, self.versions.last(line), self._in_use)
        except Exception as error:  # a defect of ours, too, leaves what serves where it is
            await self._refuse(line, pointer, error, wanted)
            return
        line.release, state.good = release, state.own
        await self._serve(line, pointer, memory, self._clock.monotonic() - began)
        await self._forget()

    async def _release(self, version: str, artifact: str) -> Release | None:
        """A version on this machine, checked; None for the model as its settings say."""
        if not artifact:
            return None
        info = await self._worker.start()
        if not info.writes:
            raise ArtifactRefused("no_trainer", f"{self._provider} has no trainer here that says what its files may be")
        folder = await self._models.fetch(artifact, Rules(self._provider, info.writes))
        return Release(version, artifact, str(folder), info.sources)

    def _in_use(self) -> set[str]:
        """Keys of the models that are asked."""
        lines = self.versions.lines()
        return {served(line.own, line.release).key for line in lines if line.own is not None}

    # ------------------------------------------------------------------------------------------------------ cold start

    def _unsettle(self, line: Line) -> None:
        if line.cold is None:
            line.cold = partial(self._settle, line)

    async def _settle(self, line: Line) -> None:
        """Find out what serves, and load it: what the pointer says, else what served before, else the settings.

        Raises `Unavailable` where nothing can be asked now.
        """
        state = self._state(line)
        async with state.lock:
            if line.cold is None:
                return
            pointer = self._pointer(line)
            troubles: list[_Trouble] = []
            began = self._clock.monotonic()
            own = state.good or line.own or {}  # with others it may not load for a reason of theirs
            release = None if pointer is None else await self._first_that_loads(own, pointer, troubles)
            line.release, line.cold = release, None
            state.deal_with(pointer, own)
            if pointer is not None and troubles:
                await self._refuse(line, pointer, *troubles[0])
            elif pointer is not None:
                state.good = own
                memory = Memory(after=resident_mib(self._worker.pid))
                await self._serve(line, pointer, memory, self._clock.monotonic() - began)
        self._pointers.changed.set()  # it may have moved meanwhile

    async def _first_that_loads(
        self, own: Mapping[str, JsonValue], pointer: ModelServing, troubles: list[_Trouble]
    ) -> Release | None:
        """The version that serves, or the one before it; None: the model as its settings say."""
        for version, artifact in ((pointer.version, pointer.artifact), (pointer.previous_version, pointer.previous)):
            if not artifact:
                break
            wanted: Served | None = None
            try:
                release = await self._release(version, artifact)
                wanted = served(own, release)
                await self._worker.reload(wanted.settings)  # what is known of it may be in doubt
                return release
            except (ArtifactRefused, BadSettings, CannotLoad, Unavailable) as error:
                troubles.append(_Trouble(error, wanted))
            except CannotStart as error:
                raise Unavailable(f"worker of {self._provider}: {error}") from error
        for trouble, _ in troubles:
            if isinstance(trouble, Unavailable) and not await self._loads(own):
                raise trouble  # rather than failing requests for good, of which all would be well soon
        return None

    async def _loads(self, own: Mapping[str, JsonValue]) -> bool:
        try:
            await self._worker.load(own)
        except (BadSettings, CannotStart):
            return False
        return True

    # ------------------------------------------------------------------------------------------------------- telling

    async def _serve(self, line: Line, pointer: ModelServing, memory: Memory, seconds: float) -> None:
        """Tell that a pointer's version serves."""
        self._metrics.swaps.labels(self._provider, "served").inc()
        self._metrics.swap_seconds.labels(self._provider).observe(seconds)
        detail = "" if memory.beside is None else f"{memory.before} MiB before, {memory.beside} MiB beside it meanwhile"
        _log.info(
            "version serves", project=line.project, model=line.model, version=pointer.version, epoch=pointer.epoch,
            seconds=round(seconds, 3), memory_mib=memory.after, before_mib=memory.before,
        )  # fmt: skip
        await self._tell(pointer, "serving", detail, memory_mib=memory.after, seconds=round(seconds, 3))

    async def _refuse(self, line: Line, pointer: ModelServing, error: Exception, wanted: Served | None) -> None:
        """Tell that a pointer's version does not serve, and why; decide whether it is tried again.

        `wanted`: as it was to be asked; None: it did not come so far.
        """
        state = self._state(line)
        state.current = False
        wait = self._wait(state, error)
        state.again = None if wait is None else self._clock.monotonic() + wait
        why = _why(error) if wanted is None else wanted.told(_why(error))
        on = "the model as its settings say" if line.release is None else f"version {line.release.version}"
        again = "" if wait is None else f"; {TRIED_AGAIN}"
        self._metrics.swaps.labels(self._provider, "refused" if wait is None else "later").inc()
        _log.warning(
            "version refused", project=line.project, model=line.model, version=pointer.version, epoch=pointer.epoch,
            why=why, error=str(error), again_seconds=wait, exc_info=None if _expected(error) else error,
        )  # fmt: skip
        await self._tell(pointer, "refused", f"{why}; {on} goes on{again}")

    def _wait(self, state: _State, error: Exception) -> float | None:
        """Seconds until a refused version is tried again; None: it will not be better."""
        if isinstance(error, CannotLoad) or (isinstance(error, CanaryFailed) and error.again):
            state.attempts += 1
            mendable = state.attempts < LOAD_ATTEMPTS
        else:
            mendable = isinstance(error, (Unavailable, CannotStart)) or (
                isinstance(error, ArtifactRefused) and error.reason in _MENDABLE
            )
        if not mendable:
            return None
        if state.waits is None:
            state.waits = backoff(self._again_seconds, 60 * self._again_seconds, self._rng)
        return next(state.waits)

    async def _tell(
        self,
        pointer: ModelServing,
        state: str,
        detail: str,
        *,
        memory_mib: float | None = None,
        seconds: float | None = None,
    ) -> None:
        data = ModelLoaded(
            project=pointer.project,
            model=pointer.model,
            provider=self._provider,
            version=pointer.version,
            epoch=pointer.epoch,
            host=self._host,
            state=state,
            detail=detail[:1000],
            memory_mib=memory_mib,
            seconds=seconds,
        )
        # Told again after a restart, or after one more attempt, it is the same event.
        id_ = names.derived(data.TYPE, pointer.key, pointer.epoch, self._provider, self._host, state, detail)
        told = event(data, id=id_, source=f"/inference/{self._provider}", time_ms=self._clock.now_ms())
        self._untold.append(told)
        await self._flush()

    async def _flush(self) -> None:
        async with self._telling:
            with contextlib.suppress(Unavailable):  # what a bus that is away does not take, it gets later
                while self._untold:
                    await self._bus.publish(messages([self._untold[0]]))
                    self._untold.popleft()

    def _count(self) -> None:
        states = dict.fromkeys(("current", "refused", "pending"), 0)
        epochs = [0]
        for row in self._pointers.rows().values():
            if row.provider != self._provider:
                continue
            line = self.versions.line(row.project, row.model)
            state = self._state(line)
            if line.cold is not None or state.dealt != row or line in self._busy:
                states["pending"] += 1
            elif state.current:
                states["current"] += 1
                epochs.append(row.epoch)
            else:
                states["refused"] += 1
        for name, count in states.items():
            self._metrics.serving.labels(self._provider, name).set(count)
        self._metrics.serving_epoch.labels(self._provider).set(max(epochs))

    # -------------------------------------------------------------------------------------------------------- looking

    def _state(self, line: Line) -> _State:
        if (state := self._states.get(line)) is None:
            state = self._states[line] = _State()
            line.doubt, line.news = partial(self._unsettle, line), self._pointers.changed.set
        return state

    def _pointer(self, line: Line) -> ModelServing | None:
        """The pointer of a line, where it is about this provider."""
        pointer = self._pointers.get(line.name)
        return pointer if pointer is not None and pointer.provider == self._provider else None

    def _own(self, line: Line) -> Mapping[str, JsonValue] | None:
        """The settings that a line is asked with, or will be; None where no configuration of ours has the model."""
        if line.own is None:
            for known in reversed(list(self._configs.rows().values())):
                if known.project.id == line.project:
                    model = known.project.model(line.model)
                    line.own = model.settings if model is not None and model.provider == self._provider else None
                    break
        return line.own

    async def _forget(self) -> None:
        """Remove from this machine what nobody has pointed to for long."""
        with contextlib.suppress(Unavailable):
            await self._models.forget(self._pointers.artifacts() | self._used(), self._clock.now_ms() - FORGET_MS)

    async def _renew_again(self) -> None:
        """Keep what answers young: who shares this machine's folder knows the pointers only, and one may be refused."""
        while True:
            with contextlib.suppress(Unavailable):
                await self._models.renew(self._used())
            await self._clock.sleep(self._renew_seconds)

    def _used(self) -> set[str]:
        """The artifacts that answer, here."""
        return {line.release.artifact for line in self.versions.lines() if line.release is not None}


def _expected(error: Exception) -> bool:
    return isinstance(error, (ArtifactRefused, BadSettings, CanaryFailed, CannotStart, Unavailable))


def _why(error: Exception) -> str:
    """A sentence about what is wrong with a version."""
    match error:
        case ArtifactRefused():
            return f"{error.reason}: {error}"
        case Unavailable():
            return f"{error.what} does not answer"
        case BadSettings() | CannotLoad():
            return f"it cannot be loaded: {error}"
        case CanaryFailed():
            return str(error)
        case CannotStart():  # why is for whoever runs it, and in the log: interpreters and environments are theirs
            return "the process of its provider cannot be started"
        case _:
            return f"a defect: {type(error).__name__}"
