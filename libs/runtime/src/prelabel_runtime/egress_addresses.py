"""Which addresses may be dialled: those of the public internet, and what the operator allows by name.

Python's `ipaddress` calls addresses public that reach into private networks (NAT64, 6to4), and cannot know what a
cloud serves at a public-looking address (168.63.129.16). So every range is written down here, and IPv6 outside of the
one block that is handed out for public use is denied altogether.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Kind(Enum):
    """What opens a denied range again."""

    PRIVATE = "private"
    """Somebody's own network: allowed by a range that holds it, or by the name it was resolved from."""
    SPECIAL = "special"
    """No network of anybody: allowed by a range only."""
    METADATA = "metadata"
    """A cloud's credentials: allowed by exactly this address only, so that no wide range opens it by accident."""


@dataclass(frozen=True, slots=True)
class Denied:
    """A range, what it is, and what opens it."""

    network: Network
    what: str
    kind: Kind


def _denied(kind: Kind, ranges: dict[str, str]) -> list[Denied]:
    return [Denied(ip_network(text), what, kind) for text, what in ranges.items()]


DENIED: tuple[Denied, ...] = (
    # First match counts: the narrow ones stand before the wide ones that hold them.
    *_denied(
        Kind.METADATA,
        {
            "169.254.0.0/16": "link-local, where clouds serve credentials",
            "168.63.129.16/32": "Azure's wire server",
            "192.0.0.192/32": "Oracle's metadata",
            "100.100.100.200/32": "Alibaba's metadata",
            "fd00:ec2::/32": "Amazon's metadata",
            "fd20:ce::/32": "Google's metadata",
            "fe80::/10": "link-local",
        },
    ),
    *_denied(
        Kind.PRIVATE,
        {
            "10.0.0.0/8": "private",
            "100.64.0.0/10": "shared between carriers' customers",
            "127.0.0.0/8": "loopback",
            "172.16.0.0/12": "private",
            "192.168.0.0/16": "private",
            "::1/128": "loopback",
            "fc00::/7": "unique local",
        },
    ),
    *_denied(
        Kind.SPECIAL,
        {
            "0.0.0.0/8": "this network",
            "192.0.0.0/24": "protocol assignments",
            "192.0.2.0/24": "documentation",
            "192.88.99.0/24": "6to4 relays",
            "198.18.0.0/15": "benchmarking",
            "198.51.100.0/24": "documentation",
            "203.0.113.0/24": "documentation",
            "224.0.0.0/4": "multicast",
            "240.0.0.0/4": "reserved, and broadcast",
            "::/128": "unspecified",
            "::/96": "IPv4 within IPv6",
            "64:ff9b::/96": "IPv4 behind NAT64",
            "64:ff9b:1::/48": "IPv4 behind a local NAT64",
            "100::/64": "discard",
            "2001::/23": "protocol assignments, Teredo",
            "2001:db8::/32": "documentation",
            "2002::/16": "6to4",
            "3fff::/20": "documentation",
            "5f00::/16": "segment routing",
            "fec0::/10": "site-local",
            "ff00::/8": "multicast",
        },
    ),
)

_PUBLIC_V6 = IPv6Network("2000::/3")
_ELSEWHERE_V6 = Denied(IPv6Network("::/0"), "not handed out for public use", Kind.SPECIAL)


def plain(text: str) -> Address | None:
    """An address in its usual notation, an IPv4-mapped one as the IPv4 address that it dials; else None.

    A scope id (`fe80::1%eth0`) is no usual notation: it picks an interface of this machine.
    """
    if "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def why_denied(address: Address) -> Denied | None:
    """The range that denies an address; None for a public one."""
    for denied in DENIED:
        if address.version == denied.network.version and address in denied.network:
            return denied
    if isinstance(address, IPv6Address) and address not in _PUBLIC_V6:
        return _ELSEWHERE_V6
    return None


def opens(networks: Iterable[Network], address: Address, kind: Kind) -> bool:
    """Whether allowed ranges open an address of this kind."""
    return any(
        network.version == address.version
        and address in network
        and (kind is not Kind.METADATA or network.num_addresses == 1)
        for network in networks
    )
