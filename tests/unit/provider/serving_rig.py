"""A provider's inference whose serving versions can be moved: real worker, real bus, real model store."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prelabel_contract import cloudevents, names
from prelabel_contract.events import (
    AnyEvent,
    ConfigPublished,
    Event,
    ModelLoaded,
    ModelServing,
    PredictionRequested,
    event,
)
from prelabel_contract.projects import Project
from prelabel_provider.inference import Inference
from prelabel_provider.models.manifest import Rules
from prelabel_provider.models.store import Models, Origin
from prelabel_provider.serving.serving import Serving
from prelabel_provider.serving.swap import Beside, Swap
from prelabel_provider.worker.worker import ModelWorker, WorkerLimits
from prelabel_runtime.blobs import NoBlobs
from prelabel_runtime.bus.base import Record
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, open_bus, open_store
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.tables import Table
from prelabel_runtime.topics.spec import topic_spec

RULES = Rules("ledger", frozenset({".json"}))
PATIENCE = 60.0
"""Seconds until what must come has failed to come."""


def project(name: str = "demo", **settings: Any) -> Project:
    """With one model, m, of the ledger."""
    return Project.model_validate(
        {
            "id": name,
            "label_set": {"questions": [{"name": "word", "kind": "span", "field": "text"}]},
            "models": [{"name": "m", "provider": "ledger", "settings": {"label": "OWN", **settings}}],
        }
    )


def requested(config: Project, text: str, **more: Any) -> Event[PredictionRequested]:
    """That the model looks at a text."""
    data = PredictionRequested.model_validate(
        {
            "project": config.id,
            "task": f"{config.id}-{text}",
            "request": names.derived(config.id, text),
            "revision": 0,
            "model": "m",
            "provider": "ledger",
            "config": config.config_hash,
            "input_hash": names.content_hash({"text": text}),
            "data": {"text": text},
            **more,
        }
    )
    return event(data, id=data.request, source="/t", time_ms=1)


@dataclass
class Rig:
    """A provider, as one process runs it."""

    runtime: Runtime
    models: Models
    worker: ModelWorker
    configs: Table[ConfigPublished]
    serving: Serving
    inference: Inference
    store: Path
    scratch: Path
    asked: int = 0

    # ---------------------------------------------------------------------------------------------- what others do

    async def know(self, config: Project) -> Project:
        """A project is there."""
        await self._publish(
            event(ConfigPublished(hash=config.config_hash, project=config), id="c", source="/t", time_ms=1)
        )
        return config

    async def trained(self, label: str, **more: Any) -> str:
        """A version that gives this label, in the model store; its artifact."""
        return await published(self.models, self.scratch, label=label, **more)

    async def point(self, artifact: str, version: str, epoch: int, **more: Any) -> None:
        """The serving pointer of demo/m moves."""
        await self._publish(event(pointer(artifact, version, epoch, **more), id=f"e{epoch}", source="/t", time_ms=1))

    async def take_back(self) -> None:
        """The pointer is no more: its project was deleted."""
        [message] = messages([event(pointer("", "x", 9), id="gone", source="/t", time_ms=1)])
        await self.runtime.bus.publish([_emptied(message)])

    async def _publish(self, told: AnyEvent) -> None:
        await self.runtime.bus.publish(messages([told]))

    # ------------------------------------------------------------------------------------------------ what it does

    async def ask(self, config: Project, *texts: str, **more: Any) -> list[Any]:
        """The outcomes of requests about texts that nobody asked about before."""
        self.asked += 1
        batch = [requested(config, text, request=f"{self.asked}-{text}", **more) for text in texts]
        return [reply[0].data for reply in await self.inference.predict(batch)]  # type: ignore[index]

    async def version(self, config: Project, text: str = "ada") -> str:
        """By which version a text is predicted, with its label."""
        [outcome] = await self.ask(config, text)
        return f"{outcome.version} says {outcome.regions[0].labels[0]}"

    async def told(self, state: str | None = None) -> list[ModelLoaded]:
        """What was told about versions."""
        found: list[ModelLoaded] = []
        for record in await read(self.runtime, names.LEARNING):
            one = cloudevents.decode(record.headers, record.value or b"", topic=record.topic, key=record.key)
            if one is not None and isinstance(one.data, ModelLoaded) and state in (None, one.data.state):
                found.append(one.data)
        return found

    async def until_told(self, state: str, epoch: int) -> ModelLoaded:
        """What was told about an epoch, once it is."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for one in await self.told(state):
                    if one.epoch == epoch:
                        return one
                await asyncio.sleep(0.02)


async def read(runtime: Runtime, topic: str) -> Sequence[Record]:
    """Everything in a topic."""
    reader = runtime.bus.reader((topic,), start="beginning")
    await reader.start()
    found: list[Record] = []
    ends = await reader.ends()
    while await reader.behind(ends):
        found += await reader.poll(1000, 0.1)
    await reader.stop()
    return found


def pointer(artifact: str, version: str, epoch: int, **more: Any) -> ModelServing:
    """The serving pointer of demo/m."""
    said = {"project": "demo", "model": "m", "provider": "ledger", **more}
    return ModelServing.model_validate({**said, "artifact": artifact, "version": version, "epoch": epoch})


async def published(models: Models, scratch: Path, *, provider: str = "ledger", **settings: Any) -> str:
    """An artifact of these settings."""
    folder = scratch / names.content_hash([provider, settings])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ledger.json").write_text(json.dumps(settings), encoding="utf-8")
    rules = Rules(provider, RULES.allowed)
    return await models.publish(folder, ["ledger.json"], Origin(1, names.content_hash(settings)), rules)


def _emptied(message: Any) -> Any:
    return type(message)(message.topic, message.key, None, message.headers)


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    *,
    swap: type[Swap] = Beside,
    models: int = 4,
    again_seconds: float = 3600.0,
    renew_seconds: float = 3600.0,
    canary_seconds: float = 30.0,
    **limits: Any,
) -> AsyncIterator[Rig]:
    """A provider that runs; several in a row may have the same folder."""
    settings = RuntimeSettings(bus=f"sqlite:///{folder}/log.db", store=f"sqlite:///{folder}/results.db")
    clock = SystemClock()
    runtime = Runtime(settings, open_bus(settings, clock), open_store(settings, clock), Metrics())
    store = Models(str(folder / "store"), folder / "cache")
    bounds = {"start_seconds": 60.0, "batch_seconds": 60.0, **limits}
    worker = ModelWorker("ledger", limits=WorkerLimits(models=models, **bounds))
    configs = Table(runtime.bus, names.CONFIGS, ConfigPublished, rng=runtime.rng)
    bring = swap(worker, models, canary_seconds)
    times = {"again_seconds": again_seconds, "renew_seconds": renew_seconds}
    serving = Serving(runtime, bring, store, configs, provider="ledger", host="here", **times)
    inference = Inference("ledger", worker, configs, NoBlobs(), clock, runtime.metrics, versions=serving.versions)
    async with contextlib.AsyncExitStack() as stack:
        await runtime.bus.start()
        stack.push_async_callback(runtime.bus.stop)
        topics = (names.CONFIGS, names.MODELS, names.LEARNING)
        await runtime.bus.provision([topic_spec(topic, 1) for topic in topics])
        stack.push_async_callback(worker.stop, 1.0)
        for part in (configs, serving):
            await part.start()
            stack.push_async_callback(part.stop)
        tasks = [asyncio.create_task(part.run()) for part in (configs, serving)]
        stack.push_async_callback(asyncio.wait, tasks)
        for task in tasks:
            stack.callback(task.cancel)
        yield Rig(runtime, store, worker, configs, serving, inference, folder / "store", folder / "made")
