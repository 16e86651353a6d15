"""Webhooks: subscriptions, their secrets, deliveries, recoveries."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..models_webhooks import Attempt, Delivery, DeliveryInFull, NewSubscription, Recovery, Subscription
from ..streams import Many, Page, pages
from ..wire import Call, get, path, send

Payload = Literal["full", "thin"]
Signing = Literal["hmac", "ed25519"]
_AT = "/v1/subscriptions"


def every(*, limit: int | None = None) -> Many[Subscription]:
    """Subscriptions, the oldest first."""

    def page(found: Any) -> Page[Subscription]:
        return Page([Subscription.of(one) for one in found["subscriptions"]], found.get("next"))

    return pages(get(_AT, page), limit=limit)


def one(subscription: str) -> Call[Subscription]:
    """One subscription."""
    return get(path("subscriptions", subscription), Subscription.of)


def create(
    url: str,
    *,
    types: Sequence[str] = (),
    projects: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    payload: Payload = "full",
    rate: float | None = None,
    description: str = "",
    signing: Signing = "hmac",
    ordered: bool = False,
) -> Call[NewSubscription]:
    """Subscribe an endpoint to events from now on. What verifies them is shown this once.

    `ordered`: the events of a task in order, each kind for itself; what follows one that fails waits.
    """
    body: dict[str, Any] = {
        "url": url,
        "types": list(types),
        "projects": list(projects),
        "headers": dict(headers or {}),
        "payload": payload,
        "description": description,
    }
    if rate is not None:
        body["rate"] = rate
    if signing != "hmac":
        body["signing"] = signing
    if ordered:
        body["ordered"] = True
    return send("POST", _AT, NewSubscription.of, body)


def change(subscription: str, **changes: Any) -> Call[Subscription]:
    """Change what is named (url, types, projects, headers, payload, rate, description); the rest stays."""
    return send("PATCH", path("subscriptions", subscription), Subscription.of, changes, repeatable=True)


def delete(subscription: str) -> Call[None]:
    """Forget a subscription, its secrets, and what was sent to it."""
    return send("DELETE", path("subscriptions", subscription), lambda _: None)


def rotate(subscription: str, *, overlap_seconds: float | None = None) -> Call[str]:
    """A new secret (or public key), shown this once; the old ones sign beside it until the overlap is over."""
    body = {} if overlap_seconds is None else {"overlap_seconds": overlap_seconds}
    return send("POST", path("subscriptions", subscription, "secrets"), _verifier, body)


def _verifier(found: Any) -> str:
    return str(found.get("secret") or found["public_key"])


def attempt(subscription: str) -> Call[Attempt]:
    """Send a test event now; what the endpoint answered."""
    return send("POST", path("subscriptions", subscription, "test"), Attempt.of)


def resume(subscription: str) -> Call[Subscription]:
    """Send again, from where it stopped."""
    return send("POST", path("subscriptions", subscription, "resume"), Subscription.of, repeatable=True)


def deliveries(
    subscription: str,
    *,
    state: str | None = None,
    since: int | None = None,
    type: str | None = None,  # noqa: A002 - its name in the address
    task: str | None = None,
    limit: int | None = None,
) -> Many[Delivery]:
    """Deliveries, the newest event first. `since`: milliseconds since 1970."""

    def page(found: Any) -> Page[Delivery]:
        return Page([Delivery.of(one) for one in found["deliveries"]], found.get("next"))

    where = path("subscriptions", subscription, "deliveries")
    return pages(get(where, page, state=state, since=since, type=type, task=task), limit=limit)


def delivery(subscription: str, delivery: str) -> Call[DeliveryInFull]:
    """One delivery: what is sent, and every attempt with its answer."""
    return get(path("subscriptions", subscription, "deliveries", delivery), DeliveryInFull.of)


def resend(subscription: str, delivery: str) -> Call[Attempt]:
    """Send one again now, under the same id; what the endpoint answered."""
    return send("POST", path("subscriptions", subscription, "deliveries", delivery, "resend"), Attempt.of)


def recover(
    subscription: str, *, since_ms: int, until_ms: int | None = None, deliveries: Literal["all", "failed"] = "all"
) -> Call[Recovery]:
    """Deliver again what happened in a time; `recovery` says how far it is."""
    body: dict[str, Any] = {"since_ms": since_ms, "deliveries": deliveries}
    if until_ms is not None:
        body["until_ms"] = until_ms
    return send("POST", path("subscriptions", subscription, "recoveries"), Recovery.of, body)


def recovery(subscription: str, recovery: str) -> Call[Recovery]:
    """How far a recovery is."""
    return get(path("subscriptions", subscription, "recoveries", recovery), Recovery.of)
