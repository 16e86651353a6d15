"""A model that is called: a service that takes 300 ms and grants 50 calls a second."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from deploy.local.ports import LOOPBACK, free_port
from deploy.local.process import ServerProcess
from tests.benchmarks.case import Case, Figure, Lost, Turn, Values
from tests.benchmarks.pipeline import Asked, Pipeline, lines
from tests.benchmarks.slow_service import LABEL
from tests.benchmarks.stage import Stage

SECONDS, QUOTA = 0.3, 50.0
_WITHIN = 0.95
_SETTLES_S = 5.0
"""Before the clock starts: tokens that nobody took are gone by then."""
_ENVIRONMENT = {"PRELABEL_EGRESS_ALLOW": '["127.0.0.0/8"]'}


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """The quota told in the settings, and found by trying, each round on a new service; then a service that hangs."""
    with ExitStack() as stack:
        turns = []
        told = {"remote": {"rate": {"calls_per_second": QUOTA}}, "remote.untold": {}}
        wanted = {name: settings for name, settings in told.items() if stage.wants(f"{name}.calls")}
        if wanted:
            pipeline = stack.enter_context(stage.on_sqlite("remote", ["remote"], _ENVIRONMENT))
            turns += [_turn(stage, pipeline, name, settings) for name, settings in wanted.items()]
        if stage.wants("remote.others"):
            turns.append(Turn("remote.others", lambda number: _dead(stage, number)))
        yield turns


def _turn(stage: Stage, pipeline: Pipeline, name: str, settings: Mapping[str, Any]) -> Turn:
    def measure(number: int) -> Values:
        with slow_service(stage) as address, pipeline.client() as http:
            project = f"{name.replace('.', '-')}-{number}"
            pipeline.set_up(http, project, _asked(address, settings))
            tasks = int((_SETTLES_S + stage.sizes.seconds + 1) * QUOTA)
            run = pipeline.upload(http, project, lines(f"word{task} and some more text" for task in range(tasks)))
            time.sleep(_SETTLES_S)
            before, began = calls(address), time.monotonic()
            time.sleep(stage.sizes.seconds)
            after, seconds = calls(address), time.monotonic() - began
            answered, refused = (after[one] - before[one] for one in ("answered", "refused"))
            if not answered:
                raise Lost("the service was not called")
            pipeline.ended(http, project, run, tasks)
        return {f"{name}.calls": answered / seconds, f"{name}.429_share": refused / (answered + refused)}

    return Turn(name, measure)


def _dead(stage: Stage, number: int) -> Values:
    from tests.benchmarks import remote

    folder = stage.folder / f"remote-dead-{number}"
    folder.mkdir()
    return asyncio.run(remote.dead(folder, stage.sizes.seconds))


def _asked(address: str, settings: Mapping[str, Any]) -> Asked:
    return Asked(
        question={"name": "first", "kind": "span", "field": "text", "labels": [LABEL]},
        model={"name": "first", "provider": "remote", "settings": {"url": f"{address}/predict", **settings}},
    )


@contextmanager
def slow_service(stage: Stage, *, seconds: float = SECONDS, quota: float = QUOTA) -> Iterator[str]:
    """The address of a service that takes its time. Raises Lost."""
    port = free_port()
    options = ["--seconds", str(seconds), "--quota", str(quota)]
    process = ServerProcess.start(
        [sys.executable, "-m", "tests.benchmarks.slow_service", str(port), *options],
        log=stage.folder / "slow_service.log",
        tied=True,
    )
    try:
        address = f"http://{LOOPBACK}:{port}"
        deadline = time.monotonic() + 30
        while True:
            try:
                calls(address)
                break
            except httpx.TransportError as error:
                if time.monotonic() > deadline or not process.alive:
                    raise Lost("the slow service did not start") from error
                time.sleep(0.05)
        yield address
    finally:
        process.signal(signal.SIGTERM)
        process.wait(10)


def calls(address: str) -> Mapping[str, int]:
    """How many calls a service has answered and refused. Raises httpx.TransportError."""
    found: Mapping[str, int] = httpx.get(f"{address}/calls", trust_env=False).json()
    return found


def _figures(name: str, how: str, share: float | None) -> Iterator[Figure]:
    at_least, at_most = (_WITHIN * QUOTA, share) if share else (None, None)
    yield Figure(
        f"{name}.calls",
        "calls/s",
        f"answers of a service that takes {SECONDS * 1000:g} ms and grants {QUOTA:g} calls a second, {how}",
        at_least=at_least,
    )
    yield Figure(
        f"{name}.429_share", "share", "of its answers, those that refuse because of the quota", at_most=at_most
    )


CASE = Case(
    "remote",
    (
        *_figures("remote", "its quota being told", 0.01),
        *_figures("remote.untold", "its quota being found by trying", None),
        Figure("remote.breaker_s", "s", "from a service's first task to where it is known to hang", at_most=10),
        Figure("remote.others.alone", "tasks/s", "another provider, nothing else going on"),
        Figure("remote.others.beside", "tasks/s", "it, beside a service that hangs", "remote.others.alone", 0.95),
    ),
    start,
    long=True,
)
