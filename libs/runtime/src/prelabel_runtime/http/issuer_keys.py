"""The keys that an issuer of tokens signs with: found by its discovery document, kept, and read anew when they rotate.

Reading happens once for whoever waits. A key that is unknown has the keys read again, but not more often than every
few seconds for everybody together, so that made-up tokens cost the issuer nothing. Keys that are known go on being
taken while the issuer does not answer, for a day.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from joserfc.jwk import ECKey, JWKRegistry, RSAKey

from .. import log
from ..clock import Clock
from ..egress import Egress, EgressError
from ..errors import Unavailable

_log = log.get("prelabel.oidc")

PublicKey = RSAKey | ECKey

REFRESH_SECONDS = 3600.0
"""Keys that are older are read again, while they go on being taken."""
LONGEST_SECONDS = 24 * 3600.0
"""Keys that are older are not taken any more: the issuer may have revoked them."""
AGAIN_SECONDS = 10.0
"""After the keys were read, an unknown one has them read again after so long at the earliest."""
RETRY_SECONDS = 2.0
"""After they could not be read."""
_DEADLINE = 5.0
_MAX_BYTES = 512 * 1024
_MAX_KEYS = 100
_RSA_BITS = range(2048, 8193)
_KINDS: Mapping[str, type[PublicKey]] = {"RS": RSAKey, "PS": RSAKey, "ES": ECKey}


class NoKeys(Exception):
    """The issuer answered with something that no keys can be taken from."""


class IssuerKeys:
    """The public keys of one issuer."""

    def __init__(self, issuer: str, *, egress: Egress, clock: Clock) -> None:
        self._issuer = issuer
        self._egress = egress
        self._clock = clock
        self._keys: list[PublicKey] = []
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._failed = False
        self._reading: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """The key that such a token is signed with; None if the issuer has none. Raises `Unavailable`."""
        found = self._known(kid, algorithm)
        if found is None and self._may_try():
            await asyncio.shield(self._read())
            found = self._known(kid, algorithm)
        elif found is not None and self._age() > REFRESH_SECONDS and self._may_try():
            self._read()  # for those who come later
        if found is None and (self._failed or self._age() > LONGEST_SECONDS):
            raise Unavailable("the issuer of tokens", after=RETRY_SECONDS)
        return found

    async def aclose(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    def _known(self, kid: str | None, algorithm: str) -> PublicKey | None:
        if self._age() > LONGEST_SECONDS:
            return None
        fitting = [key for key in self._keys if (kid is None or key.kid == kid) and _fits(key, algorithm)]
        return fitting[0] if (kid is not None and fitting) or len(fitting) == 1 else None

    def _age(self) -> float:
        return float("inf") if self._read_at is None else self._clock.monotonic() - self._read_at

    def _may_try(self) -> bool:
        if self._reading is not None or self._tried_at is None:
            return True
        return self._clock.monotonic() - self._tried_at >= (RETRY_SECONDS if self._failed else AGAIN_SECONDS)

    def _read(self) -> asyncio.Task[None]:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all())
        return self._reading

    async def _read_all(self) -> None:
        try:
            self._keys = await self._fetched()
            self._read_at = self._clock.monotonic()
            self._failed = False
        except (EgressError, NoKeys) as error:
            self._failed = True
            _log.warning("the issuer's keys cannot be read", reason=getattr(error, "detail", str(error)))
        finally:
            self._tried_at = self._clock.monotonic()
            self._reading = None

    async def _fetched(self) -> list[PublicKey]:
        document = await self._get(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != self._issuer:
            raise NoKeys("the discovery document names another issuer")
        where = document.get("jwks_uri")
        if not isinstance(where, str):
            raise NoKeys("the discovery document names no jwks_uri")
        listed = (await self._get(where)).get("keys")
        if not isinstance(listed, list) or len(listed) > _MAX_KEYS:
            raise NoKeys("the key set is no list of at most 100 keys")
        keys = [key for item in listed if (key := _public_key(item)) is not None]
        if not keys:
            raise NoKeys("the key set has no key that signs")
        return keys

    async def _get(self, url: str) -> Mapping[str, Any]:
        answer = await self._egress.request("GET", url, deadline=_DEADLINE, max_bytes=_MAX_BYTES)
        if answer.status != 200 or answer.truncated:
            raise NoKeys(f"the status is {answer.status}" if answer.status != 200 else "the document is too large")
        try:
            document = orjson.loads(answer.body)
        except ValueError:
            raise NoKeys("the document is no JSON") from None
        if not isinstance(document, dict):
            raise NoKeys("the document is no JSON object")
        return document


def _public_key(item: Any) -> PublicKey | None:
    """A key that signatures can be verified with; what is none, or private, or weak, is left out."""
    try:
        if item["kty"] not in ("RSA", "EC") or "d" in item or item.get("use", "sig") != "sig":
            return None
        if "verify" not in item.get("key_ops", ["verify"]):
            return None
        key = JWKRegistry.import_key(item)
        if isinstance(key, RSAKey) and key.raw_value.key_size not in _RSA_BITS:
            return None
    except Exception:  # there are many ways not to be a key, and the other keys of the issuer are none the worse
        return None
    return key if isinstance(key, RSAKey | ECKey) else None


def _fits(key: PublicKey, algorithm: str) -> bool:
    return isinstance(key, _KINDS[algorithm[:2]]) and key.alg in (None, algorithm)
