"""A target in this process, on virtual time, and the engine that calls it."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from prelabel_contract.names import Lane
from prelabel_provider.base import Description, Failed, Input, Predicted, ProviderSettings
from prelabel_provider.predictor import Told, key_of
from prelabel_provider.remote.base import Answers, Calling, Http, RemoteProvider
from prelabel_provider.remote.calls import RemoteCaller
from prelabel_provider.remote.failures import Throttled
from prelabel_provider.remote.http import Link
from prelabel_provider.remote.secrets import Secrets
from prelabel_runtime.egress import Egress, EgressPolicy, EgressSettings
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.store.quotas import Quotas, StoredQuota

from tests.rig.virtual_time import VirtualClock

Behave = Callable[[Sequence[Input]], Awaitable[Answers]]


def answers(batch: Sequence[Input], **more: Any) -> Answers:
    return Answers([(one.task, Predicted()) for one in batch], **more)


@dataclass
class Target:
    """Counts what it is asked; `behave` says what it does about it."""

    behave: Behave
    calls: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    """When, and about which tasks."""
    in_flight: int = 0
    most_in_flight: int = 0

    async def ask(self, batch: Sequence[Input]) -> Answers:
        self.calls.append((asyncio.get_running_loop().time(), tuple(one.task for one in batch)))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self.behave(batch)
        finally:
            self.in_flight -= 1

    def of_task(self) -> Counter[str]:
        """How often each task was asked about."""
        return Counter(task for _, tasks in self.calls for task in tasks)


def after(seconds: float) -> Behave:
    async def behave(batch: Sequence[Input]) -> Answers:
        await asyncio.sleep(seconds)
        return answers(batch)

    return behave


class Granting:
    """A target that takes so many calls in any second, and refuses the others at once."""

    def __init__(self, per_second: int, latency: float, *, retry_after: float | None = 1.0) -> None:
        self.refused = 0
        self._per_second = per_second
        self._latency = latency
        self._retry_after = retry_after
        self._taken: deque[float] = deque()

    async def __call__(self, batch: Sequence[Input]) -> Answers:
        now = asyncio.get_running_loop().time()
        while self._taken and self._taken[0] <= now - 1:
            self._taken.popleft()
        if len(self._taken) >= self._per_second:
            self.refused += 1
            raise Throttled("too many", after=self._retry_after)
        self._taken.append(now)
        await asyncio.sleep(self._latency)
        return answers(batch)


class OneSettings(ProviderSettings):
    name: str = "one"


class Scripted(RemoteProvider[OneSettings]):
    name = "scripted"
    kinds = frozenset({"span"})
    Settings = OneSettings
    targets: ClassVar[dict[str, Target]] = {}
    how: ClassVar[dict[str, Calling]] = {}

    def __init__(self, name: str) -> None:
        self._name = name

    @classmethod
    def load(cls, settings: OneSettings) -> "Scripted":
        return cls(settings.name)

    def describe(self) -> Description:
        return Description(f"{self._name}-1", self.kinds)

    def calling(self) -> Calling:
        return self.how[self._name]

    async def ask(self, batch: Sequence[Input], http: Http) -> Answers:
        return await self.targets[self._name].ask(batch)


class MemoryQuotas(Quotas):
    """Quotas of this process; `down` makes every call fail."""

    def __init__(self) -> None:
        self.down = False
        self._stored: dict[str, StoredQuota] = {}

    async def get(self, quota: str) -> StoredQuota | None:
        await self._answer()
        return self._stored.get(quota)

    async def put(self, quota: StoredQuota) -> bool:
        await self._answer()
        before = self._stored.get(quota.quota)
        if (before.version if before else 0) != quota.version - 1:
            return False
        self._stored[quota.quota] = quota
        return True

    async def _answer(self) -> None:
        await asyncio.sleep(0.002)
        if self.down:
            raise Unavailable("the store")


@dataclass
class Scene:
    """Targets by name, and one caller of them."""

    caller: RemoteCaller
    metrics: Metrics
    quotas: MemoryQuotas

    async def ask(
        self, tasks: Sequence[str], *, name: str = "one", lane: Lane = Lane.BULK, seconds: float | None = None
    ) -> Sequence[bytes | Told | Failed]:
        """Predict tasks; `seconds`: their deadline."""
        settings = {"name": name}
        await self.caller.load(settings)
        deadline = None if seconds is None else VirtualClock().now_ms() + round(seconds * 1000)
        inputs = [Input(task, {"text": task}, "text", deadline) for task in tasks]
        return await self.caller.predict_each(key_of(settings), inputs, lane)

    def counted(self, name: str) -> float:
        """A metric, over all of its labels."""
        samples = [s for family in self.metrics.registry.collect() for s in family.samples if s.name == name]
        return sum(sample.value for sample in samples)


@asynccontextmanager
async def scene(
    targets: Mapping[str, Target] | Target,
    *,
    quotas: MemoryQuotas | None = None,
    member: str = "me",
    patience: float = 120.0,
    each: Mapping[str, Mapping[str, Any]] | None = None,
    **how: Any,
) -> AsyncIterator[Scene]:
    """One caller; `how` says how targets are called, otherwise than by default, and `each` how one of them is."""
    by_name = {"one": targets} if isinstance(targets, Target) else targets
    callings = {name: replace(Calling(name), **{**how, **(each or {}).get(name, {})}) for name in by_name}
    provider = type("Scripted", (Scripted,), {"targets": by_name, "how": callings})
    metrics, clock = Metrics(), VirtualClock()
    egress = Egress(EgressPolicy(), EgressSettings(), purpose="test", metrics=metrics, clock=clock)
    caller = RemoteCaller(
        provider,
        Link(egress, Secrets({}), clock, 1 << 20),
        quotas := quotas or MemoryQuotas(),
        member=member,
        patience=patience,
        clock=clock,
        rng=random.Random(7),
        metrics=metrics,
    )
    try:
        yield Scene(caller, metrics, quotas)
    finally:
        await caller.stop()


def names(count: int, stem: str = "t") -> list[str]:
    return [f"{stem}{number}" for number in range(count)]


async def keep_asking(here: Scene, seconds: float, *, at_once: int = 256, name: str = "one") -> int:
    """A backlog without end, for so long; how many were answered."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    answered = 0

    async def one_after_another(stem: str) -> None:
        nonlocal answered
        number = 0
        while loop.time() < until:
            (said,) = await here.ask([f"{stem}-{number}"], name=name)
            answered += isinstance(said, Told) and loop.time() <= until
            number += 1

    workers = [asyncio.create_task(one_after_another(f"w{number}")) for number in range(at_once)]
    await asyncio.sleep(seconds)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return answered
