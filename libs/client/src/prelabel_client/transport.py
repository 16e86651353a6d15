"""What both clients tell httpx, and what they make of its answers and errors."""

import ipaddress
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import httpx

from .profiles import Connection
from .wire import Lost, Reply, Request

LOST = (httpx.TransportError, httpx.DecodingError)
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
USUAL_PATIENCE = 60.0
"""Seconds of silence after which an answer counts as lost. A run that is followed says something every 10 s."""


def options(connection: Connection) -> dict[str, Any]:
    """Arguments of httpx's clients."""
    return {
        "base_url": connection.address,
        "headers": {
            "Authorization": f"Bearer {connection.key}",
            "User-Agent": f"prelabel-client/{version('prelabel-client')}",
        },
        "timeout": httpx.Timeout(USUAL_PATIENCE, connect=10.0),
        # A proxy that the environment names is for what is elsewhere.
        "trust_env": not is_loopback(connection.address),
        "follow_redirects": False,
    }


def timeout_of(request: Request) -> httpx.Timeout:
    """Connecting takes 10 s at most."""
    return httpx.Timeout(max(USUAL_PATIENCE, request.patience or 0.0), connect=10.0)


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's."""
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reply_of(answer: httpx.Response, body: bytes = b"") -> Reply:
    """An answer as a value."""
    return Reply(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, body)


def lost(error: Exception, address: str) -> Lost:
    """Why there was no answer, for people."""
    sent = not isinstance(error, _NEVER_LEFT)
    if not sent:
        return Lost(f"{address} does not answer: is the address right, and is Prelabel running there?", sent=False)
    if isinstance(error, httpx.TimeoutException):
        return Lost(f"{address} took longer than it may to answer", sent=True)
    return Lost(f"{address} broke the connection off", sent=True)
