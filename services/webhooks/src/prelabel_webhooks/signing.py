"""Signatures as Standard Webhooks 1.0.0 says, over `{webhook-id}.{webhook-timestamp}.{body}`.

HMAC-SHA256 (`v1`) with a secret that both sides have, or ed25519 (`v1a`), which a receiver verifies by a public key.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HMAC, ED25519 = "hmac", "ed25519"
_SECRET, _PRIVATE, _PUBLIC = "whsec_", "whsk_", "whpk_"
_BYTES = 32
"""Of a secret: 24 to 64 that the standard allows. Of an ed25519 key: what it is."""


def new_secret(signing: str, random_bytes: Callable[[int], bytes]) -> str:
    """What a subscription signs with: `whsec_…`, or `whsk_…` for ed25519."""
    return (_PRIVATE if signing == ED25519 else _SECRET) + base64.b64encode(random_bytes(_BYTES)).decode()


def shown_secret(secret: str) -> dict[str, str]:
    """What the receiver is given of it: the secret itself, or the public key alone."""
    if not secret.startswith(_PRIVATE):
        return {"secret": secret}
    public = _private(secret).public_key().public_bytes_raw()
    return {"public_key": _PUBLIC + base64.b64encode(public).decode()}


def signatures(secrets: Iterable[str], delivery: str, seconds: int, body: bytes) -> str:
    """The value of webhook-signature: one signature per secret.

    delivery: the webhook-id. seconds: since 1970, of this attempt.
    """
    signed = f"{delivery}.{seconds}.".encode() + body
    return " ".join(_signature(secret, signed) for secret in secrets)


def _signature(secret: str, signed: bytes) -> str:
    if secret.startswith(_PRIVATE):
        return "v1a," + base64.b64encode(_private(secret).sign(signed)).decode()
    key = base64.b64decode(secret.removeprefix(_SECRET))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _private(secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret.removeprefix(_PRIVATE)))
