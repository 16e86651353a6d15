"""Where Prelabel may send to: settings, policy, and the judgement of a URL before anything is resolved."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import quote, urlsplit

import idna
from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from .egress_addresses import Address, Kind, Network, opens, plain, why_denied
from .settings import Frozen

MAX_URL = 2048
"""Characters of a URL."""


class EgressError(Exception):
    """A call to the outside that got no answer.

    `str(error)` is the same for every one of them: what an outsider may be told, so that nobody learns from an error
    which of our addresses and ports answer. `detail` is for the log and for who configured the target.
    """

    result = "failed"
    """The word in metrics."""
    outside = "the target could not be reached"

    def __init__(self, detail: str) -> None:
        super().__init__(self.outside)
        self.detail = detail


class Forbidden(EgressError):
    """Not allowed by policy: the same call is never allowed later. `setting` names what would allow it."""

    result = "forbidden"

    def __init__(self, detail: str, *, setting: str | None = None) -> None:
        super().__init__(f"{detail}; {setting} would allow it" if setting else detail)
        self.setting = setting


# ------------------------------------------------------------------------------------------------------- settings


class EgressSettings(Frozen):
    """What outbound calls may reach, beyond https to public addresses."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_EGRESS_")

    allow: tuple[str, ...] = ()
    """Targets in private networks, as JSON: ranges and host names, ["10.2.0.0/16", "ner.ml.svc", "*.models.lan"].

    Such a target may be called by http too. A metadata address is opened by exactly that address only."""
    deny: tuple[str, ...] = ()
    """Public ranges that must not be called, as JSON: ["203.0.113.0/24"]. Counts before `allow`."""
    http: bool = False
    """Call public targets by http too: unencrypted, and anybody on the way may answer."""
    ports: tuple[str, ...] = ("80", "443", "1024-65535")
    """Ports that may be called, as JSON: ["443", "8000-8999"]."""
    ca_file: Path | None = None
    """Certificates (PEM) of authorities that are trusted beside the public ones."""
    connections: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Connections that one process keeps open to the outside."""

    @field_validator("allow", "deny")
    @classmethod
    def _ranges(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            if _network(entry) is None and (_name(entry.removeprefix("*.")) is None or "/" in entry):
                raise ValueError(f"{entry!r} is neither a range like 10.2.0.0/16 nor a host name")
        return entries

    @field_validator("deny")
    @classmethod
    def _denied(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        if names := [entry for entry in entries if _network(entry) is None]:
            raise ValueError(f"{names[0]!r} is no range like 203.0.113.0/24: names are not denied, addresses are")
        return entries

    @field_validator("ports")
    @classmethod
    def _ports(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            _range(entry)
        return entries


def _network(text: str) -> Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    if not (first.isascii() and first.isdigit() and (last or first).isascii() and (last or first).isdigit()):
        raise ValueError(f"{text!r} is neither a port nor a range of ports like 8000-8999")
    ports = range(int(first), int(last or first) + 1)
    if not ports or ports[0] < 1 or ports[-1] > 65535:
        raise ValueError(f"{text!r} is out of 1-65535")
    return ports


# --------------------------------------------------------------------------------------------------------- policy

_LOOPBACK = ("127.0.0.0/8", "::1/128", "localhost")


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What may be called. The default allows https to public addresses, by name."""

    networks: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()
    denied: tuple[Network, ...] = ()
    http: bool = False
    ports: tuple[range, ...] = (range(80, 81), range(443, 444), range(1024, 65536))

    @classmethod
    def of(cls, settings: EgressSettings, *, loopback: bool = False) -> Self:
        """From settings. `loopback`: this machine may be called, where everything runs on it anyway."""
        allowed = (*settings.allow, *(_LOOPBACK if loopback else ()))
        networks = tuple(network for entry in allowed if (network := _network(entry)) is not None)
        return cls(
            networks=networks,
            hosts=tuple(entry.lower() for entry in allowed if _network(entry) is None),
            denied=tuple(network for entry in settings.deny if (network := _network(entry)) is not None),
            http=settings.http,
            ports=tuple(_range(entry) for entry in settings.ports),
        )

    def names(self, host: str) -> bool:
        """Whether a host name is allowed by itself or by a `*.` above it."""
        return any(host == known or (known[:2] == "*." and host.endswith(known[1:])) for known in self.hosts)

    def check_port(self, port: int) -> None:
        """Raises `Forbidden`."""
        if not any(port in ports for ports in self.ports):
            raise Forbidden(f"port {port} is not among the ports that may be called", setting="PRELABEL_EGRESS_PORTS")

    def check_host(self, host: str) -> None:
        """Judge an ASCII host name, or an address in its place, as far as that goes without asking DNS.

        Raises `Forbidden`.
        """
        if self.names(host):
            return
        if (address := plain(host)) is not None:
            self.check_address(address, host)
            if not opens(self.networks, address, Kind.PRIVATE):
                raise Forbidden("an address stands in place of a host name", setting=_ALLOW)
            return
        last = host.rpartition(".")[2]
        if _NUMBER.fullmatch(last) or ":" in host:
            raise Forbidden("the host is an address in an unusual notation")
        if "." not in host:
            raise Forbidden("the host is a single word, a name of some local network", setting=_ALLOW)
        if host in _METADATA_NAMES or any(host.endswith(suffix) for suffix in _LOCAL_SUFFIXES):
            raise Forbidden(f"the host is a name of some local network (.{last})", setting=_ALLOW)

    def check_address(self, address: Address, host: str) -> None:
        """Judge an address that a host resolves to. Raises `Forbidden`."""
        if opens(self.denied, address, Kind.PRIVATE):
            raise Forbidden(f"{address} is within PRELABEL_EGRESS_DENY")
        denied = why_denied(address)
        if denied is None or opens(self.networks, address, denied.kind):
            return
        if denied.kind is Kind.PRIVATE and self.names(host):
            return
        raise Forbidden(f"{address} is {denied.what} ({denied.network})", setting=_ALLOW)

    def judge(self, host: str, port: int, resolved: Sequence[str]) -> list[Address]:
        """What a dial may connect to: all that the host resolves to, or nothing. Raises `Forbidden`.

        One denied address refuses the host: to take the good ones leaves it to chance, and to who answers for DNS.
        """
        self.check_port(port)
        self.check_host(host)
        addresses = []
        for text in resolved:
            address = plain(text)
            if address is None:
                raise Forbidden(f"{text!r} is no plain address")
            self.check_address(address, host)
            addresses.append(address)
        return addresses


_ALLOW = "PRELABEL_EGRESS_ALLOW"
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_METADATA_NAMES = frozenset(
    {"metadata.packet.net", "metadata.platformequinix.com", "metadata.tencentyun.com", "kubernetes.default"}
)
_LOCAL_SUFFIXES = tuple(
    f".{word}"
    for word in (
        *("local", "internal", "svc", "localhost", "localdomain", "lan"),
        *("home", "corp", "intranet", "private", "home.arpa"),
    )
)


# ------------------------------------------------------------------------------------------------------------ URLs


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was judged, in one form: what is called is what was judged."""

    scheme: str
    host: str
    """ASCII, lower case; an IPv6 address without its brackets."""
    port: int
    path: str
    """With the query, percent-encoded; at least "/"."""

    @property
    def origin(self) -> str:
        """Scheme, host and port; the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")

    @property
    def url(self) -> str:
        """The whole URL."""
        return self.origin + self.path


_PORTS = {"https": 443, "http": 80}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NETLOC = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:]+)(:[0-9]{1,5})?")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\\u0085\u00a0\u2028\u2029]")


def check_url(url: str, policy: EgressPolicy) -> Target:
    """Judge a URL as it is written, without asking DNS: to be called when a target is registered, and before each call.

    Raises `Forbidden`, whose detail says what is wrong with the URL; it holds nothing that its author does not know.
    """
    target = read_url(url)
    policy.check_port(target.port)
    policy.check_host(target.host)
    if target.scheme == "http" and not policy.http and not _private(policy, target.host):
        raise Forbidden("the URL begins with http://, not https://", setting="PRELABEL_EGRESS_HTTP")
    return target


def read_url(url: str) -> Target:
    """A URL that could be called, if a policy allows it: to be called where none is known. Raises `Forbidden`."""
    if len(url) > MAX_URL:
        raise Forbidden(f"the URL is longer than {MAX_URL} characters")
    if _UNSAFE.search(url) or any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in url):
        raise Forbidden("the URL has spaces, control characters or a backslash in it")
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _PORTS:
        raise Forbidden("the URL does not begin with https://")
    try:
        parts = urlsplit(url)
        written = parts.hostname or ""
        port = _PORTS[scheme] if parts.port is None else parts.port
    except ValueError:
        raise Forbidden("the URL's host or port cannot be read") from None
    if parts.username is not None or "@" in parts.netloc:
        raise Forbidden("the URL has a user name or a password in it: use a header")
    if parts.fragment or "#" in url:
        raise Forbidden("the URL has a fragment (#), which is never sent")
    if not _NETLOC.fullmatch(parts.netloc):
        raise Forbidden("the URL's host or port cannot be read")
    if port == 0:
        raise Forbidden("port 0 is no port that anybody answers on")
    host = _host(written)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]") if parts.query else ""
    return Target(scheme, host, port, path + query)


def _private(policy: EgressPolicy, host: str) -> bool:
    address = plain(host)
    return policy.names(host) or (address is not None and opens(policy.networks, address, Kind.PRIVATE))


def _host(written: str) -> str:
    """A host in ASCII. Raises `Forbidden`."""
    if ":" in written:
        if plain(written) is None:
            raise Forbidden("the host is an address in an unusual notation")
        return written.lower()
    name = _name(written)
    if name is None:
        raise Forbidden("the URL's host is no host name")
    return name


def _name(written: str) -> str | None:
    """A host name in ASCII and lower case; None if it is none."""
    if not written.isascii():
        try:
            written = idna.encode(written, uts46=True, std3_rules=True).decode()
        except UnicodeError:
            return None
    name = written.lower()
    labels = name.split(".")
    return name if len(name) <= 253 and all(_LABEL.fullmatch(label) for label in labels) else None


# ---------------------------------------------------------------------------------------------------------- headers

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_VALUE = re.compile(r"[\x20-\x7e]{0,4096}")
OURS = frozenset(
    (
        *("host", "content-length", "content-encoding", "transfer-encoding", "accept-encoding", "te", "trailer"),
        *("connection", "keep-alive", "upgrade", "expect"),
        *("proxy-authorization", "proxy-authenticate", "proxy-connection"),
    )
)
"""Headers that say how a request is sent: never somebody else's to set."""


def check_headers(headers: Collection[tuple[str, str]]) -> None:
    """Judge headers that somebody configured for a target. Raises `Forbidden`; its detail shows names, never values."""
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise Forbidden("a header's name is no token (letters, digits and - are)")
        if name.lower() in OURS:
            raise Forbidden(f"the header {name} is set by Prelabel only")
        if not _VALUE.fullmatch(value):
            raise Forbidden(f"the header {name} has other than printable ASCII, or more than 4096 characters")
