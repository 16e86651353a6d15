"""How a key to the API is written: `pl_<id>_<secret><check>`.

The id finds what is known of the key, the secret proves it, and the check digits tell a typo, or what only looks like
a key, from one that may be real, without a look-up. An underscore keeps a double click together, and the prefix lets
scanners find a key where it should not be.
"""

import hashlib
import hmac
import re
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID, _SECRET, _CHECK = 12, 27, 6
"""Digits of base 62: an id of 71 random bits, a secret of 160, a CRC of 32."""
_WRITTEN = re.compile(rf"pl_([0-9A-Za-z]{{{_ID}}})_[0-9A-Za-z]{{{_SECRET + _CHECK}}}")


@dataclass(frozen=True, slots=True)
class Credential:
    """A new key, whole: to be shown once and then forgotten."""

    id: str
    key: str

    @property
    def hash(self) -> str:
        """What is kept of it."""
        return hash_of(self.key)

    def __repr__(self) -> str:
        """Without the key: a representation ends up in logs."""
        return f"Credential({self.id!r})"


def new_credential(random_bytes: Callable[[int], bytes]) -> Credential:
    """A key that nobody has."""
    key_id = _base62(int.from_bytes(random_bytes(16), "big"), _ID)
    body = f"pl_{key_id}_{_base62(int.from_bytes(random_bytes(32), 'big'), _SECRET)}"
    return Credential(key_id, body + _check(body))


def id_in(key: str) -> str | None:
    """The id in a key; None for what is no key of ours, or one with a typo."""
    found = _WRITTEN.fullmatch(key)
    if found is None or not hmac.compare_digest(key[-_CHECK:], _check(key[:-_CHECK])):
        return None
    return found.group(1)


def prefix_of(key_id: str) -> str:
    """How a key begins: what it may be shown by."""
    return f"pl_{key_id}"


def hash_of(key: str) -> str:
    """What is kept of a key. A secret of 160 random bits needs no slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK)


def _base62(value: int, digits: int) -> str:
    found = []
    for _ in range(digits):
        value, digit = divmod(value, 62)
        found.append(_DIGITS[digit])
    return "".join(reversed(found))
