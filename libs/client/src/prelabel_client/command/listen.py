"""`prelabel webhook listen`: receive on this machine while one develops."""

import queue
import signal
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any

import typer

from ..errors import PrelabelError
from ..webhooks import NotVerified, WebhookEvent, verify
from .exits import say
from .options import Json, Profile
from .output import Out, cell, clean
from .session import session

LONGEST_BODY = 4 * 1024 * 1024
REMEMBERED = 10_000
"""Ids by which a second delivery is told from a first."""
FORWARD_SECONDS = 15.0


def listen(
    forward: Annotated[
        str | None, typer.Option("--forward", help="Hand each event on to this address, as it came.", metavar="URL")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="To listen on; 0 takes a free one.")] = 0,
    url: Annotated[
        str | None, typer.Option("--url", help="Where Prelabel reaches this, if it runs elsewhere (a tunnel).")
    ] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", "-t", help="An event type, or noun.*; may be repeated; else all.")
    ] = None,
    project: Annotated[
        list[str] | None, typer.Option("--project", "-p", help="A project; may be repeated; else all.")
    ] = None,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Receive events on this machine, verify them, and print each on one line, until Ctrl-C.

    It subscribes itself, and removes the subscription at the end. With --forward each event is handed on, and what
    that answers is what Prelabel is answered.

    \b
    Example:
      prelabel webhook listen
      prelabel webhook listen --forward http://localhost:3000/hook --type 'prediction.*'
    """
    out = Out(json=json)
    printed: queue.SimpleQueue[Received] = queue.SimpleQueue()
    with session(profile) as client, _server(printed, forward, port) as server:
        here = url or f"http://127.0.0.1:{server.server_port}/"
        made = client.create_subscription(here, types=type_ or (), projects=project or (), description="listen")
        server.secret = made.secret
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        out.note(f"listening at {here}; Ctrl-C ends it")
        try:
            while True:
                _print(out, printed.get())
        except KeyboardInterrupt:
            return
        finally:
            try:
                client.delete_subscription(made.id)
            except PrelabelError as error:
                say(f"the subscription {made.id} could not be removed ({error}): prelabel webhook remove {made.id}")


class Received:
    """What came in, and what it was answered."""

    def __init__(self, event: WebhookEvent | None, why: str, again: bool, status: int, seconds: float) -> None:
        self.event = event
        self.why = why
        self.again = again
        self.status = status
        self.seconds = seconds


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, printed: "queue.SimpleQueue[Received]", forward: str | None) -> None:
        super().__init__(("127.0.0.1", port), _Receiver)
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


class _Receiver(BaseHTTPRequestHandler):
    server: _Server
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
    import httpx

    from ..transport import is_loopback

    sent = {name: value for name, value in headers.items() if name.lower() not in ("host", "content-length")}
    try:
        answer = httpx.post(url, content=body, headers=sent, timeout=FORWARD_SECONDS, trust_env=not is_loopback(url))
        return answer.status_code, ""
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return 502, f"{url} does not answer ({type(error).__name__})"


@contextmanager
def _server(printed: "queue.SimpleQueue[Received]", forward: str | None, port: int) -> Iterator[_Server]:
    with _Server(port, printed, forward) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _print(out: Out, received: Received) -> None:
    event = received.event
    if event is None:
        say(f"not verified: {received.why}")
        return
    if out.json:
        out.value({"id": event.id, "type": event.type, "timestamp": event.timestamp, "data": event.data})
    else:
        data = event.data
        about = "/".join(str(data[word]) for word in ("project", "task", "run") if data.get(word))
        named = [str(data[word]) for word in ("id", "model", "outcome", "reason") if data.get(word)]
        labels = sorted({str(label) for region in data.get("regions") or () for label in region.get("labels", ())})
        answer = "" if received.status == 204 else f"-> {received.status} {received.why}".rstrip()
        again = "(again)" if received.again else ""
        words = [event.timestamp[11:19], event.type, about, *named, cell(labels), again, answer]
        out.line("  ".join(clean(word) for word in words if word))
    sys.stdout.flush()
