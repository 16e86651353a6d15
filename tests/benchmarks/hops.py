"""What one task costs in each hop: `python -m tests.benchmarks.hops [--profile HOP] [tasks]` prints a table.

Every hop runs alone, on the embedded bus and store, over all that the hops before it have written; the model answers
at once. The event loop's thread can never do two things at a time; what the disk's threads do goes on beside it.
"""

import argparse
import asyncio
import cProfile
import json
import pstats
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prelabel_contract import names
from prelabel_contract.events import ConfigPublished, PredictionRequested
from prelabel_contract.names import Lane
from prelabel_contract.projects import Project
from prelabel_contract.regions import REGIONS, Span
from prelabel_ingestion.projects import publication
from prelabel_ingestion.service import build as build_ingestion
from prelabel_ingestion.settings import IngestionSettings, Share
from prelabel_ingestion.shares import Shares
from prelabel_ingestion.submission import Door
from prelabel_ingestion.upload import Upload, lines
from prelabel_projection.service import build as build_projection
from prelabel_projection.settings import ProjectionSettings
from prelabel_provider.base import Description, Failed, Input
from prelabel_provider.inference import Inference
from prelabel_provider.worker import ModelWorker
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.loop import Loop, messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, open_bus, open_store, topics_of
from prelabel_runtime.service import Batching, Service, Subscription
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.tables import Table
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table as Grid

TEXT = (
    "Raises OSError when os.replace cannot move the file, or ValueError if a name has a null byte; see os.rename too."
)
_REGIONS = REGIONS.dump_json((Span(start=7, end=14, labels=("TYPE",), text="OSError"),), exclude_none=True)


class InstantWorker(ModelWorker):
    """A model that knows the answer."""

    async def load(self, settings: Mapping[str, JsonValue]) -> Description:
        """Nothing."""
        return Description("instant", frozenset({"span"}))

    def description(self, key: str) -> Description:
        """As ever."""
        return Description("instant", frozenset({"span"}))

    async def predict_each(self, key: str, inputs: Sequence[Input], lane: Lane = Lane.BULK) -> list[bytes | Failed]:
        """One name each."""
        return [_REGIONS] * len(inputs)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds per task."""

    loop: float
    """Of the thread that runs the event loop."""
    others: float


async def measure(folder: Path, tasks: int, profile: str | None) -> dict[str, Cost]:
    """All hops, one after the other."""
    settings = RuntimeSettings(bus=f"sqlite:///{folder}/log.db", store=f"sqlite:///{folder}/results.db")
    clock = SystemClock()
    runtime = Runtime(settings, open_bus(settings, clock), open_store(settings, clock), Metrics())
    await runtime.bus.start()
    await runtime.store.start()
    configs = Table(runtime.bus, names.CONFIGS, ConfigPublished, rng=runtime.rng)
    services = [
        build_ingestion(runtime, IngestionSettings()),
        Service("inference", parts=(configs,), subscriptions=(_inference(runtime, configs),)),
        build_projection(runtime, ProjectionSettings()),
    ]
    hops = {"dispatcher": services[0], "inference": services[1], "projection": services[2]}
    await runtime.bus.provision(topics_of(services, 1))
    await _publish_project(runtime)
    for service in services:
        for part in service.parts:
            await part.start()
    costs = {"upload": await _cost(lambda: _upload(runtime, tasks), tasks, profile == "upload")}
    for name, service in hops.items():
        loop = Loop(
            runtime.bus, service.subscriptions[0], clock=clock, metrics=runtime.metrics, rng=random.Random(1)
        )  # fmt: skip
        costs[name] = await _cost(lambda loop=loop: _run_dry(loop), tasks, profile == name)  # type: ignore[misc]
    for service in services:
        for part in service.parts:
            await part.stop()
    await runtime.store.stop()
    await runtime.bus.stop()
    return costs


async def _cost(work: Callable[[], Awaitable[None]], tasks: int, profiled: bool) -> Cost:
    profiler = cProfile.Profile(time.thread_time)
    if profiled:
        profiler.enable()
    thread, process = time.thread_time(), time.process_time()
    await work()
    thread, process = time.thread_time() - thread, time.process_time() - process
    if profiled:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
    return Cost(thread / tasks * 1e6, (process - thread) / tasks * 1e6)


async def _upload(runtime: Runtime, tasks: int) -> None:
    async def body() -> AsyncIterator[bytes]:
        one = json.dumps({"data": {"text": TEXT}}).encode() + b"\n"
        for start in range(0, tasks, 400):
            yield one * min(400, tasks - start)

    shares = Shares(Share(tasks=tasks), {}, runtime.clock.monotonic, runtime.metrics)
    door = Door("bench", "http", runtime.blobs, runtime.clock.now_ms, runtime.new_id, shares, run=runtime.new_id())
    upload = Upload(runtime.bus, door, runtime.store.submissions, runtime.metrics)
    await upload.open()
    async for batch in lines(body()):
        await upload.take_lines(batch)
    await upload.seal()


async def _run_dry(loop: Loop) -> None:
    running = asyncio.create_task(loop.run())
    while not loop.joined or any((await loop.lag()).values()):  # noqa: ASYNC110 - nothing tells when a lag is gone
        await asyncio.sleep(0.02)
    loop.stop()
    await running


def _inference(runtime: Runtime, configs: Table[ConfigPublished]) -> Subscription:
    inference = Inference("instant", InstantWorker("instant"), configs, runtime.blobs, runtime.clock, runtime.metrics)
    return Subscription(
        group=names.inference_group("instant", Lane.BULK),
        topics=(names.requests("instant", Lane.BULK),),
        batching=Batching(records=256, linger=0.02, ahead=2),
        on={PredictionRequested: inference.predict},
    )


async def _publish_project(runtime: Runtime) -> None:
    question = {"name": "names", "kind": "span", "field": "text", "labels": ["TYPE"]}
    project = Project.model_validate(
        {
            "id": "bench",
            "label_set": {"questions": [question]},
            "models": [{"name": "names", "provider": "instant"}],
        }
    )
    news = publication(project, 1, now_ms=runtime.clock.now_ms(), new_id=runtime.new_id())
    await runtime.bus.publish(messages(news))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.hops")
    parser.add_argument("tasks", type=int, nargs="?", default=5000)
    parser.add_argument("--profile", choices=("upload", "dispatcher", "inference", "projection"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="prelabel-hops-") as folder:
        costs = asyncio.run(measure(Path(folder), arguments.tasks, arguments.profile))
    shown = Grid(title=f"CPU µs per task, {arguments.tasks:,} tasks", title_justify="left")
    for column in ("hop", "event loop", "other threads"):
        shown.add_column(column, justify="right" if column != "hop" else "left")
    for name, cost in costs.items():
        shown.add_row(name, f"{cost.loop:,.0f}", f"{cost.others:,.0f}")
    shown.add_row("all", f"{sum(c.loop for c in costs.values()):,.0f}", f"{sum(c.others for c in costs.values()):,.0f}")
    Console().print(shown)


if __name__ == "__main__":
    main()
