"""Receiving webhooks: is this from Prelabel, and what does it say. As Standard Webhooks 1.0.0 says."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TOLERANCE_SECONDS = 300
"""How far webhook-timestamp may be from now."""
_PREFIX = "whsec_"


class NotVerified(Exception):
    """Not from Prelabel, or changed on its way, or old: answer 400, and do nothing."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """What was received, and is genuine."""

    id: str
    """The same however often it is sent: skip what you have handled."""
    type: str
    timestamp: str
    data: Mapping[str, Any]


def verify(
    body: bytes, headers: Mapping[str, str], secrets: str | Iterable[str], *, now: float | None = None
) -> WebhookEvent:
    """The event in a request. `body`: its bytes as they came; `secrets`: yours, or several. Raises `NotVerified`."""
    named = {name.lower(): value for name, value in headers.items()}
    try:
        delivery, stamp, signed = (named[f"webhook-{part}"] for part in ("id", "timestamp", "signature"))
        seconds = int(stamp)
    except (KeyError, ValueError):
        raise NotVerified("the headers webhook-id, webhook-timestamp and webhook-signature are missing") from None
    if abs((time.time() if now is None else now) - seconds) > TOLERANCE_SECONDS:
        raise NotVerified("it is too old, or from the future: is the clock right?")
    content = f"{delivery}.{seconds}.".encode() + body
    wanted = [_signature(secret, content) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    given = [one.partition(",")[2] for one in signed.split(" ") if one.startswith("v1,")]
    # Every pair is compared, in constant time: how long it takes tells nothing.
    if not any([hmac.compare_digest(a.encode(), b) for a in given for b in wanted]):  # noqa: C419
        raise NotVerified("no signature is right")
    try:
        value = json.loads(body)
        return WebhookEvent(delivery, str(value["type"]), str(value["timestamp"]), dict(value["data"]))
    except (ValueError, KeyError, TypeError):
        raise NotVerified("the body is no event") from None


def _signature(secret: str, content: bytes) -> bytes:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256))
