"""A TCP proxy that breaks connections off: what a client does then is what is tested.

    with CuttingProxy("127.0.0.1", 8080) as proxy:
        proxy.cut(up=[200_000, 0])      # the first connection dies after so many bytes upstream, the second at once
        ... f"http://127.0.0.1:{proxy.port}" ...

Connections beyond the list pass whole.
"""

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Self

_PIECE = 16 * 1024


class CuttingProxy:
    """Passes connections on to one address, on a free loopback port."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._up: deque[int | None] = deque()
        self._down: deque[int | None] = deque()
        self.connections = 0
        self.cuts = 0

    def cut(self, *, up: Iterable[int | None] = (), down: Iterable[int | None] = ()) -> None:
        """For the connections to come, in order: bytes to the server, or from it, after which it is reset."""
        self._up.extend(up)
        self._down.extend(down)

    def heal(self) -> None:
        """Connections to come pass whole."""
        self._up.clear()
        self._down.clear()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, name="proxy", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            up = self._up.popleft() if self._up else None
            down = self._down.popleft() if self._down else None
            if up == 0:
                self._reset(client)
                continue
            server = socket.create_connection(self._target)
            for source, target, limit in ((client, server, up), (server, client, down)):
                threading.Thread(target=self._pass, args=(source, target, limit), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        try:
            while piece := source.recv(_PIECE):
                if limit is not None and passed + len(piece) > limit:
                    target.sendall(piece[: limit - passed])
                    self._reset(source)
                    self._reset(target)
                    return
                passed += len(piece)
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for one in (source, target):
                one.close()

    def _reset(self, connection: socket.socket) -> None:
        self.cuts += 1
        # Without lingering, closing sends a reset: what is on its way is lost, as with a dead peer.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The thread that reads from it is woken: while it waits, the system keeps the connection open.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RD)
        connection.close()
