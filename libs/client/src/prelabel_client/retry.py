"""What is sent again, when, and how often; and what an answer means. Generators of steps: see `wire`.

Repeated: what never left (nobody connected), and, if the request is repeatable, what got lost on the way and the
answers 429, 502, 503 and 504. `Retry-After` is obeyed; without one the wait doubles, with jitter.
"""

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from .errors import Defect, FieldError, NoAccess, NotFound, PrelabelError, Refused, TryLater, Unreachable
from .wire import Call, Lost, Open, Reply, Request, Send, Step, Steps, Wait

T = TypeVar("T")
AGAIN = frozenset({429, 502, 503, 504})
_NO_ACCESS = frozenset({401, 403})
_NOT_FOUND = frozenset({404, 410})


@dataclass(frozen=True, slots=True)
class Retries:
    """How patient a client is."""

    times: int = 6
    """Attempts at one request, the first included."""
    first: float = 0.2
    """Seconds before the second attempt; doubled for each further one."""
    longest: float = 20.0
    """Seconds between two attempts, at most."""
    patience: float = 60.0
    """Seconds that one request may wait in all. A Retry-After beyond it is told at once, as `TryLater`."""
    rng: random.Random = field(default_factory=random.SystemRandom)
    now: Callable[[], float] = time.time

    def waits(self) -> Generator[float, float | None, None]:
        """Seconds before each further attempt; it is sent the seconds that the answer asks for, if it does.

        Ends when patience ends.
        """
        left = self.patience
        asked = yield 0.0
        for number in range(self.times - 1):
            usual = min(self.longest, self.first * 2**number) * self.rng.uniform(0.5, 1.0)
            # Not earlier than asked, and not all callers at the same moment.
            wait = usual if asked is None else asked + self.rng.uniform(0, min(usual, 1.0))
            left -= wait
            if left < 0:
                return
            asked = yield wait


def exchange(call: Call[T], retries: Retries) -> Steps[T]:
    """One call, repeated as far as that does no harm. Raises `PrelabelError`."""
    reply = yield from _answered(Send, call.request, retries)
    return call.read(reply)


def opened(request: Request, retries: Retries) -> Steps[Reply]:
    """The same for an answer whose body is then read piece by piece."""
    reply: Reply = yield from _answered(Open, request, retries)
    return reply


def _answered(ask: Callable[[Request], Step], request: Request, retries: Retries) -> Generator[Step, Any, Reply]:
    waits = retries.waits()
    next(waits)
    while True:
        got = yield ask(request)
        if isinstance(got, Reply) and got.status < 400:
            return got
        error = error_of(got, retries.now)
        if not _may_repeat(request, got):
            raise error
        try:
            wait = waits.send(error.after if isinstance(error, TryLater) else None)
        except StopIteration:
            raise error from None
        yield Wait(wait)


def _may_repeat(request: Request, got: Reply | Lost) -> bool:
    if isinstance(got, Lost):
        return request.repeatable or not got.sent
    return request.repeatable and got.status in AGAIN


def error_of(got: Reply | Lost, now: Callable[[], float] = time.time) -> PrelabelError:
    """What an answer that is an error, or none at all, means to the caller."""
    if isinstance(got, Lost):
        return Unreachable(got.why)
    problem = _problem(got)
    detail = str(problem.get("detail") or f"the answer was HTTP {got.status}")
    code = str(problem.get("type", "")).rpartition(":")[2]
    if code == "not_found":  # no such route, as the framework says it
        detail = "this Prelabel does not know that request: is it another version?"
    if got.status in AGAIN:
        after = retry_after(got.headers.get("retry-after"), now)
        return TryLater(detail, code=code, status=got.status, after=after)
    if got.status in _NO_ACCESS or got.status in _NOT_FOUND:
        kind = NoAccess if got.status in _NO_ACCESS else NotFound
        return kind(detail, code=code, status=got.status)
    if 400 <= got.status < 500:
        return Refused(detail, code=code, status=got.status, fields=_fields(problem))
    return Defect(detail, code=code, status=got.status)


def retry_after(value: str | None, now: Callable[[], float]) -> float | None:
    """Seconds from a Retry-After: a number of them, or a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    except (ValueError, TypeError):
        return None


def _problem(reply: Reply) -> dict[str, Any]:
    try:
        found = reply.json()
    except Defect:
        return {}
    return found if isinstance(found, dict) else {}


def _fields(problem: dict[str, Any]) -> tuple[FieldError, ...]:
    listed = problem.get("errors")
    if not isinstance(listed, list):
        return ()
    return tuple(
        FieldError(str(one.get("pointer", "")), str(one.get("detail", ""))) for one in listed if isinstance(one, dict)
    )
