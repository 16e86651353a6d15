"""The receiver behind `prelabel webhook listen`: verifies, hands on, answers."""

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from ..transport import is_loopback
from ..webhooks import NotVerified, WebhookEvent, verify

LONGEST_BODY = 4 * 1024 * 1024
REMEMBERED = 10_000
"""Ids by which a second delivery is told from a first."""
FORWARD_SECONDS = 15.0


class Received:
    """What came in, and what it was answered."""

    def __init__(self, event: WebhookEvent | None, why: str, again: bool, status: int, seconds: float) -> None:
        self.event = event
        self.why = why
        self.again = again
        self.status = status
        self.seconds = seconds


class Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, printed: "queue.SimpleQueue[Received]", forward: str | None) -> None:
        super().__init__(("127.0.0.1", port), _Requests)
        self.printed = printed
        self.forward = forward
        self.secret = ""
        self.seen: OrderedDict[str, None] = OrderedDict()
        self.lock = threading.Lock()

    def again(self, delivery: str) -> bool:
        """Whether it came before."""
        with self.lock:
            known = delivery in self.seen
            self.seen[delivery] = None
            if len(self.seen) > REMEMBERED:
                self.seen.popitem(last=False)
            return known


class _Requests(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:
        """Verify it, hand it on, answer."""
        started = time.monotonic()
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LONGEST_BODY:
            self._answer(413)
            self.close_connection = True
            return
        body = self.rfile.read(int(length))
        event: WebhookEvent | None = None
        status, why, again = 204, "", False
        try:
            event = verify(body, dict(self.headers.items()), self.server.secret)
        except NotVerified as error:
            status, why = 400, str(error)
        else:
            again = self.server.again(event.id)
            if self.server.forward is not None:
                status, why = _forwarded(self.server.forward, body, dict(self.headers.items()))
        self._answer(status)
        self.server.printed.put(Received(event, why, again, status, time.monotonic() - started))

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """What came in is printed by us."""


def _forwarded(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    """What the other end answers; 502 where it does not."""
    sent = {name: value for name, value in headers.items() if name.lower() not in ("host", "content-length")}
    try:
        answer = httpx.post(url, content=body, headers=sent, timeout=FORWARD_SECONDS, trust_env=not is_loopback(url))
        return answer.status_code, ""
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return 502, f"{url} does not answer ({type(error).__name__})"


@contextmanager
def receiver(printed: "queue.SimpleQueue[Received]", forward: str | None, port: int) -> Iterator[Receiver]:
    with Receiver(port, printed, forward) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
