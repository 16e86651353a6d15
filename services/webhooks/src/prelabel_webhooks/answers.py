"""What webhooks' routes answer, for OpenAPI."""

from typing import Literal

from prelabel_contract.base import Json
from prelabel_runtime.http.described import Shown, page


class ShownSecret(Shown):
    """A signing secret, without itself."""

    expires_ms: int | None
    """When it stops signing; null: it is the newest."""


class ShownSubscription(Shown):
    """An endpoint that events are sent to, without anything secret."""

    id: str
    url: str
    types: list[str]
    """None: all."""
    projects: list[str]
    """None: all."""
    headers: dict[str, str]
    """Names; the values are not shown."""
    payload: Literal["full", "thin"]
    rate: float | None
    """Events per second at most."""
    signing: Literal["hmac", "ed25519"]
    ordered: bool
    """The events of a task come in order."""
    description: str
    state: Literal["active", "disabled"]
    reason: str
    """Why it is disabled."""
    secrets: list[ShownSecret]
    created_ms: int
    created_by: str
    version: int
    """Counts changes; the `ETag`."""


class NewlySubscribed(ShownSubscription):
    """A subscription that was made."""

    secret: str | None = None
    """What its deliveries are signed with (hmac); it is not shown again."""
    public_key: str | None = None
    """What its deliveries are verified by (ed25519)."""


class NewSecret(Shown):
    """A secret that was made; it is not shown again."""

    secret: str | None = None
    public_key: str | None = None
    """In place of a secret, where the subscription signs by ed25519."""


class ShownAttempt(Shown):
    """A delivery that was tried, and what came of it."""

    at_ms: int
    result: str
    """delivered, gone, throttled, refused, too_slow, unreachable, bad_answer or forbidden"""
    seconds: float
    status: int | None = None
    answer: str | None = None
    """The beginning of what the endpoint answered."""
    error: str | None = None


class Tried(ShownAttempt):
    """A delivery that was tried while you waited."""

    delivered: bool


class ShownDelivery(Shown):
    """An event on its way to an endpoint."""

    delivery: str
    """Its id, the `webhook-id` of every attempt."""
    event: str
    type: str
    project: str | None
    task: str | None
    event_ms: int
    state: Literal["pending", "delivered", "exhausted"]
    attempts: int
    at_ms: int
    """Of the latest attempt."""
    next_ms: int | None
    """Of the next one."""
    latest: ShownAttempt | None


class SentRequest(Shown):
    """What is sent, without anything secret."""

    method: str
    url: str
    headers: dict[str, str]
    body: Json = None
    """null: the event is no longer in the log."""


class WholeDelivery(ShownDelivery):
    """A delivery with all of its attempts."""

    request: SentRequest
    attempts_made: list[ShownAttempt]


class ShownRecovery(Shown):
    """How far a recovery is."""

    recovery: str
    state: Literal["running", "completed", "failed"]
    since_ms: int
    until_ms: int
    done: int
    total: int | None
    error: str | None


Subscriptions = page("subscriptions", ShownSubscription)
Deliveries = page("deliveries", ShownDelivery)
