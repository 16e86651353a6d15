"""Secrets at rest: AES-256-GCM under keys of the operator's, each ciphertext bound to what it is for."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from prelabel_contract.events import Sealed
from prelabel_runtime.errors import Refused

_NONCE = 12


class Unopenable(Exception):
    """No key of this process opens it: another process may have one that does."""


class Vault:
    """Seals with the first key, opens with any."""

    def __init__(self, keys: Sequence[str], random_bytes: Callable[[int], bytes]) -> None:
        """`keys` in base64. Raises `Refused` for one that is none, never showing it."""
        if not keys:
            raise Refused("PRELABEL_WEBHOOKS_KEYS: there is no key in it")
        self._ciphers = {_id_of(key): AESGCM(key) for key in map(_key, keys)}
        self._first = next(iter(self._ciphers))
        self._random_bytes = random_bytes

    def seal(self, secret: str, *, purpose: str, expires_ms: int | None = None) -> Sealed:
        """Encrypt. `purpose` names what it is for and of whom: elsewhere it does not open."""
        nonce = self._random_bytes(_NONCE)
        sealed = nonce + self._ciphers[self._first].encrypt(nonce, secret.encode(), purpose.encode())
        return Sealed(sealed=base64.b64encode(sealed).decode(), sealed_with=self._first, expires_ms=expires_ms)

    def open(self, sealed: Sealed, *, purpose: str) -> str:
        """Decrypt. Raises `Unopenable`."""
        cipher = self._ciphers.get(sealed.sealed_with)
        if cipher is None:
            raise Unopenable(f"sealed with key {sealed.sealed_with}, which this process does not have")
        try:
            raw = base64.b64decode(sealed.sealed, validate=True)
            return cipher.decrypt(raw[:_NONCE], raw[_NONCE:], purpose.encode()).decode()
        except (InvalidTag, ValueError, binascii.Error):
            raise Unopenable("it was changed, or sealed for another purpose") from None

    def newest(self, sealed: Sealed) -> bool:
        """Whether it is sealed with the first key."""
        return sealed.sealed_with == self._first

    def anew(self, sealed: Sealed, *, purpose: str) -> Sealed:
        """The same under the first key. Raises `Unopenable`."""
        if self.newest(sealed):
            return sealed
        return self.seal(self.open(sealed, purpose=purpose), purpose=purpose, expires_ms=sealed.expires_ms)


def _key(written: str) -> bytes:
    try:
        key = base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise Refused("PRELABEL_WEBHOOKS_KEYS: each key is 32 bytes in base64, as from `openssl rand -base64 32`")
    return key


def _id_of(key: bytes) -> str:
    return hashlib.sha256(b"prelabel webhooks key" + key).hexdigest()[:12]
