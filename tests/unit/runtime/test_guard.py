"""The guard over requests that take long: they end with the key that they came with."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.http.access import READERS, Caller, Reach, allow
from prelabel_runtime.http.app import application
from prelabel_runtime.http.guard import AGAIN_SECONDS, Guarded
from prelabel_runtime.http.limits import Limits, LimitsSettings
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.testing.doubles import ManualClock

ADA = Caller("ada", "Ada", "admin")


class Door:
    """One route that streams three parts out, and one that takes them in; time passes between the parts."""

    def __init__(self, *, revoked_after: int | None = None, away: bool = False, seconds: float = AGAIN_SECONDS) -> None:
        self.clock = ManualClock()
        self.parts = 0
        self.seen: list[bytes] = []
        router = APIRouter()

        async def three() -> AsyncIterator[bytes]:
            for part in (b"one", b"two", b"three"):
                self._next(seconds)
                yield part

        @router.get("/out", dependencies=[allow("x.list", READERS, Reach.LISTING)])
        async def out() -> Response:
            return StreamingResponse(three())

        @router.post("/in", dependencies=[allow("x.put", READERS, Reach.LISTING)])
        async def take(request: Request) -> Response:
            async for part in request.stream():
                self.seen.append(part)
            return Response("taken")

        self._seconds = seconds
        self._revoked_after = revoked_after
        self._away = away
        self.app = Guarded(
            application([router], title="x"),
            self._identify,
            frozenset(),
            Limits(LimitsSettings(), self.clock),
            Metrics(),
        )

    async def _identify(self, _: Any) -> Caller | None:
        if self._away and self.parts:
            raise Unavailable("the bus")
        return None if self._revoked_after is not None and self.parts > self._revoked_after else ADA

    def _next(self, seconds: float) -> None:
        self.parts += 1
        self.clock.advance(seconds)

    async def ask(self, method: str, path: str) -> list[Any]:
        scope = {
            "type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "client": ("::1", 1),
            "scheme": "http", "asgi": {"spec_version": "2.4"},
        }  # fmt: skip
        sent: list[Any] = []
        parts = iter((b"one", b"two", b"three"))

        async def receive() -> Any:
            part = next(parts, None)
            self._next(self._seconds)
            return {"type": "http.request", "body": part or b"", "more_body": part is not None}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return sent


def body(sent: list[Any]) -> tuple[bytes, bool]:
    """What was answered, and whether that was all."""
    parts = [message for message in sent if message["type"] == "http.response.body"]
    return b"".join(part.get("body", b"") for part in parts), bool(parts) and not parts[-1].get("more_body", False)


async def test_a_key_that_stays_gets_all_of_a_stream() -> None:
    assert body(await Door().ask("GET", "/out")) == (b"onetwothree", True)


async def test_a_stream_ends_with_its_key_and_does_not_look_complete() -> None:
    assert body(await Door(revoked_after=1).ask("GET", "/out")) == (b"one", False)


async def test_an_upload_ends_with_its_key_and_is_told_so() -> None:
    door = Door(revoked_after=1)
    sent = await door.ask("POST", "/in")
    assert sent[0]["status"] == 401
    assert b"no_key" in body(sent)[0]
    assert door.seen == [b"one"]


async def test_a_bus_that_is_away_ends_nothing() -> None:
    assert body(await Door(away=True).ask("GET", "/out")) == (b"onetwothree", True)


async def test_a_key_is_not_looked_at_again_for_every_part() -> None:
    door = Door(revoked_after=0, seconds=AGAIN_SECONDS / 10)
    assert body(await door.ask("GET", "/out")) == (b"onetwothree", True)
