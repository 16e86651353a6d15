"""How many deliveries a second: `python -m tests.benchmarks.webhooks [--profile] [deliveries]` prints a table.

The webhooks service alone, on the embedded bus and store; the receiver is a process of its own that answers at once.
"""

import argparse
import asyncio
import contextlib
import cProfile
import pstats
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
from prelabel_contract.events import PredictionCreated, event
from prelabel_contract.regions import Span
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, open_bus, open_store, serve
from prelabel_runtime.settings import RuntimeSettings
from prelabel_webhooks.service import build
from prelabel_webhooks.settings import WebhooksSettings
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table as Grid

from deploy.local.ports import LOOPBACK, free_port
from deploy.local.process import ServerProcess

KEY = "pl_a-key-for-the-benchmark"


class _Here(RuntimeSettings):
    one_process = True


def predictions(first: int, count: int) -> list[PredictionCreated]:
    """Outcomes as a model gives them."""
    return [
        PredictionCreated(
            project="p",
            task=f"task-{n}",
            request=f"request-{n}",
            revision=n,
            model="names",
            provider="echo",
            config="c" * 32,
            input_hash="h" * 32,
            version="v1",
            label_set="l" * 32,
            regions=(Span(start=7, end=14, labels=("TYPE",), text="OSError"),),
        )
        for n in range(first, first + count)
    ]


@contextlib.asynccontextmanager
async def webhooks(folder: Path) -> AsyncIterator[tuple[Runtime, httpx.AsyncClient]]:
    """The service, and a client of it."""
    settings = _Here(
        bus=f"sqlite:///{folder}/log.db",
        store=f"sqlite:///{folder}/results.db",
        port=free_port(),
        health_port=free_port(),
        api_key=SecretStr(KEY),
    )
    clock = SystemClock()
    runtime = Runtime(settings, open_bus(settings, clock), open_store(settings, clock), Metrics())
    ours = WebhooksSettings(keys=(SecretStr("A" * 43 + "="),))
    ready, stopping = asyncio.Event(), asyncio.Event()

    async def told(_: Runtime) -> None:
        ready.set()

    served = asyncio.create_task(
        serve(runtime, lambda runtime: [build(runtime, ours)], name="bench", ready=told, stopping=stopping)
    )
    await ready.wait()
    try:
        async with httpx.AsyncClient(
            base_url=f"http://{LOOPBACK}:{settings.port}", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False
        ) as client:
            yield runtime, client
    finally:
        stopping.set()
        await served


@contextlib.contextmanager
def sink(folder: Path, port: int) -> Iterator[None]:
    """The receiver's process."""
    process = ServerProcess.start(
        [sys.executable, "-m", "tests.rig.sink", str(port)], log=folder / "sink.log", tied=True
    )
    try:
        yield
    finally:
        process.signal(signal.SIGKILL)


async def counted(asking: httpx.AsyncClient, port: int) -> int:
    """Deliveries that have come."""
    return int((await asking.get(f"http://{LOOPBACK}:{port}/count")).text)


async def measure(endpoints: int, deliveries: int, folder: Path) -> tuple[float, float]:
    """Deliveries per second, and CPU microseconds for each."""
    port = free_port()
    count = deliveries // endpoints
    with sink(folder, port):
        async with webhooks(folder) as (runtime, client):
            for number in range(endpoints):
                body = {"url": f"http://{LOOPBACK}:{port}/{number}", "types": ["prediction.created"]}
                (await client.post("/v1/subscriptions", json=body)).raise_for_status()
            await asyncio.sleep(1.0)
            began, cpu = time.monotonic(), time.process_time()
            for first in range(0, count, 500):
                told = [
                    event(data, id=data.request, source="/bench", time_ms=1)
                    for data in predictions(first, min(500, count - first))
                ]
                await runtime.bus.publish(messages(told))
            async with httpx.AsyncClient(trust_env=False, timeout=60) as asking:
                while await counted(asking, port) < count * endpoints:  # noqa: ASYNC110 - another process counts
                    await asyncio.sleep(0.05)
            seconds, spent = time.monotonic() - began, time.process_time() - cpu
    return count * endpoints / seconds, spent / (count * endpoints) * 1e6


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.webhooks", description=__doc__)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--endpoints", type=int, help="only so many, instead of 1 and 50")
    parser.add_argument("deliveries", nargs="?", type=int, default=10_000)
    arguments = parser.parse_args()
    grid = Grid("endpoints", "deliveries/s", "CPU µs each")
    for endpoints in (arguments.endpoints,) if arguments.endpoints else (1, 50):
        with tempfile.TemporaryDirectory() as name:
            measuring = measure(endpoints, arguments.deliveries, Path(name))
            if arguments.profile:
                profile = cProfile.Profile()
                profile.runcall(asyncio.run, measuring)
                pstats.Stats(profile).sort_stats("tottime").print_stats(40)
                continue
            rate, cost = asyncio.run(measuring)
            grid.add_row(str(endpoints), f"{rate:,.0f}", f"{cost:,.0f}")
    Console().print(grid)
    return 0


if __name__ == "__main__":
    sys.exit(main())
