"""An issuer of OpenID Connect on loopback: serves its discovery document and its keys, signs tokens, can be down."""

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from .egress_scene import ok, server

AUDIENCE = "prelabel"


@functools.cache  # making one takes a tenth of a second
def _key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


class Issuer:
    """Keys and what is served of them."""

    def __init__(self) -> None:
        self.keys: dict[str, RSAKey | ECKey] = {}
        self.more_keys: Sequence[Any] = ()
        self.changed: dict[str, Any] = {}
        """Parts of the discovery document that are not as they should be."""
        self.says: bytes | None = None
        """Instead of every document."""
        self.down = False
        self.asked: list[str] = []
        self.url = ""
        self.rotate("first")

    def rotate(self, kid: str) -> None:
        """One new key in place of all others."""
        self.keys = {kid: _key(kid)}

    def sign(self, claims: dict[str, Any], *, kid: str | None = None, **header: Any) -> str:
        """A token."""
        kid = kid or next(iter(self.keys))
        key = self.keys[kid]
        header = {"alg": "RS256" if isinstance(key, RSAKey) else "ES256", "kid": kid, **header}
        return jwt.encode(header, claims, key)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer."""
        while True:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
            self.asked.append(path)
            if self.down:
                return
            if self.says is not None:
                writer.write(self.says)
            elif path == "/realm/.well-known/openid-configuration":
                document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.changed}
                writer.write(ok(json.dumps(document).encode()))
            else:
                keys = [*(key.as_dict(private=False) for key in self.keys.values()), *self.more_keys]
                writer.write(ok(json.dumps({"keys": keys}).encode()))
            await writer.drain()


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Issuer]:
    """An issuer that answers."""
    issuer = Issuer()
    async with server(issuer.connected) as port:
        issuer.url = f"http://127.0.0.1:{port}/realm"
        yield issuer
