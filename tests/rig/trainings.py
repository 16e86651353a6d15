"""A trainer of the ledger provider, here or as a process that may be killed, and what it is asked."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prelabel_provider.training.service
from prelabel_contract import cloudevents, names
from prelabel_contract.events import AnyEvent, ConfigPublished, EventData, TrainingCancelled, TrainingRequested, event
from prelabel_contract.projects import Project
from prelabel_contract.regions import Choice
from prelabel_provider.models.settings import ModelsSettings
from prelabel_provider.models.workspace import EXAMPLES, HOLDOUT, AnswerLine, ExampleLine, Lines, Workspaces
from prelabel_provider.settings import InferenceSettings
from prelabel_provider.trainer import Example
from prelabel_provider.training.settings import TrainerRoleSettings
from prelabel_provider.training.trainings import TrainingRecord, Trainings, training_id
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, Service, open_bus, open_store, run, serve
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.topics.spec import topic_spec

from deploy.local.ports import free_port
from deploy.local.process import ServerProcess

PATIENCE = 180.0
"""Seconds until what must come has failed to come."""
QUICK: dict[str, Any] = {"lease_seconds": 3.0, "renew_seconds": 0.2, "look_seconds": 0.2}
WORDS = {"ada": "person", "bug": "thing", "cat": "animal"}


def project(**settings: Any) -> Project:
    """With one model, m, of the ledger, which says one label about all."""
    labels = [*WORDS.values(), "unknown"]
    return Project.model_validate(
        {
            "id": "demo",
            "label_set": {
                "questions": [{"name": "what", "kind": "choice", "field": "text", "labels": labels, "multiple": False}]
            },
            "models": [{"name": "m", "provider": "ledger", "settings": {"choice": "unknown", **settings}}],
        }
    )


def lines(count: int, first: int = 0) -> list[ExampleLine]:
    """Texts that begin with a word, and what they are."""
    words = list(WORDS)
    return [
        ExampleLine.of(
            Example(
                task=f"task-{n}",
                data={"text": f"{words[n % len(words)]} number {n}"},
                regions=(Choice(labels=(WORDS[words[n % len(words)]],), question="what", field="text"),),
            )
        )
        for n in range(first, first + count)
    ]


def models(folder: Path) -> ModelsSettings:
    """Where models are kept."""
    return ModelsSettings(models=str(folder / "models"), models_cache=folder / "models-cache")


def runtime_in(folder: Path, **settings: Any) -> Runtime:
    """What services are built from, on SQLite unless another bus is given."""
    given = {"bus": f"sqlite:///{folder}/log.db", "store": f"sqlite:///{folder}/results.db", **settings}
    chosen = RuntimeSettings(**given, health_port=free_port(), create_topics=True, partitions=1)
    clock = SystemClock()
    return Runtime(chosen, open_bus(chosen, clock), open_store(chosen, clock), Metrics())


@dataclass(frozen=True, slots=True)
class Asking:
    """Asks for trainings, as the training service does, and looks at what came of them."""

    runtime: Runtime
    folder: Path
    config: Project

    @property
    def trainings(self) -> Trainings:
        """Their records."""
        return Trainings(self.runtime.store.documents, self.runtime.clock)

    @property
    def workspaces(self) -> Workspaces:
        """Their files."""
        return models(self.folder).workspaces()

    async def know(self) -> None:
        """Publish the configuration."""
        await self._publish(ConfigPublished(hash=self.config.config_hash, project=self.config), "config")

    async def ask(self, number: int = 1, *, examples: int = 9, holdout: int = 6, **values: Any) -> str:
        """Ask for a training; its name."""
        there = self.workspaces.of("demo", "m", number)
        await there.write(EXAMPLES, lines(examples))
        await there.write(HOLDOUT, lines(holdout, first=1000))
        record = TrainingRecord.model_validate(
            {
                "training": training_id("demo", "m", number),
                "project": "demo",
                "model": "m",
                "provider": "ledger",
                "number": number,
                "config": self.config.config_hash,
                "examples": examples,
                "holdout": holdout,
                "fingerprint": "f",
                "seed": 7,
                "requested_ms": self.runtime.clock.now_ms(),
                **values,
            }
        )
        await self.trainings.request(record)
        await self.announce(record)
        return record.training

    async def announce(self, record: TrainingRecord) -> None:
        """Tell the trainers that a training is asked for."""
        data = TrainingRequested(**_about(record), cut=record.cut, config=record.config)
        await self._publish(data, names.derived("requested", record.training))

    async def cancel(self, training: str) -> None:
        """Tell the trainers that it is to end."""
        record = await self.record(training)
        await self._publish(TrainingCancelled(**_about(record)), names.derived("cancel", training))

    async def record(self, training: str) -> TrainingRecord:
        """A training as it stands."""
        found = await self.trainings.get("demo", "m", int(training.rpartition("/")[2]))
        assert found is not None
        return found

    async def until(self, training: str, is_so: Callable[[TrainingRecord], bool]) -> TrainingRecord:
        """The record, once it is so."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not is_so(found := await self.record(training)):  # noqa: ASYNC110 - others write it
                    await asyncio.sleep(0.05)
                return found
        except TimeoutError:
            raise AssertionError(f"it is not so: {await self.record(training)}") from None

    async def ended(self, training: str) -> TrainingRecord:
        """The record, once it has ended and that was told."""
        record = await self.until(training, lambda one: one.state.final)
        async with asyncio.timeout(PATIENCE):
            while any(one.training == training for one in await self.trainings.owed("ledger")):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return record

    async def told(self, *kinds: type[EventData]) -> list[AnyEvent]:
        """What was told about models, of these kinds."""
        found: list[AnyEvent] = []
        reader = self.runtime.bus.reader((names.LEARNING,), start="beginning")
        await reader.start()
        ends = await reader.ends()
        while await reader.behind(ends):
            for one in await reader.poll(1000, 0.1):
                read = cloudevents.decode(one.headers, one.value or b"", topic=one.topic, key=one.key)
                if read is not None and isinstance(read.data, kinds):
                    found.append(read)
        await reader.stop()
        return found

    async def answers(self, number: int, file: Lines[AnswerLine]) -> dict[str, str | None]:
        """By task the label that was said."""
        there = self.workspaces.of("demo", "m", number)
        return {one.task: one.regions[0].labels[0] if one.regions else None async for one in there.read(file)}

    async def _publish(self, data: EventData, event_id: str) -> None:
        told = event(data, id=event_id, source="/tests", time_ms=self.runtime.clock.now_ms())
        await self.runtime.bus.publish(messages([told]))


def _about(record: TrainingRecord) -> dict[str, str]:
    return {name: getattr(record, name) for name in ("project", "model", "provider", "training")}


def role(runtime: Runtime, folder: Path, **settings: Any) -> Service:
    """The ledger's trainer."""
    return prelabel_provider.training.service.build(
        runtime, "ledger", TrainerRoleSettings(**{**QUICK, **settings}), InferenceSettings(), models(folder)
    )


@contextlib.asynccontextmanager
async def asking(folder: Path, config: Project, **settings: Any) -> AsyncIterator[Asking]:
    """Who asks, while no trainer runs here; the configuration is known."""
    runtime = runtime_in(folder, **settings)
    await runtime.bus.start()
    await runtime.bus.provision(
        [topic_spec(name, 1) for name in (names.CONFIGS, names.LEARNING, names.training("ledger"))]
    )
    await runtime.store.start()
    try:
        here = Asking(runtime, folder, config)
        await here.know()
        yield here
    finally:
        await runtime.store.stop()
        await runtime.bus.stop()


@contextlib.asynccontextmanager
async def watching(folder: Path, config: Project) -> AsyncIterator[Asking]:
    """Who looks at the records while a trainer runs elsewhere."""
    runtime = runtime_in(folder)
    await runtime.store.start()
    try:
        yield Asking(runtime, folder, config)
    finally:
        await runtime.store.stop()


def started(folder: Path, **settings: str) -> ServerProcess:
    """A trainer as a process of its own. `settings`: of the runtime."""
    variables = {**os.environ, "PRELABEL_LEDGER": str(folder / "predicted")}
    command = [sys.executable, "-m", "tests.rig.trainings", str(folder), *(f"{k}={v}" for k, v in settings.items())]
    return ServerProcess.start(command, log=folder / "trainer.log", tied=True, environment=variables)


def _main(folder: str, *settings: str) -> None:
    given = dict(one.split("=", 1) for one in settings)
    runtime = runtime_in(Path(folder), **given)
    run("trainer", lambda here: [role(here, Path(folder), attempts=50)], settings=lambda: runtime.settings)


@contextlib.asynccontextmanager
async def training(folder: Path, config: Project, *, trainers: int = 1, **settings: Any) -> AsyncIterator[Asking]:
    """Who asks, beside trainers that run in this process. One of them reads what is asked, all look for it."""
    runtime = runtime_in(folder)
    ready, stopping = asyncio.Event(), asyncio.Event()

    def build(runtime: Runtime) -> Sequence[Service]:
        first, *more = (role(runtime, folder, **settings) for _ in range(trainers))
        return [first, *(Service(name=f"more-{n}", parts=one.parts) for n, one in enumerate(more))]

    async def told(_: Runtime) -> None:
        ready.set()

    served = asyncio.create_task(serve(runtime, build, name="trainer", ready=told, stopping=stopping))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({served, waiting}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if served.done():
        await served
    try:
        here = Asking(runtime, folder, config)
        await here.know()
        yield here
    finally:
        stopping.set()
        await asyncio.wait_for(served, PATIENCE)


if __name__ == "__main__":
    _main(*sys.argv[1:])
