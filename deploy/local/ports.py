"""TCP ports on loopback."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

from deploy.local.errors import PortTaken

LOOPBACK = "127.0.0.1"

# Below the range from which systems take ports for outgoing connections (32768 and up on Linux, 49152 and
# up elsewhere): while a server in that range is down, a client that keeps trying can be given the very port
# it calls, connect to itself, and keep the server from coming back.
_FIRST, _LAST = 20_000, 29_999
_STEP = 7  # comes by every port of them


def is_free(port: int) -> bool:
    """True where a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port from 20000 to 29999 that nobody listens on now, nor was given to anybody here a short while ago.

    Raises PortTaken after a thousand tries.
    """
    for _ in range(1_000):
        port = _next_port()
        if is_free(port):
            return port
    raise PortTaken(f"no free port between {_FIRST} and {_LAST} on {LOOPBACK}")


def _next_port() -> int:
    """One that was not given for long, to any process: who gets one may take a while to listen there.

    No neighbour of the last: some servers take the next port too.
    """
    path = Path(tempfile.gettempdir()) / f"prelabel-ports-{os.getuid()}"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go of with the file
        said = file.read().strip()
        last = int(said) if said.isdecimal() else random.randint(_FIRST, _LAST)
        port = _FIRST + (last + _STEP - _FIRST) % (_LAST + 1 - _FIRST)
        file.seek(0)
        file.write(f"{port:5d}\n")
    return port
