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
_SECRET, _PUBLIC = "whsec_", "whpk_"


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
    """The event in a request. Raises `NotVerified`.

    `body`: its bytes as they came; `secrets`: yours (`whsec_…`), or several; or a public key (`whpk_…`), for which the
    package cryptography must be installed.
    """
    named = {name.lower(): value for name, value in headers.items()}
    try:
        delivery, stamp, signed = (named[f"webhook-{part}"] for part in ("id", "timestamp", "signature"))
        seconds = int(stamp)
    except (KeyError, ValueError):
        raise NotVerified("the headers webhook-id, webhook-timestamp and webhook-signature are missing") from None
    if abs((time.time() if now is None else now) - seconds) > TOLERANCE_SECONDS:
        raise NotVerified("it is too old, or from the future: is the clock right?")
    content = f"{delivery}.{seconds}.".encode() + body
    given = signed.split(" ")
    if not any([_right(key, content, given) for key in ([secrets] if isinstance(secrets, str) else secrets)]):  # noqa: C419
        raise NotVerified("no signature is right")
    try:
        value = json.loads(body)
        return WebhookEvent(delivery, str(value["type"]), str(value["timestamp"]), dict(value["data"]))
    except (ValueError, KeyError, TypeError):
        raise NotVerified("the body is no event") from None


def _right(key: str, content: bytes, given: Iterable[str]) -> bool:
    """Whether one of the signatures is by this key. All are compared, in constant time: the time tells nothing."""
    if key.startswith(_PUBLIC):
        return any([_signed_by(key, content, one.removeprefix("v1a,")) for one in given if one.startswith("v1a,")])  # noqa: C419
    wanted = base64.b64encode(hmac.digest(base64.b64decode(key.removeprefix(_SECRET)), content, hashlib.sha256))
    signatures = [one.removeprefix("v1,").encode() for one in given if one.startswith("v1,")]
    return any([hmac.compare_digest(one, wanted) for one in signatures])  # noqa: C419


def _signed_by(key: str, content: bytes, signature: str) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.removeprefix(_PUBLIC)))
    try:
        public.verify(base64.b64decode(signature), content)
    except (InvalidSignature, ValueError):
        return False
    return True
