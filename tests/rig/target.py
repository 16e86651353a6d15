"""A service of models on loopback that speaks our REST contract over plain sockets, as well or as badly as told.

    async with Target(latency=0.3, per_second=50) as target:
        ... {"url": target.url} ...

Light on purpose: a benchmark shares its machine with it.
"""

import asyncio
import json
import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from deploy.local.ports import free_port

__all__ = ["Target", "answered", "said"]

Answer = tuple[int, dict[str, str], bytes]
Behave = Callable[["Target", Any], Awaitable[Answer]]


def answered(body: Any, status: int = 200, **headers: str) -> Answer:
    """An answer in JSON; `retry_after` becomes Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"content-type": "application/json", **named}, json.dumps(body).encode()


def said(task: dict[str, Any]) -> dict[str, Any]:
    """A prediction: the first word of the text."""
    text = task["data"].get("text", "")
    end = len(text.split(" ")[0])
    return {"id": task["id"], "regions": [{"kind": "span", "start": 0, "end": end, "labels": ["WORD"], "score": 0.5}]}


async def well(target: "Target", body: Any) -> Answer:
    """Every task, in either form."""
    if "tasks" in body:
        return answered({"version": target.version, "predictions": [said(task) for task in body["tasks"]]})
    return answered({"version": target.version, **said(body)})


@dataclass
class Target:
    """Counts what it is asked; `behave` may be changed at any time."""

    latency: float = 0.0
    per_second: int | None = None
    """More calls than so many within any second are refused at once, by 429."""
    behave: Behave = well
    version: str = "words-1"
    port: int = field(default_factory=free_port)
    calls: int = 0
    refused: int = 0
    most_in_flight: int = 0
    tasks: Counter[str] = field(default_factory=Counter)
    """How often it was asked about each."""
    times: list[float] = field(default_factory=list)
    """When it was called, in monotonic seconds."""
    heads: list[str] = field(default_factory=list)
    """Request line and headers of the last calls."""
    _in_flight: int = 0
    _taken: deque[float] = field(default_factory=deque)
    _server: asyncio.Server | None = None
    _busy: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.port}/predict"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Be gone: connections are refused from now on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in tuple(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"content-length: *([0-9]+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1]) if length else 0)
                await self._answer(head, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._busy.discard(task)
            writer.close()

    async def _answer(self, head: str, raw: bytes, writer: asyncio.StreamWriter) -> None:
        self.heads = [*self.heads[-9:], head]
        self.calls += 1
        now = time.monotonic()
        self.times.append(now)
        if head.startswith("GET"):
            status, headers, content = answered({"status": "ok", "version": self.version})
        elif not self._grants(now):
            self.refused += 1
            status, headers, content = answered({"error": "too many"}, 429, retry_after="1")
        else:
            body = json.loads(raw)
            self.tasks.update(task["id"] for task in body.get("tasks", [body]) if "id" in task)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            try:
                if self.latency:
                    await asyncio.sleep(self.latency)
                status, headers, content = await self.behave(self, body)
            finally:
                self._in_flight -= 1
        lines = [f"HTTP/1.1 {status} -", f"content-length: {len(content)}", *(f"{n}: {v}" for n, v in headers.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        await writer.drain()

    def _grants(self, now: float) -> bool:
        if self.per_second is None:
            return True
        while self._taken and self._taken[0] <= now - 1:
            self._taken.popleft()
        if len(self._taken) >= self.per_second:
            return False
        self._taken.append(now)
        return True
