"""The way to one target: who goes next, when, and what comes of it.

Whatever is to be asked waits here, and one loop sends it: when the breaker lets it, `Retry-After` has passed, the rate
has room, and fewer calls are under way than the target takes. Only then it is chosen who goes: the most urgent, with as
many others as go into one call. So an interactive task waits for the next free place, however many others came before.
Models may have rates of their own: one that has no room in its rate lets those behind it go first.

While a target cannot be asked, tasks wait for a few seconds here; then they go back to their lane, which waits with
them, visibly. Once a target has answered nobody for longer than patience goes, they fail: a run must not hang for ever,
and the tasks of other models in the same lane must not wait with it.
"""

import asyncio
import heapq
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

from prelabel_runtime import log
from prelabel_runtime.clock import Clock
from prelabel_runtime.metrics import Metrics

from ..base import Failed
from .asks import Ask, Waiting
from .base import Answers, Calling, RemoteProvider
from .breaker import Breaker, Circuit
from .budget import RetryBudget
from .concurrency import Concurrency
from .cost import Costs
from .failures import CallFailed, InputRefused, NotAllowed, TargetFailed, TargetRefuses, Throttled
from .http import Link
from .matching import matched, told
from .quota import SharedRate

_log = log.get("prelabel.remote")

HELD = 5.0
"""Seconds that a task waits here for a target that cannot be asked."""
STALE = 60.0
"""Seconds without anything to ask, after which it is not known any more since when a target has not answered."""
FIRST_REPEAT = 0.5
"""Seconds before the first repeat; doubled by each that fails."""
LONGEST_REPEAT = 15.0
"""Seconds before any repeat that the target does not ask to wait for longer."""
EXPIRED = Failed("deadline", "nobody waits for it any more")
"""What is said of a task whose deadline passed before it was answered."""


class Down(Exception):
    """The target cannot be asked now."""


@dataclass(slots=True, eq=False)
class Model:
    """A model behind a target."""

    key: str
    provider: RemoteProvider  # type: ignore[type-arg]
    version: str
    """What answers have that tell none."""
    calling: Calling
    rate: SharedRate | None = None
    """What its settings say that the target grants."""
    waiting: Waiting = field(default_factory=Waiting)


@dataclass(frozen=True, slots=True)
class Tools:
    """What every gate of a provider works with."""

    provider: str
    link: Link
    clock: Clock
    metrics: Metrics
    costs: Costs
    patience: float
    """Seconds without an answer after which a target's tasks fail."""


class Gate:
    """One target's."""

    def __init__(self, tools: Tools) -> None:
        self.concurrency = Concurrency()
        self.breaker = Breaker()
        self.budget = RetryBudget()
        self._tools = tools
        self._rates: set[SharedRate] = set()
        self._models: dict[str, Model] = {}
        self._deadlines: list[tuple[float, int, Ask]] = []
        self._line = count()
        """Places in line. Who is repeated keeps its place: those that came with it wait for it."""
        self._succeeded_at = float("-inf")
        self._not_before = float("-inf")
        """The target asked to wait until then."""
        self._failing_since: float | None = None
        self._blocked_since: float | None = None
        self._asked_at = float("-inf")
        self._told_open = False
        self._last: CallFailed | None = None
        """Why it was not answered last."""
        self._changed = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """The target is not called, but for probes."""
        return self.breaker.state is not Circuit.CLOSED

    @property
    def idle(self) -> bool:
        """Nothing waits, nothing is under way."""
        return not self._calls and not any(model.waiting for model in self._models.values())

    def ask(self, model: Model, asks: Sequence[Ask]) -> None:
        """Get them answered. Their futures raise `Down` where that cannot be done now."""
        now = self._tools.clock.monotonic()
        if now - self._asked_at > STALE:
            self._failing_since = None
        self._asked_at = now
        model = self._models.setdefault(model.key, model)  # it may have been loaded anew while tasks of it wait
        for ask in asks:
            ask.place = next(self._line)
            model.waiting.put(ask)
            if ask.deadline != float("inf"):
                heapq.heappush(self._deadlines, (ask.deadline, ask.place, ask))
        self._follow(model)
        self._changed.set()
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())

    async def stop(self) -> None:
        """Give up what is under way."""
        for rate in self._rates:
            rate.listeners.discard(self._changed.set)
        tasks = [*self._calls, *([self._sending] if self._sending is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(self, model: Model) -> None:
        """What the settings say of the models that are asked: they may have been changed."""
        self.concurrency.bound(max(one.calling.concurrency for one in self._models.values() if one.waiting))
        if model.rate is not None and model.rate not in self._rates:
            self._rates.add(model.rate)
            model.rate.listeners.add(self._changed.set)

    # ------------------------------------------------------------------------------------------- who goes, and when

    async def _send_all(self) -> None:
        while True:
            self._changed.clear()
            now = self._tools.clock.monotonic()
            self._expire(now)
            if self.idle:
                self._models.clear()
                return
            wait = self._go_on(now)
            if wait > 0:
                await self._until_changed(min(wait, self._next_deadline() - now))

    def _go_on(self, now: float) -> float:
        """Send the next call if that may be done now; else the seconds until it may."""
        if not self._waiting():
            return float("inf")
        if (blocked := self._blocked(now)) > 0:
            return blocked
        next_repeat = self._wake_repeats(now)
        crowded = self.concurrency.wait(now)
        if crowded == float("inf"):
            return next_repeat
        model, full = self._next(now)
        if model is None or crowded > 0:
            return min(max(crowded, full), next_repeat)
        self._send(model, now)
        return 0.0

    async def _until_changed(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == float("inf") else max(seconds, 1e-3)):
                await self._changed.wait()

    def _next(self, now: float) -> tuple[Model | None, float]:
        """The model of the most urgent ask whose rate has room; else the seconds until the first of them has."""
        heads = [(head, key) for key, model in self._models.items() if (head := model.waiting.head()) is not None]
        least = float("inf")
        for _, key in sorted(heads):
            model = self._models[key]
            full = 0.0 if model.rate is None else model.rate.wait(now)
            if full <= 0:
                return model, 0.0
            least = min(least, full)
        return None, least

    def _blocked(self, now: float) -> float:
        """Seconds for which the target must not be called; what has waited for that too long is given back."""
        seconds = max(self.breaker.wait(now), self._not_before - now)
        if seconds <= 0:
            self._blocked_since = None
            return 0.0
        if self._blocked_since is None:
            self._blocked_since = now
        held = now - self._blocked_since
        if self._is_hopeless(now):
            self._end_all(self._hopeless())
        elif held >= HELD:
            self._end_all(Down(self._why()))
        else:
            seconds = min(seconds, HELD - held)
        return seconds

    def _waiting(self) -> bool:
        return any(model.waiting for model in self._models.values())

    def _end_all(self, how: Failed | Down) -> None:
        for model in self._models.values():
            for ask in model.waiting.empty():
                if isinstance(how, Failed):
                    ask.tell(how)
                else:
                    ask.give_back(how)

    def _is_hopeless(self, now: float) -> bool:
        return self._failing_since is not None and now - self._failing_since > self._tools.patience

    def _hopeless(self) -> Failed:
        failure = self._last or TargetFailed("the target does not answer")
        return Failed(failure.reason, f"{failure.detail}, for longer than {self._tools.patience:g} s")

    def _why(self) -> str:
        return "the target cannot be asked" if self._last is None else self._last.detail

    def _expire(self, now: float) -> None:
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][2].done):
            heapq.heappop(self._deadlines)[2].tell(EXPIRED)

    def _next_deadline(self) -> float:
        return self._deadlines[0][0] if self._deadlines else float("inf")

    def _wake_repeats(self, now: float) -> float:
        """Let those repeats go that are due, as far as the budget goes; the seconds until there may be more."""
        return min((self._wake_repeats_of(model, now) for model in self._models.values()), default=float("inf"))

    def _wake_repeats_of(self, model: Model, now: float) -> float:
        while (due := model.waiting.due(now)) is not None:
            if due.first is not None and now - due.first > model.calling.total_seconds:
                self._give_up(due, now)
                continue
            if self.breaker.state is Circuit.CLOSED:
                part = 1 / model.calling.tasks_per_call
                if not self.budget.take(now, part):
                    return self.budget.wait(now, part)
            self._tools.metrics.remote_retries.labels(self._tools.provider).inc()
            if self.is_open:
                due.place = next(self._line)  # another one is the next probe: perhaps it is this task that does harm
            model.waiting.wake()
        return model.waiting.next_due() - now

    # ------------------------------------------------------------------------------------------------- one call

    def _send(self, model: Model, now: float) -> None:
        asks = model.waiting.take(model.calling.tasks_per_call)
        probe = self.breaker.begin()
        self.concurrency.begin(now)
        if model.rate is not None:
            model.rate.take(now)
        for ask in asks:
            if ask.first is None:
                ask.first = now
        self.budget.called(sum(ask.failure is None for ask in asks) / model.calling.tasks_per_call)
        task = asyncio.create_task(self._call(model, asks, now, probe=probe))
        self._calls.add(task)
        self._tools.metrics.remote_in_flight.labels(self._tools.provider).inc()
        task.add_done_callback(self._called)

    def _called(self, task: "asyncio.Task[None]") -> None:
        self._calls.discard(task)
        self._tools.metrics.remote_in_flight.labels(self._tools.provider).dec()
        self._changed.set()

    async def _call(self, model: Model, asks: Sequence[Ask], began: float, *, probe: bool) -> None:
        seconds = min(model.calling.attempt_seconds, max(ask.deadline for ask in asks) - began)
        try:
            async with asyncio.timeout(seconds):
                http = self._tools.link.attempt(seconds)
                if probe:
                    await model.provider.check(http)
                answers = await model.provider.ask([ask.input for ask in asks], http)
        except TimeoutError:
            self._failed(model, asks, TargetFailed("no whole answer in time", late=True), began, seconds, probe=probe)
        except CallFailed as failure:
            self._failed(model, asks, failure, began, seconds, probe=probe)
        except asyncio.CancelledError:
            self.concurrency.ended()
            self.breaker.ended(self._tools.clock.monotonic(), probe=probe)
            raise
        except Exception as defect:
            _log.error("remote provider raised", provider=self._tools.provider, error=type(defect).__name__)
            refused = InputRefused(f"the provider failed: {type(defect).__name__}")
            self._failed(model, asks, refused, began, seconds, probe=probe)
        else:
            self._answered(model, asks, answers, began, probe=probe)
        self._tell_circuit()

    def _tell_circuit(self) -> None:
        if self.is_open is self._told_open:
            return
        self._told_open = self.is_open
        self._tools.metrics.remote_open.labels(self._tools.provider).inc(1 if self.is_open else -1)
        if self.is_open:
            _log.warning("target cannot be asked", provider=self._tools.provider, reason=self._why())
        else:
            _log.info("target answers again", provider=self._tools.provider)

    def _count(self, result: str, began: float) -> float:
        now = self._tools.clock.monotonic()
        self._tools.metrics.remote_calls.labels(self._tools.provider, result).inc()
        self._tools.metrics.remote_seconds.labels(self._tools.provider).observe(now - began)
        return now

    def _answered(self, model: Model, asks: Sequence[Ask], answers: Answers, began: float, *, probe: bool) -> None:
        now = self._count("answered", began)
        self.concurrency.succeeded(now, began=began)
        self.breaker.succeeded(now, began=began, probe=probe)
        self._failing_since = self._last = None
        self._succeeded_at = now
        metrics, provider = self._tools.metrics, self._tools.provider
        self._tools.costs.add(answers.cost)
        found = matched([ask.input.task for ask in asks], answers.said)
        for why, tasks in found.odd.items():
            metrics.remote_unmatched.labels(provider, why).inc(tasks)
        version = answers.version or model.version
        for ask in asks:
            prediction = found.said.get(ask.input.task)
            if prediction is None:
                self._again(model, ask, TargetFailed("there was no answer, or no clear one, for this task"), now)
                continue
            ask.tell(told(prediction, version))

    def _failed(
        self, model: Model, asks: Sequence[Ask], failure: CallFailed, began: float, seconds: float, *, probe: bool
    ) -> None:
        late = isinstance(failure, TargetFailed) and failure.late
        now = self._count("late" if late else failure.reason, began)
        if late and seconds < model.calling.attempt_seconds:
            # It was the task's own deadline that was short: the target is not to blame.
            self.concurrency.ended()
            self.breaker.ended(now, probe=probe)
            for ask in asks:
                ask.tell(EXPIRED)
            return
        self._judge(model, failure, now, began, probe=probe)
        for ask in asks:
            if isinstance(failure, NotAllowed):
                ask.tell(Failed(failure.reason, failure.detail))
            elif isinstance(failure, InputRefused):
                self._refused(model, ask, failure, others=len(asks) > 1)
            else:
                self._again(model, ask, failure, now)

    def _judge(self, model: Model, failure: CallFailed, now: float, began: float, *, probe: bool) -> None:
        """What a failure says about the target."""
        match failure:
            case InputRefused():
                self.concurrency.succeeded(now, began=began)
                self.breaker.succeeded(now, began=began, probe=probe)
                self._failing_since = None
                return
            case NotAllowed():
                self.concurrency.ended()
                self.breaker.ended(now, probe=probe)
                return
            case TargetRefuses():
                self.concurrency.ended()
                self.breaker.failed(now, began=began, probe=probe, at_once=True)
            case Throttled():
                self.concurrency.overloaded(now, began=began, by_rate=model.rate is not None)
                self.breaker.succeeded(now, began=began, probe=probe)
                if model.rate is not None:
                    model.rate.pace.refused(now)
            case _:
                self.concurrency.overloaded(now, began=began)
                self.breaker.failed(now, began=began, probe=probe)
        self._last = failure
        if self._failing_since is None:
            self._failing_since = began
        after = getattr(failure, "after", None)
        if after is not None:
            self._not_before = max(self._not_before, now + after)

    def _refused(self, model: Model, ask: Ask, failure: InputRefused, *, others: bool) -> None:
        if not others:
            ask.tell(Failed(failure.reason, failure.detail))
            return
        ask.alone, ask.failure = True, failure
        model.waiting.put(ask)  # once, and its target is well: the budget is for other repeats

    # --------------------------------------------------------------------------------------------------- once more

    def _again(self, model: Model, ask: Ask, failure: CallFailed, now: float) -> None:
        """Ask once more, if that is worth it."""
        ask.failure = failure
        if not isinstance(failure, Throttled):
            ask.attempts += 1
        if ask.attempts >= model.calling.attempts and self._answers_others(ask):
            self._give_up(ask, now)
            return
        wait = min(FIRST_REPEAT * 2.0 ** max(0, ask.attempts - 1), LONGEST_REPEAT)
        model.waiting.put_later(ask, max(now + wait, self._not_before))

    def _answers_others(self, ask: Ask) -> bool:
        """Or answered something about it: then it is this task that it cannot answer."""
        return not self.is_open and ask.first is not None and self._succeeded_at >= ask.first

    def _give_up(self, ask: Ask, now: float) -> None:
        """Its target answers others, but not this one; or it answers nobody, or not so many."""
        failure = ask.failure or TargetFailed("there was no answer")
        if self._answers_others(ask) and not isinstance(failure, Throttled):
            ask.tell(Failed(failure.reason, f"{failure.detail}, {ask.attempts} times"))
        elif self._is_hopeless(now):
            ask.tell(self._hopeless())
        else:
            ask.give_back(Down(failure.detail))
