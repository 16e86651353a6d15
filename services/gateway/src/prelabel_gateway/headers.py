"""What of a message's headers goes on, and what the gateway says itself."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from prelabel_runtime.http.problems import Problem

Header = tuple[bytes, bytes]
Headers = list[Header]

REQUEST_ID = b"x-request-id"
_GOOD_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_GOOD_HOST = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")
_OF_THIS_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_ABOUT_THE_CALLER = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
    }
)


def first(headers: Iterable[Header], name: bytes) -> bytes:
    """The first value of a header, or nothing. Names come in lower case."""
    return next((value for there, value in headers if there == name), b"")


def request_id(headers: Iterable[Header], otherwise: str) -> bytes:
    """The caller's own name for this request, or another: what makes sense in a log and nowhere else."""
    sent = first(headers, REQUEST_ID)
    return sent if _GOOD_ID.fullmatch(sent) else otherwise.encode()


def has_body(headers: Sequence[Header]) -> bool:
    """Whether a body follows. Raises a 400 for a length said in two ways: that is how requests are smuggled."""
    names = {name for name, _ in headers}
    if b"transfer-encoding" in names:
        if b"content-length" in names:
            raise Problem(
                400,
                "two_lengths",
                "send Content-Length or Transfer-Encoding, not both",
                headers={"Connection": "close"},
            )
        return True
    return first(headers, b"content-length").strip() not in (b"", b"0")


def end_to_end(headers: Sequence[Header], *, without: Iterable[bytes] = ()) -> Headers:
    """All but those that are about one connection, its own and those that `Connection` names."""
    named = {
        word.strip().lower() for name, value in headers if name.lower() == b"connection" for word in value.split(b",")
    }
    gone = _OF_THIS_HOP | named | frozenset(without)
    return [(name, value) for name, value in headers if name.lower() not in gone]


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What services are told about the caller."""

    trusted: Sequence[IPv4Network | IPv6Network] = ()
    """Who may say it instead of us."""

    def upstream(self, headers: Sequence[Header], *, client: str, scheme: str, id_: bytes) -> Headers:
        """A request's headers as a service gets them."""
        trusted = self._trusts(client)
        told = () if trusted else _ABOUT_THE_CALLER
        kept = end_to_end(headers, without=(*told, b"expect", REQUEST_ID))
        kept += [(b"via", b"1.1 prelabel"), (REQUEST_ID, id_)]
        known = {name for name, _ in kept}
        host = first(headers, b"host")
        host = host if _GOOD_HOST.fullmatch(host) else b""
        kept.append((b"forwarded", _forwarded(client, scheme, host)))
        kept.append((b"x-forwarded-for", client.encode()))  # one more, after those of a proxy that is trusted
        if b"x-forwarded-proto" not in known:
            kept.append((b"x-forwarded-proto", scheme.encode()))
        if host and b"x-forwarded-host" not in known:
            kept.append((b"x-forwarded-host", host))
        return kept

    def _trusts(self, client: str) -> bool:
        try:
            address = ip_address(client)
        except ValueError:
            return False
        return any(address in network for network in self.trusted)


def _forwarded(client: str, scheme: str, host: bytes) -> bytes:
    """RFC 7239; an IPv6 address stands in brackets."""
    shown = f'"[{client}]"' if ":" in client else client or "unknown"
    said = f"for={shown};proto={scheme}"
    return f'{said};host="{host.decode()}"'.encode() if host else said.encode()
