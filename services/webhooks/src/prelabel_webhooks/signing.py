"""Signatures as Standard Webhooks 1.0.0 says: HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable

_PREFIX = "whsec_"
_BYTES = 32
"""Of 24 to 64 that the standard allows."""


def new_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A secret as its receiver is shown it."""
    return _PREFIX + base64.b64encode(random_bytes(_BYTES)).decode()


def signatures(secrets: Iterable[str], delivery: str, seconds: int, body: bytes) -> str:
    """The value of webhook-signature: one signature per secret.

    delivery: the webhook-id. seconds: since 1970, of this attempt.
    """
    signed = f"{delivery}.{seconds}.".encode() + body
    return " ".join(_signature(secret, signed) for secret in secrets)


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
