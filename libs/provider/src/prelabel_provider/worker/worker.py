"""The parent side of a model worker: a provider in a process of its own, which can crash, hang or eat
memory alone.

    worker = ModelWorker("spacy")
    description = await worker.load({"path": "/models/ner"})
    outcomes = await worker.predict_each(key_of({"path": "/models/ner"}), inputs)

The process is spawned with a chosen interpreter, so a provider's heavy dependencies may live in an
environment of their own, which needs nothing of ours but this package. It dies with its parent; see
`main`. Besides what every predictor raises, it tells by class what goes wrong:

WorkerDied         the process ended while it worked; the next call starts it anew
WorkerTimeout      it worked longer than it may, and was killed; the next call starts it anew
ProviderRaised     the provider raised an ordinary exception: a defect, the process lives on
"""

import asyncio
import json
import logging
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from math import isqrt

from prelabel_contract.names import Lane
from pydantic import JsonValue

from ..base import BadSettings, Description, Failed, Input
from ..lanes import WEIGHTS, Turns
from ..predictor import CannotLoad, CannotStart, Predictor, ProviderInfo, Told, key_of
from ..variables import variables
from ..worth import Pace
from .frames import Item, Load, Loaded, NoAnswer, Predict, Unload, pack
from .process import (
    Asked,
    End,
    Launch,
    Process,
    ProviderRaised,
    WorkerCounts,
    WorkerDied,
    WorkerError,
    WorkerTimeout,
)

__all__ = (
    "Backoff",
    "ModelWorker",
    "ProviderRaised",
    "WorkerCounts",
    "WorkerDied",
    "WorkerError",
    "WorkerLimits",
    "WorkerTimeout",
)

_log = logging.getLogger(__name__)

_MYSTERIES = 3
"""Ends in a row of a process that had begun nothing, until what waited for it is suspected."""
_URGENCY = {Lane.INTERACTIVE: 0, Lane.BULK: 1, Lane.BACKFILL: 1}
"""In the process. Whether bulk or backfill comes first was decided by their turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """What a worker may use."""

    start_seconds: float = 120.0
    """To start, and to load a model, each."""
    batch_seconds: float = 300.0
    """For one call of the model."""
    memory_mib: int | None = None
    """Memory of the process's own, in MiB (RLIMIT_DATA: code and shared files do not count)."""
    threads: int = 1
    """Of numerical libraries."""
    models: int = 4
    """Kept loaded at once; the least recently used goes first, and comes back when it is needed."""
    batches: int = 2
    """Batches that have their turn at once: one that the model is at, the others ready in its process."""
    weights: Mapping[Lane, float] = field(default_factory=lambda: WEIGHTS)
    """By which lanes share the model, where more than one has work."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before starts in a row that no prediction follows: the first restart is at once."""

    first: float = 0.1
    """Seconds before the second."""
    most: float = 5.0
    """Seconds."""

    def seconds(self, failures: int) -> float:
        """The wait after so many failures in a row."""
        return 0.0 if failures < 2 else float(min(self.most, self.first * 2 ** min(failures - 2, 30)))


@dataclass(slots=True)
class _Model:
    settings: bytes
    description: Description
    pace: Pace = field(default_factory=Pace)


class ModelWorker(Predictor):
    """One worker process of one provider, which is asked as much as callers like and does one thing at a time.

    It starts by itself with the first question, and again after a death; `stop` ends it for good. On Linux
    the process dies with the thread that runs the event loop, not only with the whole parent.
    """

    def __init__(
        self,
        provider: str,
        *,
        python: str = sys.executable,
        limits: WorkerLimits = WorkerLimits(),
        environment: Mapping[str, str] | None = None,
        backoff: Backoff = Backoff(),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`python` is the interpreter that has the provider installed; `environment` adds variables."""
        self._provider = provider
        self._python = python
        self._limits = limits
        self._environment = dict(environment or {})
        self._backoff = backoff
        self._sleep = sleep
        self._models: dict[str, _Model] = {}
        self._turns = Turns(slots=limits.batches, weights=limits.weights, urgent=1)
        self._numbers = count(1)
        self._starting = asyncio.Lock()
        self._loading = asyncio.Lock()
        self._process: Process | None = None
        self._leaving: dict[Process, asyncio.Task[None]] = {}
        """Whose place others took, until they have answered and gone."""
        self._info: ProviderInfo | None = None
        self._failures = 0
        self._calls = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._stopped = False
        self.counts = WorkerCounts()

    @property
    def restarts(self) -> Mapping[str, int]:
        """By `death` and `timeout`."""
        return {"death": self.counts.deaths, "timeout": self.counts.timeouts}

    @property
    def seconds(self) -> Mapping[str, float]:
        """Of the process. What is neither is spent on starting, loading, and what stands around the model."""
        return {"busy": self.counts.busy_seconds, "idle": self.counts.idle_seconds}

    def turn(self, lane: Lane, work: float = 1.0) -> AbstractAsyncContextManager[None]:
        """As many batches as `batches` of the limits says, and one more if it is interactive.

        In the process that one goes before those that wait there, so it waits for one call of the model at most.
        """
        return self._turns.turn(lane, work)

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a process that has not ended."""
        return self._process is not None and self._process.running

    async def start(self) -> ProviderInfo:
        """Start the process if there is none, and tell what the provider is. Raises `CannotStart`."""
        with self._call():
            await self._started()
            assert self._info is not None  # noqa: S101 (it runs)
            return self._info

    async def stop(self, grace: float = 10.0) -> None:
        """End the process for good: after what it does, or by force after `grace` seconds."""
        self._stopped = True
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._quiet.wait()
        for process in (self._process, *self._leaving):
            if process is not None:
                await process.retire(min(grace, 2.0))
        await asyncio.gather(*self._leaving.values(), return_exceptions=True)

    async def load(self, settings: Mapping[str, JsonValue]) -> Description:
        """Load a model, or tell what is known of it. Its key is `key_of(settings)`. After a restart, or
        when others pushed it out, it is loaded again when it is needed.

        Raises `BadSettings` and `CannotStart`.
        """
        key = key_of(settings)
        if (known := self._models.get(key)) is not None:
            return known.description
        with self._call():
            async with self._loading:
                if (known := self._models.get(key)) is not None:
                    return known.description
                written = _written(settings)
                model = self._models[key] = _Model(written, await self._load(key, written))
                return model.description

    async def reload(self, settings: Mapping[str, JsonValue]) -> Description:
        """Load a model whatever is known of it. Raises `BadSettings` and `CannotStart`: then it stays as it was."""
        key = key_of(settings)
        written = _written(settings)
        with self._call():
            async with self._loading:
                said = await self._load(key, written)
                model = self._models.setdefault(key, _Model(written, said))
                model.description = said
                return said

    def description(self, key: str) -> Description:
        """A model as it was loaded last: a reload from a folder that changed has another version.

        Raises KeyError for a model that was never loaded.
        """
        return self._models[key].description

    def seconds_each(self, key: str) -> float | None:
        """The model's own time per request, as its process measures it."""
        model = self._models.get(key)
        return None if model is None else model.pace.each

    async def unload(self, key: str) -> None:
        """Forget a model."""
        with self._call():
            if self._models.pop(key, None) is not None and (process := self._process) is not None and self.running:
                asked = self._asked()
                await process.ask(pack(Unload(asked.id, key)), asked)
                process.held = tuple(one for one in process.held if one != key)

    async def predict(self, key: str, inputs: Sequence[Input], lane: Lane = Lane.BULK) -> list[bytes | Told | Failed]:
        """Per input of a batch its regions as JSON, or why there are none.

        Raises KeyError for a model that was never loaded, `BadSettings` if it cannot be loaded again, and
        `WorkerError`: then something of the batch is lost. `predict_each` saves what can be saved.
        """
        with self._call():
            said, lost = await self._predict(key, inputs, 0, lane)
        if lost:
            raise lost[0][1]
        return [said[place] for place in range(len(inputs))]

    async def predict_each(
        self, key: str, inputs: Sequence[Input], lane: Lane = Lane.BULK
    ) -> list[bytes | Told | Failed]:
        """Predict a batch, and lose only those inputs that cannot be predicted.

        Inputs that were with the model when it killed its process, took too long or raised are tried again: n of
        them in calls of √n each, and those of a call that fails too one by one. So one that is at fault takes three
        processes with it, however many were in its company, and who was there is repeated twice at most. Who fails
        alone is answered `Failed`, with reason `worker_crashed`, `timeout` or `error`.

        Raises KeyError, `BadSettings` and `CannotStart`, which are no input's fault.
        """
        said: dict[int, bytes | Told | Failed] = {}
        suspects: deque[tuple[list[int], int]] = deque([(list(range(len(inputs))), 0)])
        with self._call():
            while suspects:
                places, most = suspects.popleft()
                answered, lost = await self._predict(key, [inputs[place] for place in places], most, lane)
                said |= {places[place]: one for place, one in answered.items()}
                for some, error in lost:
                    if len(some) == 1 and (most or isinstance(error, ProviderRaised)):
                        said[places[some[0]]] = _failed(error)
                    else:
                        self.counts.repeated += len(some)
                        suspects.append(([places[place] for place in some], 1 if most else isqrt(len(some))))
        return [said[place] for place in range(len(inputs))]

    # --------------------------------------------------------------------------------------------- another one

    @property
    def held(self) -> tuple[str, ...]:
        """Keys of the models that its process has loaded, least recently used first as of the last one loaded."""
        return () if self._process is None else self._process.held

    @property
    def leaving(self) -> tuple[int, ...]:
        """Ids of the processes whose place others took, and who still answer."""
        return tuple(process.pid for process in self._leaving if process.running)

    def settings(self, key: str) -> dict[str, JsonValue]:
        """What a model was loaded with. Raises KeyError for one that never was."""
        settings: dict[str, JsonValue] = json.loads(self._models[key].settings)
        return settings

    def another(self) -> "ModelWorker":
        """A second worker of the same provider, to get models ready beside this one. Its maker stops it."""
        return ModelWorker(
            self._provider,
            python=self._python,
            limits=self._limits,
            environment=self._environment,
            backoff=self._backoff,
            sleep=self._sleep,
        )

    async def take_over(self, other: "ModelWorker") -> None:
        """Go on with another's process and the models in it; its maker still stops it.

        What is under way is answered where it began, what follows is asked of the new process: nothing is asked twice
        and nobody waits. The old process ends when it has answered. Raises `CannotStart` if the other's has ended.
        """
        async with self._starting:  # one that is being started is replaced too
            process = other._process
            if self._stopped or process is None or not process.running:
                raise CannotStart("the process that was to take over has ended")
            other._process = None
            process.hand_over(self._ended, self.counts)
            before, self._process, self._info = self._process, process, other._info
            for key, model in other._models.items():
                if (known := self._models.get(key)) is not None:
                    known.description = model.description
                else:
                    self._models[key] = model
        if before is not None:
            self._leaving[before] = asyncio.create_task(self._dismiss(before))

    async def _dismiss(self, process: Process) -> None:
        try:
            await process.answered()
            await process.retire(2.0)
        finally:
            del self._leaving[process]

    # ---------------------------------------------------------------------------------------------- questions

    async def _predict(
        self, key: str, inputs: Sequence[Input], most: int, lane: Lane
    ) -> tuple[dict[int, bytes | Told | Failed], list[tuple[list[int], WorkerError]]]:
        """What is said, by place, and which places the model was at when it failed.

        What it had not begun when something else took its process is asked again.
        """
        model = self._models[key]
        items = [Item(one.task, dict(one.data), one.field) for one in inputs]
        said: dict[int, bytes | Told | Failed] = {}
        lost: list[tuple[list[int], WorkerError]] = []
        left = list(range(len(inputs)))
        mysteries = 0
        while left:
            process = await self._started()
            asked = self._asked(searching=bool(most))
            try:
                question = Predict(asked.id, key, model.settings, [items[p] for p in left], _URGENCY[lane], most)
                frame = pack(question)
            except _CANNOT_TRAVEL as error:
                unfit = {place: reason for place in left if (reason := _unfit(items[place])) is not None}
                if not unfit:
                    raise ValueError("a batch beyond all bounds") from error
                said |= unfit
                left = [place for place in left if place not in unfit]
                continue
            asked.inputs = len(left)
            await process.ask(frame, asked)
            if asked.loaded is not None:
                model.description = self._described(asked.loaded)
            _raise_if_not_loaded(asked)
            model.pace.took(len(asked.answers), asked.busy)
            said |= {left[place]: _outcome(one) for place, one in asked.answers.items()}
            for place, uncertainty in asked.uncertainties.items():
                if isinstance(regions := said[left[place]], bytes):
                    said[left[place]] = Told(regions, uncertainty=uncertainty)
            lost += [([left[place] for place in places], error) for places, error in asked.lost]
            left = [left[place] for place in asked.left]
            mysteries = mysteries + 1 if asked.mysterious else 0
            if left and asked.interrupted is not None and mysteries >= _MYSTERIES:
                lost.append((left, asked.interrupted))
                break
        return said, lost

    async def _load(self, key: str, settings: bytes) -> Description:
        for _ in range(_MYSTERIES):
            process = await self._started()
            asked = self._asked()
            await process.ask(pack(Load(asked.id, key, settings)), asked)
            _raise_if_not_loaded(asked)
            if asked.loaded is not None:
                return self._described(asked.loaded)
        raise CannotStart(f"its process ends before it is asked: {asked.interrupted}")

    def _described(self, loaded: Loaded) -> Description:
        told = {"provider": self._provider, "version": loaded.version, "runs_on": loaded.runs_on}
        _log.info("model loaded", extra=told)
        labels = {kind: tuple(values) for kind, values in loaded.labels.items()}
        return Description(loaded.version, frozenset(loaded.kinds), labels, loaded.runs_on)

    def _asked(self, *, searching: bool = False) -> Asked:
        limits = self._limits
        return Asked(next(self._numbers), limits.batch_seconds, limits.start_seconds, searching=searching)

    @contextmanager
    def _call(self) -> Iterator[None]:
        self._calls += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._quiet.set()

    # -------------------------------------------------------------------------------------------- the process

    async def _started(self) -> Process:
        if self._process is not None and self._process.running and not self._stopped:
            return self._process
        async with self._starting:
            if self._stopped:
                raise CannotStart("the worker was stopped")
            if self._process is not None and self._process.running:
                return self._process
            await self._sleep(self._backoff.seconds(self._failures))
            try:
                process, self._info = await Process.start(self._launch(), self.counts)
            except CannotStart:
                self._failures += 1
                raise
            self._process = process
            process.serve(self._ended)
            return process

    def _ended(self, process: Process, how: End) -> None:
        if self._process is process:
            self._process = None
        if process.worked:
            self._failures = 0
        if how.cause == "wanted":
            return
        self.counts.deaths += 1
        self.counts.timeouts += how.cause == "timeout"
        if not how.searching:  # a search is bounded, and must not wait longer and longer
            self._failures += 1
        _log.warning(
            "model worker died", extra={"provider": self._provider, "by": str(how.error), "failures": self._failures}
        )

    def _launch(self) -> Launch:
        command = (self._python, "-X", "faulthandler", "-m", "prelabel_provider.worker.main")
        limits = ("--memory-mib", str(self._limits.memory_mib or 0), "--models", str(self._limits.models))
        return Launch(
            provider=self._provider,
            command=(*command, "--provider", self._provider, *limits),
            variables=variables(self._python, self._limits.threads, self._environment),
            start_seconds=self._limits.start_seconds,
        )


def _written(settings: Mapping[str, JsonValue]) -> bytes:
    return json.dumps(dict(settings), ensure_ascii=False).encode()


def _raise_if_not_loaded(asked: Asked) -> None:
    if asked.refused is not None:
        raise BadSettings(asked.refused)
    match asked.unloadable:
        case None:
            return
        case WorkerTimeout():
            raise CannotLoad(f"loading a model took longer than {asked.load_seconds:g} s")
        case error:
            raise CannotLoad(f"loading a model: {error}")


def _unfit(item: Item) -> Failed | None:
    """Why an input cannot travel: numbers beyond 64 bits, texts that are no Unicode."""
    try:
        pack(Predict(0, "", b"", [item]))
    except _CANNOT_TRAVEL as error:
        return Failed("input", f"the data cannot be given to a model: {type(error).__name__}")
    return None


_CANNOT_TRAVEL = (OverflowError, ValueError, TypeError, RecursionError)


def _outcome(answer: bytes | NoAnswer) -> bytes | Failed:
    return Failed(answer.reason, answer.detail) if isinstance(answer, NoAnswer) else answer


def _failed(error: WorkerError) -> Failed:
    match error:
        case WorkerTimeout():
            return Failed("timeout", f"the model gave {error}")
        case ProviderRaised():
            return Failed("error", f"the model failed: {error}")
        case _:
            return Failed("worker_crashed", f"the model's process died of this input: {error}")
