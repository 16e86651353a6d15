"""One attempt over the runtime's egress client: what comes back, by what the engine does next."""

from dataclasses import dataclass

from prelabel_runtime.clock import Clock
from prelabel_runtime.egress import Egress, EgressError, Forbidden, TooSlow

from .base import Http, Request, Response
from .failures import CallFailed, InputRefused, NotAllowed, TargetFailed, TargetRefuses, Throttled
from .retry_after import retry_after
from .secrets import Secret, Secrets

_OF_INPUT = frozenset({400, 413, 422})
_OF_TARGET = frozenset({408, 425, 529})


@dataclass(frozen=True, slots=True)
class Link:
    """What attempts are made over."""

    egress: Egress
    secrets: Secrets
    clock: Clock
    answer_bytes: int
    """An answer is at most so long."""

    def attempt(self, seconds: float) -> "Attempt":
        """One attempt, of so many seconds in all."""
        return Attempt(self, self.clock.monotonic() + seconds)


@dataclass(frozen=True, slots=True)
class Attempt(Http):
    """One attempt, perhaps of several requests."""

    link: Link
    until: float

    async def send(self, request: Request) -> Response:
        """Call, and judge the answer."""
        link = self.link
        headers = [(name, self._text(value, request.url)) for name, value in request.headers]
        try:
            answer = await link.egress.request(
                request.method,
                request.url,
                headers=headers,
                content=request.content,
                deadline=max(0.001, self.until - link.clock.monotonic()),
                max_bytes=link.answer_bytes,
            )
        except Forbidden as error:
            raise NotAllowed(error.detail) from None
        except TooSlow:
            raise TargetFailed("no whole answer in time", late=True) from None
        except EgressError as error:
            raise TargetFailed(f"{error.outside} ({error.result})") from None
        if not 200 <= answer.status < 300:
            raise refusal(answer.status, retry_after(answer.headers.get("retry-after"), link.clock.now_ms()))
        if answer.truncated:
            raise InputRefused(f"the answer is longer than {link.answer_bytes} bytes, or compressed")
        return Response(answer.status, answer.headers, answer.body)

    def _text(self, value: str | Secret, url: str) -> str:
        return self.link.secrets.value(value, url) if isinstance(value, Secret) else value


def refusal(status: int, after: float | None) -> CallFailed:
    """What a status that is none of success means."""
    said = f"the target answered {status}"
    if status == 429:
        return Throttled(said, after=after)
    if status >= 500 or status in _OF_TARGET:
        return TargetFailed(said, after=after)
    if status in _OF_INPUT:
        return InputRefused(said)
    return TargetRefuses(said)
