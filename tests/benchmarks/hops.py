"""What one task costs in each hop: `python -m tests.benchmarks.hops [--on kafka] [--profile HOP] [tasks]`.

Every hop runs alone, over all that the hops before it have written; the model answers at once. Without --on the bus
and the store are the embedded ones; with it a broker and a MongoDB-wire server start beside. CPU microseconds per task:
of the thread that runs the event loop, which can never do two things at a time; of this process's other threads, which
go on beside it; of the servers. And what stays in memory: Python objects per task that are still there afterwards.

The middle of several rounds is told, each over tasks of its own: the first one also pays for what is made once.
"""

import argparse
import asyncio
import cProfile
import gc
import json
import pstats
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import partial
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
from prelabel_provider.predictor import Told
from prelabel_provider.worker.worker import ModelWorker
from prelabel_runtime import garbage
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.loop import Loop, messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.process import event_loop
from prelabel_runtime.run import Runtime, open_bus, open_store, topics_of
from prelabel_runtime.service import Batching, Service, Subscription
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.tables import Table
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table as Grid

from deploy.local.kafka.server import KafkaServer
from deploy.local.ports import free_port
from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.stage import RoomyMongo, start

PARTITIONS = 4
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

    async def predict_each(
        self, key: str, inputs: Sequence[Input], lane: Lane = Lane.BULK
    ) -> list[bytes | Told | Failed]:
        """One name each."""
        return [_REGIONS] * len(inputs)


HOPS = ("upload", "dispatcher", "other lanes", "inference", "projection")
"""`other lanes`: two more groups of the dispatcher look at each record and pass over what is not theirs."""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds per task."""

    loop: float
    """Of the thread that runs the event loop."""
    others: float
    """Of the other threads of the process."""
    servers: float = 0.0
    """Of broker and database."""
    kept: float = 0.0
    """Objects per task that are still there when all is done."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What the hops run on."""

    bus: str
    store: str
    pids: tuple[int, ...] = ()

    def cpu(self) -> float:
        """Seconds that they have used."""
        return sum(cpu_seconds(pid) for pid in self.pids)


def embedded(folder: Path) -> Servers:
    """No servers: two files."""
    return Servers(f"sqlite:///{folder}/log.db", f"sqlite:///{folder}/results.db")


async def measure(servers: Servers, tasks: int, *, profile: str | None = None, rounds: int = 3) -> dict[str, Cost]:
    """All hops, one after the other, some rounds of it."""
    settings = RuntimeSettings(bus=servers.bus, store=servers.store)
    clock = SystemClock()
    runtime = Runtime(settings, open_bus(settings, clock), open_store(settings, clock), Metrics())
    await runtime.bus.start()
    await runtime.store.start()
    configs = Table(runtime.bus, names.CONFIGS, ConfigPublished, rng=runtime.rng)
    ingestion = build_ingestion(runtime, IngestionSettings())
    projection = build_projection(runtime, ProjectionSettings())
    inference = Service("inference", parts=(configs,), subscriptions=(_inference(runtime, configs),))
    services = (ingestion, inference, projection)
    await runtime.bus.provision(topics_of(services, PARTITIONS))
    await _publish_project(runtime)
    for service in services:
        for part in service.parts:
            await part.start()
    groups = {
        "dispatcher": ingestion.subscriptions[:1],
        "other lanes": ingestion.subscriptions[1:],
        "inference": inference.subscriptions,
        "projection": projection.subscriptions,
    }
    found: dict[str, list[Cost]] = {name: [] for name in HOPS}
    for number in range(rounds):
        told = profile if number == rounds - 1 else None
        found["upload"].append(await _cost(lambda: _upload(runtime, tasks), servers, tasks, told == "upload"))
        for name, subscriptions in groups.items():
            work = partial(_run_dry, runtime, subscriptions)
            whole = await _cost(work, servers, tasks, told == name)
            if name != "other lanes":  # they commit now and then, so they would read it all again
                whole = _without(whole, await _cost(work, servers, tasks, profiled=False))  # joining, and leaving
            found[name].append(whole)
    for service in services:
        for part in service.parts:
            await part.stop()
    await runtime.store.stop()
    await runtime.bus.stop()
    return {name: _middle(costs) for name, costs in found.items()}


def _without(whole: Cost, part: Cost) -> Cost:
    return Cost(*(max(0.0, getattr(whole, field.name) - getattr(part, field.name)) for field in fields(Cost)))


def _middle(costs: Sequence[Cost]) -> Cost:
    return Cost(*(statistics.median(getattr(cost, field.name) for cost in costs) for field in fields(Cost)))


async def _cost(work: Callable[[], Awaitable[None]], servers: Servers, tasks: int, profiled: bool) -> Cost:
    profiler = cProfile.Profile(time.thread_time)
    gc.collect()
    blocks = sys.getallocatedblocks()
    if profiled:
        profiler.enable()
    thread, process, beside = time.thread_time(), time.process_time(), servers.cpu()
    await work()
    thread, process, beside = time.thread_time() - thread, time.process_time() - process, servers.cpu() - beside
    if profiled:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
    gc.collect()
    kept = sys.getallocatedblocks() - blocks
    return Cost(thread / tasks * 1e6, (process - thread) / tasks * 1e6, beside / tasks * 1e6, kept / tasks)


async def _upload(runtime: Runtime, tasks: int) -> None:
    async def body() -> AsyncIterator[bytes]:
        one = json.dumps({"data": {"text": TEXT}}).encode() + b"\n"
        for sent in range(0, tasks, 400):
            yield one * min(400, tasks - sent)

    shares = Shares(Share(tasks=tasks), {}, runtime.clock.monotonic, runtime.metrics)
    door = Door("bench", "http", runtime.blobs, runtime.clock.now_ms, runtime.new_id, shares, run=runtime.new_id())
    upload = Upload(runtime.bus, door, runtime.store.submissions, runtime.metrics)
    await upload.open()
    async for batch in lines(body()):
        await upload.take_lines(batch)
    await upload.seal()


async def _run_dry(runtime: Runtime, subscriptions: Sequence[Subscription]) -> None:
    """Groups read until nothing is left, then leave."""
    for subscription in subscriptions:
        loop = Loop(runtime.bus, subscription, clock=runtime.clock, metrics=runtime.metrics, rng=random.Random(1))
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
        batching=Batching(records=1000, linger=0.02, ahead=4),
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


@contextmanager
def on(side: str, within: Path | None = None) -> Iterator[Servers]:
    """Files for the embedded bus and store, or a broker and a database; gone afterwards. Raises ServerError.

    `within`: a folder for them, else among the temporary files.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prelabel-hops-", dir=within)))
        if side == "sqlite":
            yield embedded(folder)
            return
        kafka = KafkaServer(folder / "kafka", free_port())
        mongo = RoomyMongo(folder / "mongo", free_port())
        for server in (kafka, mongo):
            start(server, stack)
        yield Servers(f"kafka://{kafka.address}", f"{mongo.address}/hops", (kafka.pid, mongo.pid))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.hops")
    parser.add_argument("tasks", type=int, nargs="?", default=5000)
    parser.add_argument("--on", choices=("sqlite", "kafka"), default="sqlite")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", choices=HOPS)
    arguments = parser.parse_args()
    garbage.look_seldom()  # as every service does
    with on(arguments.on) as servers, asyncio.Runner(loop_factory=event_loop()) as runner:
        costs = runner.run(measure(servers, arguments.tasks, profile=arguments.profile, rounds=arguments.rounds))
    shown = Grid(title=f"CPU µs per task, {arguments.tasks:,} tasks a round, on {arguments.on}", title_justify="left")
    for column in ("hop", "event loop", "other threads", "servers", "objects kept"):
        shown.add_column(column, justify="right" if column != "hop" else "left")
    everything = Cost(*(sum(getattr(cost, field.name) for cost in costs.values()) for field in fields(Cost)))
    for name, cost in {**costs, "all": everything}.items():
        shown.add_row(name, f"{cost.loop:,.0f}", f"{cost.others:,.0f}", f"{cost.servers:,.0f}", f"{cost.kept:,.1f}")
    Console().print(shown)


if __name__ == "__main__":
    main()
