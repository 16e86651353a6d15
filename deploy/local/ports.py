"""TCP ports on loopback."""

import random
import socket

from deploy.local.errors import PortTaken

LOOPBACK = "127.0.0.1"

# Below the range from which systems take ports for outgoing connections (32768 and up on Linux, 49152 and
# up elsewhere): while a server in that range is down, a client that keeps trying can be given the very port
# it calls, connect to itself, and keep the server from coming back.
_FIRST, _LAST = 20_000, 29_999


def is_free(port: int) -> bool:
    """True where a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(chance: random.Random | None = None) -> int:
    """A port from 20000 to 29999 that nobody listens on now. Raises PortTaken after a thousand draws."""
    chance = chance or random.Random()
    for _ in range(1_000):
        port = chance.randint(_FIRST, _LAST)
        if is_free(port):
            return port
    raise PortTaken(f"no free port between {_FIRST} and {_LAST} on {LOOPBACK}")
