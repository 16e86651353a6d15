"""Getting a version ready beside what serves, in a second process of the provider, which then takes over.

The worker does one thing at a time: a model that it loads keeps all others from answering for as long. So a version is
loaded, tried and warmed where nobody waits for it, together with the models that are loaded already, and the process
that has them all takes the first one's place between two questions. For that time there are two of them in memory.
A version that crashes, hangs or eats memory does so there.

Where there is no room for two (`InPlace`), it is loaded where the others are, and they wait.
"""

import asyncio
import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prelabel_contract.names import Lane

from ..base import BadSettings, Failed, Input
from ..predictor import CannotLoad
from ..worker.process import WorkerError
from ..worker.worker import ModelWorker
from .served import Served

_MIB = 1 << 20


class CanaryFailed(Exception):
    """A version loads, but does not answer what the one before it answered."""

    def __init__(self, detail: str, *, again: bool = False) -> None:
        """`again`: another time it may go better."""
        super().__init__(detail)
        self.again = again


@dataclass(frozen=True, slots=True)
class Memory:
    """Of the model's processes, resident, in MiB; None: not known here."""

    before: float | None = None
    """The one that served."""
    beside: float | None = None
    """Both together, while there were two."""
    after: float | None = None
    """The one that serves now, with what is kept for a rollback."""


def resident_mib(pid: int | None) -> float | None:
    """Memory of a process that is in use, in MiB; None where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / _MIB, 1)


@dataclass(frozen=True, slots=True)
class Swap(ABC):
    """Puts versions into a worker."""

    worker: ModelWorker
    models: int
    """Models that its process keeps loaded, 1 or more."""
    canary_seconds: float
    """For the inputs that a version is tried on."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One version at a time."""

    async def load(self, wanted: Served, canary: Sequence[Input], serving: Callable[[], set[str]]) -> Memory:
        """Get a version ready to be asked. `serving`: keys of the models that are in use.

        Raises `BadSettings`, `CannotLoad` and `CanaryFailed` for the version, `CannotStart` for no fault of its.
        """
        if not self._is_loaded(wanted):
            async with self.turn:
                if not self._is_loaded(wanted):
                    return await self._load(wanted, canary, serving)
        return Memory(after=resident_mib(self.worker.pid))

    def _is_loaded(self, wanted: Served) -> bool:
        """Whether it was in use before, and answered: then it waits for nobody."""
        return wanted.key in self.worker.held

    @abstractmethod
    async def _load(self, wanted: Served, canary: Sequence[Input], serving: Callable[[], set[str]]) -> Memory: ...

    async def _try(self, worker: ModelWorker, key: str, canary: Sequence[Input]) -> None:
        if not canary:  # it was warmed as it was loaded, on its provider's own input
            return
        try:
            async with asyncio.timeout(self.canary_seconds):
                said = await worker.predict(key, canary, Lane.INTERACTIVE)
        except TimeoutError:
            raise CanaryFailed(
                f"{len(canary)} inputs were not answered within {self.canary_seconds:g} s", again=True
            ) from None
        except WorkerError as error:
            raise CanaryFailed(f"at inputs that were answered before: {error}", again=True) from error
        if failed := [one for one in said if isinstance(one, Failed)]:
            what = f"{len(failed)} of {len(canary)} inputs that were answered before: {failed[0].reason}"
            raise CanaryFailed(f"it fails at {what}")


class InPlace(Swap):
    """Loads a version where the others are: they wait meanwhile, and start anew if it takes the process with it."""

    __slots__ = ()

    async def _load(self, wanted: Served, canary: Sequence[Input], serving: Callable[[], set[str]]) -> Memory:
        before = resident_mib(self.worker.pid)
        await self.worker.reload(wanted.settings)
        try:
            await self._try(self.worker, wanted.key, canary)
        except CanaryFailed:
            await self.worker.unload(wanted.key)  # what is loaded counts as tried
            raise
        return Memory(before, None, resident_mib(self.worker.pid))


class Beside(Swap):
    """Loads a version in a second process, with all models that are loaded; then that one takes over."""

    __slots__ = ()

    async def _load(self, wanted: Served, canary: Sequence[Input], serving: Callable[[], set[str]]) -> Memory:
        left_out: set[str] = set()
        while True:
            other = self.worker.another()
            try:
                await other.load(wanted.settings)
                await self._try(other, wanted.key, canary)
                if (bad := await self._bring(other, lambda: self._others(wanted.key, serving(), left_out))) is not None:
                    left_out.add(bad)
                    continue
                before, after = resident_mib(self.worker.pid), resident_mib(other.pid)
                await self.worker.take_over(other)
                return Memory(before, (before or 0.0) + after if after is not None else None, after)
            finally:
                await other.stop(grace=1.0)

    def _others(self, wanted: str, serving: set[str], left_out: set[str]) -> list[str]:
        """The models that come along: those in use first, then the latest that were. The latest is loaded last."""
        latest = [key for key in reversed(self.worker.held) if key != wanted and key not in left_out]
        latest.sort(key=lambda key: key not in serving)
        return latest[: self.models - 1][::-1]

    async def _bring(self, other: ModelWorker, keys: Callable[[], Sequence[str]]) -> str | None:
        """Load more models, also such as come into use meanwhile; the key of one that took the process with it."""
        brought: set[str] = set()
        while len(brought) < self.models - 1:
            if (key := next((key for key in keys() if key not in brought), None)) is None:
                break
            brought.add(key)
            try:
                with contextlib.suppress(BadSettings):  # it will be refused when it is asked, as before
                    await other.load(self.worker.settings(key))
            except CannotLoad:
                return key
        return None
