"""Random bytes for ids, asked of the system for hundreds of ids at a time.

Asking lets other threads of the process run, and where one of them is busy it takes milliseconds to go on: in an upload
of many lines, beside a writing thread, ids took a quarter of the time.
"""

import os
from collections import deque

_PIECE = 16
"""Bytes; whoever wants more, as for a secret, is given them from the system straight away."""
_BLOCK = 256 * _PIECE


class Entropy:
    """`os.urandom`; small sizes come from what was fetched before. Threads and forks are given others, too."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._pieces: deque[bytes] = deque()

    def __call__(self, size: int) -> bytes:
        """So many random bytes."""
        if size > _PIECE:
            return os.urandom(size)
        if self._process != os.getpid():  # a fork has the same pieces as its parent
            self._process, self._pieces = os.getpid(), deque()
        try:
            return self._pieces.popleft()[:size]
        except IndexError:
            block = os.urandom(_BLOCK + _PIECE)
            self._pieces.extend(block[at : at + _PIECE] for at in range(_PIECE, len(block), _PIECE))
            return block[:size]
