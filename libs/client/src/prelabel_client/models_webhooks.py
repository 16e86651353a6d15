"""Webhooks: subscriptions and what was delivered."""

from typing import Any

from .models import Result


class Subscription(Result):
    """An endpoint that events are sent to."""

    id: str
    url: str
    types: tuple[str, ...] = ()
    """None: all."""
    projects: tuple[str, ...] = ()
    """None: all."""
    headers: dict[str, str] = {}
    payload: str = "full"
    rate: float | None = None
    signing: str = "hmac"
    ordered: bool = False
    description: str = ""
    state: str
    reason: str | None = None
    secrets: tuple[dict[str, Any], ...] = ()
    version: int | None = None
    created_ms: int | None = None


class NewSubscription(Subscription):
    """A subscription that was made. What verifies its events is shown this once: a secret, or a public key."""

    secret: str = ""
    public_key: str = ""
    """Of one that is signed by ed25519; it needs no keeping secret."""

    @property
    def verifier(self) -> str:
        """What `webhooks.verify` takes."""
        return self.secret or self.public_key

    def __repr_args__(self) -> Any:
        return [(name, "…" if name == "secret" else value) for name, value in super().__repr_args__()]


class Attempt(Result):
    """What an endpoint answered."""

    delivered: bool
    result: str | None = None
    status: int | None = None
    seconds: float | None = None
    error: str | None = None


class Delivery(Result):
    """An event on its way to an endpoint."""

    delivery: str
    event: str
    type: str
    project: str | None = None
    task: str | None = None
    state: str
    attempts: int
    at_ms: int | None = None
    event_ms: int | None = None
    next_ms: int | None = None
    latest: dict[str, Any] | None = None


class DeliveryInFull(Delivery):
    """With what is sent, and every attempt with its answer; secrets masked."""

    request: dict[str, Any] | None = None
    attempts_made: tuple[dict[str, Any], ...] = ()


class Recovery(Result):
    """Delivering again what happened in a time."""

    recovery: str
    state: str
    done: int
    total: int | None = None
    error: Any = None

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.state != "running"
