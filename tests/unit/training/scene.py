"""The trigger's part of the training service on a real SQLite bus and store; time and crashes are in a test's hands."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson
from prelabel_contract import cloudevents, names
from prelabel_contract.events import (
    AnnotationDeleted,
    AnnotationSubmitted,
    AnyEvent,
    Event,
    ProjectChanged,
    TaskDeleted,
    TrainerAnnounced,
    event,
)
from prelabel_contract.projects import Project
from prelabel_contract.regions import Choice
from prelabel_provider.models.workspace import EXAMPLES, HOLDOUT, ExampleLine, Workspaces
from prelabel_provider.training.trainings import TrainingRecord, TrainingState
from prelabel_runtime.blobs import open_blobs
from prelabel_runtime.bus.base import Message
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, open_bus, open_store, topics_of
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.store.base import StoredTask
from prelabel_runtime.store.documents import Document, Documents
from prelabel_runtime.tables import Table
from prelabel_runtime.testing.doubles import WatchedBus, counted_bytes
from prelabel_runtime.topics.spec import topic_spec
from prelabel_training.handlers import Learner
from prelabel_training.quality.verdicts import Verdicts
from prelabel_training.settings import TrainingSettings
from prelabel_training.triggers.starting import Starting, wired
from prelabel_training.triggers.trigger import Look

PROJECT = "mails"
MODEL = "sorter"
PROVIDER = "ledger"
TOPIC = names.training(PROVIDER)
T = TypeVar("T")


class HeldClock:
    """A clock that moves only when told: who sleeps wakes when it has been told so much."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._moved = asyncio.Event()
        self.sleepers = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._now_ms / 1000

    def advance(self, seconds: float) -> None:
        self._now_ms += round(seconds * 1000)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def to(self, moment_ms: int) -> None:
        self.advance(max(0, moment_ms - self._now_ms) / 1000)

    async def sleep(self, seconds: float) -> None:
        until = self.monotonic() + seconds
        self.sleepers += 1
        try:
            while self.monotonic() < until:
                await self._moved.wait()
        finally:
            self.sleepers -= 1


class Died(BaseException):
    """The process ends here: nothing of ours may catch it."""


@dataclass
class Deaths:
    """Counts the steps that leave a trace outside, and dies at one of them, before or after it was done.

    With a `meanwhile` it does not die: it is held up before the step, for as long as that takes.
    """

    at: int | None = None
    after: bool = False
    meanwhile: Callable[[], Awaitable[None]] | None = None
    steps: list[str] = field(default_factory=list)
    looks: int = 0
    """At what is remembered of a project: each look at it begins so."""
    trouble: list[Exception] = field(default_factory=list)
    """What the next looks meet instead."""

    def look(self) -> None:
        self.looks += 1
        if self.trouble:
            raise self.trouble.pop(0)

    async def step(self, name: str, do: Callable[[], Awaitable[T]]) -> T:
        here = len(self.steps) == self.at
        self.steps.append(name)
        if here and self.meanwhile is not None:
            await self.meanwhile()
            return await do()
        if here and not self.after:
            raise Died(name)
        done = await do()
        if here:
            raise Died(name)
        return done


class DyingDocuments(Documents):
    """The store's documents, each change of which is a step."""

    def __init__(self, inner: Documents, deaths: Deaths) -> None:
        self._inner = inner
        self._deaths = deaths

    async def get(self, kind: str, key: str) -> Document | None:
        return await self._inner.get(kind, key)

    async def get_many(self, kind: str, keys: Sequence[str]) -> Mapping[str, Document]:
        return await self._inner.get_many(kind, keys)

    async def put(self, kind: str, key: str, body: str, *, expected: int) -> Document | None:
        return await self._deaths.step(f"put {kind}", lambda: self._inner.put(kind, key, body, expected=expected))

    async def page(
        self, kind: str, *, prefix: str = "", limit: int, after: str | None = None, newest: bool = False
    ) -> Sequence[Document]:
        if kind == "trigger" and prefix:
            self._deaths.look()
        return await self._inner.page(kind, prefix=prefix, limit=limit, after=after, newest=newest)

    async def delete(self, kind: str, key: str, *, expected: int) -> bool:
        return await self._deaths.step(f"delete {kind}", lambda: self._inner.delete(kind, key, expected=expected))


class DyingBus(WatchedBus):
    """The bus, each publication on which is a step."""

    def __init__(self, inner: Any, deaths: Deaths) -> None:
        super().__init__(inner)
        self._deaths = deaths

    async def publish(self, messages: Sequence[Message]) -> None:
        await self._deaths.step("publish", lambda: super(DyingBus, self).publish(messages))


def model(**training: Any) -> dict[str, Any]:
    """The model, which trains with every five examples, three at least, unless told."""
    rules = {"every_n": 5, "minimum": 3, **training}
    return {"name": MODEL, "provider": PROVIDER, "questions": ["topic"], "training": rules}


def project(**changes: Any) -> Project:
    """A project whose one model sorts texts, and learns."""
    said: dict[str, Any] = {
        "id": PROJECT,
        "label_set": {
            "questions": [
                {"name": "topic", "kind": "choice", "field": "text", "labels": ["spam", "ham", "eggs"]},
                {"name": "names", "kind": "span", "field": "text", "labels": ["PERSON"]},
            ]
        },
        "models": [
            {"name": MODEL, "provider": PROVIDER, "questions": ["topic"], "training": {"every_n": 5, "minimum": 3}}
        ],
        "learning": {"holdout": 0.0},
        **changes,
    }
    return Project.model_validate(said)


class Scene:
    """One process of the training service, and what is around it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = HeldClock()
        self.settings = RuntimeSettings(
            bus=f"sqlite:///{folder}/log.db", store=f"sqlite:///{folder}/results.db", blobs=str(folder / "blobs")
        )
        self.bus = open_bus(self.settings, SystemClock())
        self.store = open_store(self.settings, SystemClock())
        self.documents = self.store.documents
        self.blobs = open_blobs(self.settings.blobs)
        self.workspaces = Workspaces(str(folder / "models"))
        self.project = project()
        self.offset = -1
        self._bytes = counted_bytes()
        self.process()

    def process(self, deaths: Deaths | None = None) -> Starting:
        """A new process, which knows what is stored and nothing else."""
        deaths = deaths or Deaths()
        self.store.documents = DyingDocuments(self.documents, deaths)
        self.runtime = Runtime(
            self.settings,
            DyingBus(self.bus, deaths),
            self.store,
            Metrics(),
            self.blobs,
            self.clock,
            random.Random(1),
            self._bytes,
        )
        self.projects = Table(self.bus, names.PROJECTS, ProjectChanged, rng=self.runtime.rng)
        self.service = wired(self.runtime, TrainingSettings(), self.projects, self.workspaces)
        self.learner = Learner(
            self.store.examples, Verdicts(self.documents), self.service.hearing, self.service.triggering.wake
        )
        trainer = TrainerAnnounced(provider=PROVIDER, package="1", kinds=("choice",), settings_schema={})
        self.service.trainers.accept(event(trainer, id="t", source="/test", time_ms=0))
        self.change(self.project)
        return self.service

    def change(self, wanted: Project) -> None:
        """The project is like this from now on."""
        self.project = wanted
        row = ProjectChanged(project=wanted, config=wanted.config_hash, version=1)
        self.projects.accept(event(row, id="c", source="/test", time_ms=0))

    # --------------------------------------------------------------------------------------------- what is stored

    async def task(self, uid: str, text: str = "a text", *, revision: int = 1, **more: Any) -> None:
        body = orjson.dumps({"data": {"text": text}, "meta": {}, **more}).decode()
        await self.store.tasks.put([StoredTask(uid, PROJECT, None, revision, 0, "c", body)])

    def said(
        self, task: str, label: str = "spam", *, by: str = "ann", offset: int | None = None, **more: Any
    ) -> Event[Any]:
        """An annotation as it stands in the log, behind all others unless told."""
        if offset is None:
            self.offset += 1
            offset = self.offset
        regions = more.pop("regions", (Choice(question="topic", field="text", labels=(label,)),))
        data = AnnotationSubmitted(
            project=PROJECT, task=task, annotation=f"{task}-{by}", annotator=by, regions=regions, **more
        )
        return self._at(data, offset)

    def withdrawn(self, task: str, *, by: str = "ann") -> Event[Any]:
        self.offset += 1
        data = AnnotationDeleted(project=PROJECT, task=task, annotation=f"{task}-{by}", annotator=by)
        return self._at(data, self.offset)

    def _at(self, data: Any, offset: int) -> Event[Any]:
        made = event(data, id=f"e-{offset}", source="/test", time_ms=self.clock.now_ms())
        return made._replace(offset=offset)

    async def annotate(self, *tasks: str, label: str = "spam") -> None:
        """Tasks come, and are annotated."""
        for task in tasks:
            await self.task(task, f"text of {task}")
        await self.learner.annotations([self.said(task, label) for task in tasks])

    async def delete(self, task: str) -> None:
        """A task is deleted, as both services hear it."""
        await self.store.tasks.delete([task])
        await self.learner.tasks_deleted([self._at(TaskDeleted(project=PROJECT, task=task), 0)])

    # ------------------------------------------------------------------------------------------------- what comes of it

    async def look(self) -> Look:
        """Look until nothing is to be done just now."""
        for _ in range(20):
            look = await self.service.trigger.look(PROJECT)
            if look.again_ms is None or look.again_ms > self.clock.now_ms():
                return look
        raise AssertionError("it never ends")

    async def records(self) -> Sequence[TrainingRecord]:
        """All trainings of the model, oldest first."""
        return list(reversed(await self.trainings.of(PROJECT, MODEL)))

    @property
    def trainings(self) -> Any:
        return self.service.trigger.trainings

    async def end(self, number: int, state: TrainingState = TrainingState.TRAINED) -> None:
        """A trainer takes a training, and ends it so."""
        taken = await self.trainings.take(f"{PROJECT}/{MODEL}/{number}", "trainer", 60)
        assert taken is not None
        assert await self.trainings.save(taken.but(state=state)) is not None

    async def events(self, topic: str = TOPIC) -> list[AnyEvent]:
        """What was published, in order."""
        reader = self.bus.reader((topic,), start="beginning")
        await reader.start()
        found: list[AnyEvent] = []
        ends = await reader.ends()
        while await reader.behind(ends):
            for record in await reader.poll(1000, 0.1):
                assert record.value is not None
                read = cloudevents.decode(record.headers, record.value, topic=topic, key=record.key)
                assert read is not None
                found.append(read)
        await reader.stop()
        return found

    async def given(self, number: int) -> dict[str, ExampleLine]:
        """What a training was given to learn from."""
        return await self._lines(number, EXAMPLES)

    async def held_out(self, number: int) -> dict[str, ExampleLine]:
        """What it is judged by."""
        return await self._lines(number, HOLDOUT)

    async def _lines(self, number: int, file: Any) -> dict[str, ExampleLine]:
        workspace = self.workspaces.of(PROJECT, MODEL, number)
        return {line.task: line async for line in workspace.read(file)}


@contextlib.asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """A scene, ready."""
    made = Scene(folder)
    await made.bus.start()
    await made.bus.provision([topic_spec(name, 1) for name in (*names_of(), TOPIC)])
    await made.store.start()
    made.documents = made.store.documents
    made.process()
    try:
        yield made
    finally:
        made.workspaces.stop()
        made.blobs.stop()
        await made.store.stop()
        await made.bus.stop()


def names_of() -> Sequence[str]:
    """The topics that are always there."""
    return [spec.name for spec in topics_of([], 1)]
