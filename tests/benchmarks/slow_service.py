"""A service that takes its time and grants so many calls a second, for the remote provider to call.

python -m tests.benchmarks.slow_service PORT [--seconds 0.3] [--quota 50]

Over its quota (tokens that fill up evenly, a second's worth at most) it answers 429 at once, with Retry-After.
It speaks our REST contract, in the single form. GET /calls tells how many it has answered and refused.
"""

import argparse
import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

LABEL = "FIRST"


@dataclass(slots=True)
class Quota:
    """Tokens that fill up evenly."""

    per_second: float
    clock: Callable[[], float] = time.monotonic
    tokens: float = field(init=False)
    _filled: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens, self._filled = self.per_second, self.clock()

    def take(self) -> bool:
        """Whether there was one."""
        now = self.clock()
        self.tokens = min(self.per_second, self.tokens + (now - self._filled) * self.per_second)
        self._filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class Service:
    """Counts, waits, answers."""

    seconds: float
    quota: Quota
    answered: int = 0
    refused: int = 0

    async def predict(self, request: Request) -> Response:
        """One task."""
        task = orjson.loads(await request.body())
        if not self.quota.take():
            self.refused += 1
            return Response(status_code=429, headers={"Retry-After": "1"})
        await asyncio.sleep(self.seconds)
        self.answered += 1
        first = task["data"]["text"].partition(" ")[0]
        region = {"kind": "span", "start": 0, "end": len(first), "labels": [LABEL]}
        return JSONResponse({"id": task["id"], "version": "slow-1", "regions": [region]})

    async def calls(self, _: Request) -> Response:
        """What has happened."""
        return JSONResponse({"answered": self.answered, "refused": self.refused})


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.slow_service")
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--quota", type=float, default=50.0)
    arguments = parser.parse_args()
    service = Service(arguments.seconds, Quota(arguments.quota))
    routes = [Route("/predict", service.predict, methods=["POST"]), Route("/calls", service.calls)]
    uvicorn.run(Starlette(routes=routes), port=arguments.port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
