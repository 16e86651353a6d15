"""One attempt: a body, signed and posted to an endpoint; and what came of it, fit to be shown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from prelabel_contract.events import SubscriptionChanged
from prelabel_runtime.clock import Clock
from prelabel_runtime.egress import Answer, Egress, EgressError, Forbidden, TooSlow
from prelabel_runtime.metrics import Metrics

from .schedule import LONGEST_RETRY_AFTER
from .signing import signatures
from .subscriptions import header_purpose, secret_purpose
from .vault import Vault

MAX_ANSWER_BYTES = 64 * 1024
SHOWN_BYTES = 20_000
"""Of an answer, kept in the delivery log."""
_OURS = {"content-type": "application/json", "user-agent": "Prelabel-Webhooks/1"}
_MASK = "…"


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint, its secrets open. Made anew whenever its subscription changes; never stored, never logged."""

    url: str
    headers: tuple[tuple[str, str], ...]
    secrets: tuple[tuple[str, int | None], ...]
    """Signing secrets, the newest first, each with the moment it ends."""

    @classmethod
    def of(cls, row: SubscriptionChanged, vault: Vault) -> "Target":
        """Open a subscription's secrets. Raises `Unopenable`."""
        return cls(
            url=row.url,
            headers=tuple(
                (name, vault.open(value, purpose=header_purpose(row.id, name))) for name, value in row.headers.items()
            ),
            secrets=tuple((vault.open(one, purpose=secret_purpose(row.id)), one.expires_ms) for one in row.secrets),
        )

    def signing(self, now_ms: int) -> list[str]:
        """The secrets that sign now; the newest always does."""
        return [secret for at, (secret, ends) in enumerate(self.secrets) if at == 0 or ends is None or ends > now_ms]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of an attempt."""

    at_ms: int
    result: str
    """delivered, gone, throttled, refused (another status), too_slow, unreachable, bad_answer, forbidden."""
    seconds: float
    status: int | None = None
    error: str = ""
    answer: str = ""
    retry_after: float | None = None
    """Seconds that the endpoint asks us to wait."""

    @property
    def delivered(self) -> bool:
        """The endpoint took it."""
        return self.result == "delivered"

    def shown(self) -> dict[str, Any]:
        """As JSON, for the delivery log."""
        fields: dict[str, Any] = {"at_ms": self.at_ms, "result": self.result, "seconds": round(self.seconds, 3)}
        if self.status is not None:
            fields |= {"status": self.status, "answer": self.answer}
        return fields | ({"error": self.error} if self.error else {})


class Sender:
    """Makes attempts."""

    def __init__(self, egress: Egress, *, clock: Clock, metrics: Metrics, attempt_seconds: float) -> None:
        self._egress = egress
        self._clock = clock
        self._metrics = metrics
        self._seconds = attempt_seconds

    async def attempt(self, target: Target, delivery: str, body: bytes) -> Attempt:
        """Post a body under a webhook-id. Raises nothing that an endpoint could cause."""
        at_ms = self._clock.now_ms()
        signature = signatures(target.signing(at_ms), delivery, at_ms // 1000, body)
        headers = [
            *_OURS.items(),
            ("webhook-id", delivery),
            ("webhook-timestamp", str(at_ms // 1000)),
            ("webhook-signature", signature),
            *target.headers,
        ]
        started = self._clock.monotonic()
        try:
            answer = await self._egress.request(
                "POST", target.url, headers=headers, content=body, deadline=self._seconds, max_bytes=MAX_ANSWER_BYTES
            )
        except EgressError as error:
            attempt = Attempt(at_ms, error.result, self._clock.monotonic() - started, error=_said(error, target))
        else:
            attempt = self._judged(at_ms, answer, [*signature.split(), *_secret_parts(target)])
        self._metrics.webhook_attempts.labels(attempt.result).inc()
        self._metrics.webhook_seconds.observe(attempt.seconds)
        return attempt

    def _judged(self, at_ms: int, answer: Answer, secrets: Iterable[str]) -> Attempt:
        status = answer.status
        result = "delivered" if 200 <= status < 300 else _RESULTS.get(status, "refused")
        shown = answer.body[:SHOWN_BYTES].decode("utf-8", "replace")
        for secret in secrets:
            shown = shown.replace(secret, _MASK)
        asked = answer.headers.get("retry-after") if status in (429, 503) else None
        return Attempt(
            at_ms,
            result,
            answer.seconds,
            status=status,
            answer=shown,
            retry_after=None if asked is None else _retry_after(asked, self._clock.now_ms()),
        )


_RESULTS: Mapping[int, str] = {410: "gone", 429: "throttled", 503: "throttled"}
RESULTS = ("delivered", "gone", "throttled", "refused", TooSlow.result, "unreachable", "bad_answer", Forbidden.result)


def _secret_parts(target: Target) -> list[str]:
    """What an endpoint might send back of what we sent it, longest first: a part must not uncover the rest."""
    values = [secret for secret, _ in target.secrets]
    values += [secret.partition("_")[2] for secret in values]
    for _, value in target.headers:
        values += [value, *(word for word in value.split() if len(word) >= 8)]
    return sorted({value for value in values if len(value) >= 4}, key=len, reverse=True)


def _said(error: EgressError, target: Target) -> str:
    said = error.detail[:300]
    for secret in _secret_parts(target):
        said = said.replace(secret, _MASK)
    return said


def _retry_after(asked: str, now_ms: int) -> float | None:
    """Seconds, written as a number or as a date; None for what is neither."""
    asked = asked.strip()
    if asked.isascii() and asked.isdigit():
        return min(float(asked[:9]), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(asked)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(moment.timestamp() - now_ms / 1000, 0.0), LONGEST_RETRY_AFTER)
