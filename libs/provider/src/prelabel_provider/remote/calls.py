"""The predictor of a remote provider: its models are called, in this process, and their answers matched to tasks.

    caller = RemoteCaller(RestProvider, link, store.quotas, member=runtime.new_id(), …)
    await caller.load({"url": "https://ner.example.org/predict"})
    outcomes = await caller.predict_each(key_of({"url": "https://ner.example.org/predict"}), inputs)

Any number of batches are asked about at once: what goes when is decided per target, in its gate.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from importlib.metadata import entry_points
from typing import Any

from prelabel_contract.errors import field_errors
from prelabel_contract.names import Lane
from prelabel_runtime import log
from prelabel_runtime.clock import Clock
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.store.quotas import Quotas
from pydantic import JsonValue, ValidationError

from ..base import REMOTE_ENTRY_POINTS, BadSettings, Description, Failed, Input
from ..predictor import CannotStart, Predictor, ProviderInfo, Told, key_of
from .asks import URGENCY, Ask, Said
from .base import Calling, RemoteProvider
from .cost import Costs
from .gate import Gate, Model, Tools
from .http import Link
from .quota import Rate, SharedRate

_log = log.get("prelabel.remote")

MODELS = 256
"""Models, and targets, that are kept prepared."""
KEPT = 4096
"""Tasks of batches that were given back, whose answers are kept."""


class RemoteCaller(Predictor):
    """The models of one remote provider."""

    def __init__(
        self,
        provider: type[RemoteProvider[Any]],
        link: Link,
        quotas: Quotas,
        *,
        member: str,
        patience: float,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics,
    ) -> None:
        """`member`: this process's name among those that share a rate; `patience`: see `RemoteSettings`."""
        self._provider = provider
        self._quotas = quotas
        self._member = member
        self._clock = clock
        self._rng = rng
        self._link = link
        self._tools = Tools(provider.name, link, clock, metrics, Costs(provider.name, metrics), patience)
        self._models: OrderedDict[str, tuple[Model, Description]] = OrderedDict()
        self._gates: OrderedDict[str, Gate] = OrderedDict()
        self._rates: dict[Rate, SharedRate] = {}
        self._kept: OrderedDict[tuple[str, str], tuple[Input, Said | Ask]] = OrderedDict()
        """What became of tasks whose batch had to be given back: nobody is asked twice for that."""

    async def start(self) -> ProviderInfo:
        """Calls nobody: a target may be away."""
        name = self._provider.name
        (found,) = entry_points(group=REMOTE_ENTRY_POINTS, name=name)
        package = found.dist.version if found.dist is not None else ""
        return ProviderInfo(name, package, self._provider.kinds, self._provider.Settings.model_json_schema())

    async def stop(self) -> None:
        """Give up what is under way, and give parts of rates back."""
        await asyncio.gather(*(gate.stop() for gate in self._gates.values()))
        await asyncio.gather(*(rate.stop() for rate in self._rates.values()))
        await self._link.egress.aclose()

    def turn(self, lane: Lane, work: float = 1.0) -> AbstractAsyncContextManager[None]:
        """At once: gates decide who goes when, task by task."""
        return nullcontext()

    async def load(self, settings: Mapping[str, JsonValue]) -> Description:
        """Prepare a model. Raises `BadSettings`."""
        key = key_of(settings)
        if (known := self._models.get(key)) is not None:
            self._models.move_to_end(key)
            return known[1]
        provider, description, calling = self._prepared(settings)
        while len(self._models) >= MODELS:
            self._models.popitem(last=False)
        model = Model(key, provider, description.version, calling, self._shared(calling.rate))
        self._models[key] = model, description
        return description

    def description(self, key: str) -> Description:
        """A model as it was loaded; its answers may name other versions."""
        return self._models[key][1]

    async def predict_each(
        self, key: str, inputs: Sequence[Input], lane: Lane = Lane.BULK
    ) -> Sequence[bytes | Told | Failed]:
        """One answer per input.

        Raises `CannotStart` if some cannot be had now; what was answered until then is kept for the next time.
        """
        known = self._models[key]
        model = known[0]
        asks = [self._ask(key, one, lane) for one in inputs]
        waiting = [ask for ask in asks if isinstance(ask, Ask)]
        if waiting:
            self._gate(model.calling).ask(model, waiting)
            try:
                await asyncio.wait([ask.answer for ask in waiting])
            except asyncio.CancelledError:
                for ask in waiting:
                    ask.answer.cancel()
                raise
        if down := [ask for ask in waiting if ask.answer.exception() is not None]:
            self._keep(key, inputs, asks)
            raise CannotStart(str(down[0].answer.exception()))
        self._models[key] = known  # others may have pushed it out meanwhile
        return [ask.answer.result() if isinstance(ask, Ask) else ask for ask in asks]

    @property
    def restarts(self) -> Mapping[str, int]:
        """None: there is nothing to restart."""
        return {}

    # ------------------------------------------------------------------------------------------------------------

    def _prepared(self, settings: Mapping[str, JsonValue]) -> tuple[RemoteProvider[Any], Description, Calling]:
        try:
            provider = self._provider.load(self._provider.Settings.model_validate(dict(settings)))
            return provider, provider.describe(), provider.calling()
        except ValidationError as error:
            wrong = field_errors(error)
            raise BadSettings("; ".join(f"{e.pointer or '(settings)'}: {e.detail}" for e in wrong)) from None
        except BadSettings:
            raise
        except Exception as defect:  # it fails what asks with these settings, and not the process
            _log.error("remote provider raised", provider=self._provider.name, error=type(defect).__name__)
            said = (str(defect).strip().splitlines() or [""])[0][:300]
            raise BadSettings(f"the provider cannot use them: {type(defect).__name__}: {said}") from defect

    def _ask(self, key: str, one: Input, lane: Lane) -> Ask | Said:
        known = self._kept.pop((key, one.task), None)
        before = known[1] if known is not None and _same(known[0], one) else None
        if before is not None and not isinstance(before, Ask):
            return before
        now = self._clock.monotonic()
        left = float("inf") if one.deadline_ms is None else (one.deadline_ms - self._clock.now_ms()) / 1000
        answer: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        ask = Ask(one, URGENCY[lane], answer, now + left)
        if before is not None:
            ask.attempts, ask.failure, ask.alone = before.attempts, before.failure, before.alone
        return ask

    def _keep(self, key: str, inputs: Sequence[Input], asks: Sequence[Ask | Said]) -> None:
        for one, ask in zip(inputs, asks, strict=True):
            answered = isinstance(ask, Ask) and ask.answer.exception() is None
            self._kept[key, one.task] = one, ask.answer.result() if isinstance(ask, Ask) and answered else ask
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def _gate(self, calling: Calling) -> Gate:
        gate = self._gates.get(calling.target)
        if gate is None:
            idle = [name for name, other in self._gates.items() if other.idle and not other.is_open]
            for name in idle[: max(0, len(self._gates) - MODELS + 1)]:
                del self._gates[name]
            gate = self._gates[calling.target] = Gate(self._tools)
        return gate

    def _shared(self, rate: Rate | None) -> SharedRate | None:
        if rate is None:
            return None
        if rate not in self._rates:
            # Settings that state one target's rate differently are members of their own: what they hold adds up.
            member = f"{self._member} {rate.per_second:g}"
            self._rates[rate] = SharedRate(rate, self._quotas, member, clock=self._clock, rng=self._rng)
        return self._rates[rate]


def _same(one: Input, other: Input) -> bool:
    return one.field == other.field and (one.data is other.data or one.data == other.data)
