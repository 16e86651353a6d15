"""The inference hop of remote providers alone: requests on a bus, replicas that call targets, predictions counted."""

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import prelabel_provider.service
from prelabel_contract import cloudevents, names
from prelabel_contract.events import ConfigPublished, PredictionCreated, PredictionFailed, PredictionRequested, event
from prelabel_contract.names import Lane
from prelabel_contract.projects import Project
from prelabel_provider.models.settings import ModelsSettings
from prelabel_provider.settings import InferenceSettings
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.loop import Loop, messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, open_bus, open_store
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.store.base import Store
from prelabel_runtime.topics.spec import topic_spec

__all__ = ["Hop", "Replica", "remote_hop"]

LANES = (Lane.INTERACTIVE, Lane.BULK)


class _OnThisMachine(RuntimeSettings):
    one_process = True


def project_of(models: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Project:
    """Models by name, each with its provider and settings."""
    return Project.model_validate(
        {
            "id": "p",
            "title": "P",
            "label_set": {"questions": [{"name": "q", "kind": "span", "field": "text", "labels": ["WORD"]}]},
            "models": [
                {"name": name, "provider": provider, "settings": dict(settings)}
                for name, (provider, settings) in models.items()
            ],
        }
    )


@dataclass
class Replica:
    """One process's worth of inference, as tasks of this process."""

    metrics: Metrics
    loops: list[Loop]
    looping: list["asyncio.Task[None]"]
    running: list["asyncio.Task[None]"]
    parts: AsyncExitStack

    async def stop(self) -> None:
        """In order."""
        for loop in self.loops:
            loop.stop()
        await asyncio.wait(self.looping, timeout=60)
        await self.kill()

    async def kill(self) -> None:
        """At once: nothing that was under way is committed."""
        for task in (*self.looping, *self.running):
            task.cancel()
        await asyncio.gather(*self.looping, *self.running, return_exceptions=True)
        await self.parts.aclose()

    def metric(self, name: str) -> float:
        """A metric, over all of its labels."""
        return sum(s.value for family in self.metrics.registry.collect() for s in family.samples if s.name == name)


@dataclass
class Hop:
    """A bus and a store with models behind targets."""

    settings: RuntimeSettings
    bus: Bus
    store: Store
    models: Mapping[str, tuple[str, Mapping[str, Any]]]
    config: str
    done: Counter[str] = field(default_factory=Counter)
    """Outcomes by request."""
    ended: list[PredictionCreated | PredictionFailed] = field(default_factory=list)
    replicas: list[Replica] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, tasks: Sequence[str], *, model: str = "m", lane: Lane = Lane.BULK, **more: Any) -> None:
        """Put requests on their topic; `more`: fields of them that are to be others."""
        provider = self.models[model][0]
        requests = [
            PredictionRequested.model_validate(
                {
                    "project": "p", "task": task, "request": names.derived(task, model), "revision": 0, "model": model,
                    "provider": provider, "config": self.config, "input_hash": task, "data": {"text": "some words"},
                    "lane": lane, **more,
                }
            )
            for task in tasks
        ]  # fmt: skip
        await self.bus.publish(messages([event(one, id=one.request, source="/t", time_ms=1) for one in requests]))

    async def replica(self, *providers: str) -> Replica:
        """One more of every provider (by default: of remote alone)."""
        metrics = Metrics()
        bus, parts = self.bus, AsyncExitStack()
        if self.settings.bus.startswith("kafka:"):  # a connection of its own, as a process would have
            bus = open_bus(self.settings, SystemClock())
            await bus.start()
            parts.push_async_callback(bus.stop)
        runtime = Runtime(self.settings, bus, self.store, metrics)
        built = [
            prelabel_provider.service.build(runtime, name, InferenceSettings(lanes=LANES), ModelsSettings())
            for name in providers or ("remote",)
        ]
        for service in built:
            for part in service.parts:
                await part.start()
                parts.push_async_callback(part.stop)
        loops = [
            Loop(bus, subscription, clock=runtime.clock, metrics=metrics, rng=runtime.rng)
            for service in built
            for subscription in service.subscriptions
        ]
        running = [asyncio.create_task(part.run()) for service in built for part in service.parts]
        replica = Replica(metrics, loops, [asyncio.create_task(loop.run()) for loop in loops], running, parts)
        self.replicas.append(replica)
        return replica

    async def until(self, ready: Callable[["Hop"], bool], seconds: float = 60.0) -> None:
        """Wait for outcomes."""
        async with asyncio.timeout(seconds):
            while not ready(self):
                self.changed.clear()
                await self.changed.wait()

    async def follow(self) -> None:
        """Count what comes."""
        reader = self.bus.reader((names.PREDICTIONS,), start="beginning")
        await reader.start()
        try:
            while True:
                for record in await reader.poll(1000, 0.2):
                    told = cloudevents.decode(record.headers, record.value, topic=record.topic, key=record.key)
                    if told is not None and isinstance(told.data, (PredictionCreated, PredictionFailed)):
                        self.done[told.data.request] += 1
                        self.ended.append(told.data)
                        self.changed.set()
        finally:
            await reader.stop()


@contextlib.asynccontextmanager
async def remote_hop(
    folder: Path, models: Mapping[str, tuple[str, Mapping[str, Any]]], *, kafka: str = "", partitions: int = 8
) -> AsyncIterator[Hop]:
    """A hop without replicas yet: on SQLite, which takes one, or on topics of its own on a Kafka at HOST:PORT."""
    settings = _OnThisMachine(
        bus=f"kafka://{kafka}" if kafka else f"sqlite:///{folder / 'log.db'}",
        prefix=f"t{secrets.token_hex(5)}." if kafka else "",
        store=f"sqlite:///{folder / 'results.db'}",
    )
    clock = SystemClock()
    bus, store = open_bus(settings, clock), open_store(settings, clock)
    project = project_of(models)
    await bus.start()
    await store.start()
    providers = {provider for provider, _ in models.values()}
    groups = [names.inference_group(provider, lane) for provider in providers for lane in LANES]
    requests = [names.requests(provider, lane) for provider in providers for lane in LANES]
    topics = {
        *(names.CONFIGS, names.LEARNING, names.MODELS, names.PREDICTIONS, names.PROVIDERS, names.REPLIES, *requests),
        *(name for group in groups for name in (names.retry(group), names.dead_letters(group))),
    }
    await bus.provision([topic_spec(name, partitions) for name in sorted(topics)])
    config = ConfigPublished(hash=project.config_hash, project=project)
    await bus.publish(messages([event(config, id="c", source="/t", time_ms=1)]))
    hop = Hop(settings, bus, store, models, project.config_hash)
    following = asyncio.create_task(hop.follow())
    try:
        yield hop
    finally:
        for replica in hop.replicas:
            await replica.kill()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await store.stop()
        await bus.stop()
