"""What browsers need: sessions in a cookie, answers that no other site may use, and headers that see to it.

A cookie is sent by the browser, whoever made it ask. So a request that comes with one must name a host that we serve,
else a name that a stranger points at this machine (DNS rebinding) would do; and one that changes something must come
from a page of that same host. Requests with a key in their header need neither: no page of a stranger has the key.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..settings import RuntimeSettings
from .problems import Problem

SESSION_COOKIE = "prelabel_session"
_HARMLESS = frozenset({"GET", "HEAD"})
_EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not listened on


def header(scope: Scope, name: bytes) -> str:
    """A header of a request; empty if there is none."""
    return next((value.decode("latin-1") for sent, value in scope["headers"] if sent == name), "")


def session_of(scope: Scope) -> str | None:
    """The session's key that a request's cookie carries."""
    for cookie in header(scope, b"cookie").split(";"):
        name, _, value = cookie.strip().partition("=")
        if name == SESSION_COOKIE and value:
            return value
    return None


def set_cookie(scope: Scope, value: str, seconds: int) -> str:
    """The header that gives a browser its session for so many seconds; 0 takes it away."""
    secure = "https" in (scope["scheme"], header(scope, b"x-forwarded-proto"))
    return (
        f"{SESSION_COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"
    )


@dataclass(frozen=True, slots=True)
class Hosts:
    """The names under which this process is reached."""

    named: frozenset[str]
    any_address: bool
    """Listening everywhere: any address of this machine will do, since an address is no name to be pointed at it."""

    @classmethod
    def of(cls, settings: RuntimeSettings) -> Self:
        """Those that are set, the address that is listened on, and loopback."""
        return cls.made(settings.hosts, settings.host)

    @classmethod
    def made(cls, named: Iterable[str], listening: str) -> Self:
        """The same from values."""
        return cls(frozenset(name.lower().rstrip(".") for name in (*named, listening)), listening in _EVERYWHERE)

    def check(self, scope: Scope) -> None:
        """Raises a 421 if the request names a host that is not one of ours."""
        name = _hostname(header(scope, b"host"))
        if name is None or not (name in self.named or self._address(name)):
            shown = "no host" if name is None else f"the host {name[:100]!r}"
            raise Problem(
                421,
                "unknown_host",
                f"a session is not taken for {shown}: add the name that people reach this under to PRELABEL_HOSTS",
            )

    def check_page(self, scope: Scope) -> None:
        """Raises a 421 or a 403 unless a page of a host of ours may ask this with its session."""
        self.check(scope)
        if scope["method"] in _HARMLESS:
            return
        origin = header(scope, b"origin")
        ours = urlsplit(origin).netloc == header(scope, b"host") if origin else _same_origin(scope)
        if not ours:
            raise Problem(403, "foreign_origin", "a session changes nothing for a page of another origin")

    def _address(self, name: str) -> bool:
        if name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self.any_address


def _same_origin(scope: Scope) -> bool:
    """What browsers say where they send no Origin."""
    return header(scope, b"sec-fetch-site") == "same-origin"


def _hostname(host: str) -> str | None:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return None
    return name.rstrip(".") if name and "@" not in host else None


class Secured:
    """Says on every answer what a browser must not do with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and add the headers that the answer does not have."""

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                _secure(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, secured)


def _secure(headers: MutableHeaders) -> None:
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("Cache-Control", "no-store")  # what one key may read is for no other
    if headers.get("content-type", "").startswith("text/html"):
        policy = headers.get("content-security-policy", "default-src 'self'; base-uri 'none'; form-action 'self'")
        if "frame-ancestors" not in policy:
            policy += "; frame-ancestors 'none'"
        headers["Content-Security-Policy"] = policy
        headers.setdefault("X-Frame-Options", "DENY")
