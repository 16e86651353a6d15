"""A receiver of webhooks over real HTTP, which verifies, keeps a ledger and misbehaves on request.

    async with receiving() as receiver:
        receiver.secrets["/a"] = "whsec_…"        # every request there is verified by the reference library
        receiver.answers["/a"] = [503, 500]       # statuses to come; 200 after them
        ... receiver.at("/a") ...

Paths below /status/N answer N; /hang never answers, /drip sends a byte a second, /huge sends a gigabyte, /redirect
points to a private address. `python -m tests.rig.receiver PORT LEDGER` is the same as a process, with a line
"PATH WEBHOOK-ID MILLISECONDS" per request in the ledger: how long after its event it came, in nine digits.
"""

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from standardwebhooks.webhooks import Webhook

from deploy.local.ports import LOOPBACK, free_port

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    id: str
    headers: dict[str, str]
    body: bytes
    at: float
    """Monotonic seconds."""
    signed_with: int | None
    """Which of the path's secrets verified it; None where no secret is known."""

    @property
    def event(self) -> dict[str, Any]:
        """The body."""
        return dict(json.loads(self.body))


@dataclass
class Receiver:
    """What came, and what is to be answered."""

    address: str
    secrets: dict[str, Sequence[str]] = field(default_factory=dict)
    answers: dict[str, list[int]] = field(default_factory=dict)
    answer_headers: dict[str, dict[str, str]] = field(default_factory=dict)
    answer_bodies: dict[str, bytes] = field(default_factory=dict)
    requests: list[Received] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    """Why a signature did not verify; empty as it should be."""
    ledger: Path | None = None
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def at(self, path: str) -> list[Received]:
        """Requests to a path, in order."""
        return [one for one in self.requests if one.path == path]

    def ids(self, path: str) -> set[str]:
        """The webhook-ids seen there."""
        return {one.id for one in self.at(path)}

    async def until(self, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """Return once something holds, looked at whenever a request comes. Raises AssertionError after a while."""
        try:
            async with asyncio.timeout(seconds):
                while not ready():
                    self._arrived.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._arrived.wait(), 0.2)
        except TimeoutError:
            seen = [(one.path, one.event["type"]) for one in self.requests[-5:]]
            raise AssertionError(f"never came; {len(self.requests)} requests, the last {seen}") from None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path = str(scope["path"])
        self._take(path, headers, body)
        if path.startswith("/hang"):
            await asyncio.sleep(3600)
        elif path.startswith("/drip"):
            await _stream(send, 3600, b".", 1.0)
        elif path.startswith("/huge"):
            await _stream(send, 16_000, b"x" * 65536, 0)
        elif path.startswith("/redirect"):
            await _answer(send, 302, [(b"location", b"http://169.254.169.254/latest/meta-data/")], b"")
        else:
            await self._plain(send, path)

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        signed_with = None
        for at, secret in enumerate(self.secrets.get(path, ())):
            try:
                Webhook(secret).verify(body, headers)
                signed_with = at
                break
            except Exception as error:
                if at + 1 == len(self.secrets[path]):
                    self.unverified.append(f"{path}: {type(error).__name__}: {error}")
        one = Received(path, headers.get("webhook-id", ""), headers, body, time.monotonic(), signed_with)
        if self.ledger is None:
            self.requests.append(one)
        else:
            with self.ledger.open("a") as file:
                file.write(f"{path} {one.id} {_age_ms(body):09d}\n")
        self._arrived.set()

    async def _plain(self, send: Send, path: str) -> None:
        status = 200
        if path.startswith("/status/"):
            status = int(path.split("/")[2])
        elif self.answers.get(path):
            status = self.answers[path].pop(0)
        headers = [(name.encode(), value.encode()) for name, value in self.answer_headers.get(path, {}).items()]
        await _answer(send, status, headers, self.answer_bodies.get(path, b"ok"))


def _age_ms(body: bytes) -> int:
    moment = datetime.fromisoformat(json.loads(body)["timestamp"])
    return max(0, round(1000 * (time.time() - moment.timestamp())))


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(send: Send, times: int, piece: bytes, pause: float) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(times):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(pause)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def receiving(*, port: int | None = None, ledger: Path | None = None) -> AsyncIterator[Receiver]:
    """A receiver on loopback, until the block ends."""
    listening = socket.create_server((LOOPBACK, port or free_port()), backlog=2048)
    receiver = Receiver(f"http://{LOOPBACK}:{listening.getsockname()[1]}", ledger=ledger)
    config = uvicorn.Config(
        receiver, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1, backlog=2048
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
        yield receiver
    finally:
        server.should_exit = True
        server.force_exit = True
        await asyncio.wait({serving}, timeout=5)
        listening.close()


async def _main(port: int, ledger: Path) -> None:
    async with receiving(port=port, ledger=ledger):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), Path(sys.argv[2])))
