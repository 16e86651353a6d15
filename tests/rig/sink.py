"""A receiver that costs next to nothing, for measuring senders: answers 200 at once and counts.

python -m tests.rig.sink PORT [delay in ms]; GET /count answers with the number of POSTs.
"""

import asyncio
import sys
from typing import cast

from deploy.local.ports import LOOPBACK

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class _Sink(asyncio.Protocol):
    count = 0

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._data[:end]).lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._data) < end + 4 + length:
                return
            del self._data[: end + 4 + length]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"get"):
            body = str(_Sink.count).encode()
            self._write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            return
        _Sink.count += 1
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._write, _OK)
        else:
            self._write(_OK)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


async def main(port: int, delay: float) -> None:
    """Answer until the process ends."""
    server = await asyncio.get_running_loop().create_server(lambda: _Sink(delay), LOOPBACK, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.0))
