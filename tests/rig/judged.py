"""The gate with everything around it, on a real store, bus and folder; each step of it can be stopped at, or killed.

async with scene(folder, store) as here:
    project = await here.project()
    trained = await here.trained(project, right=28)       # a version that is right on 28 of 30 tasks
    await here.deliver(trained)                           # as the loop would: handle, publish, commit
    await here.deliver(trained, at=Killed.before(7))      # dies at the seventh seam
"""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from prelabel_contract import names
from prelabel_contract.events import AnyEvent, Event, ModelTrained, ProjectChanged, event
from prelabel_contract.projects import Project
from prelabel_contract.regions import Choice
from prelabel_provider.models.workspace import CANDIDATE, FOLDER, SERVING, AnswerLine, Workspace, Workspaces
from prelabel_provider.training.trainings import TrainingRecord, Trainings, TrainingState, training_id, version_name
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.store.base import Store, StoredAnnotation, StoredTask
from prelabel_runtime.store.documents import Document, Documents
from prelabel_runtime.tables import Table
from prelabel_runtime.testing.doubles import ManualClock
from prelabel_runtime.testing.store import fresh
from prelabel_runtime.topics.spec import topic_spec
from prelabel_training.gate.gatekeeper import Gatekeeper
from prelabel_training.gate.reevaluation import Reevaluations
from prelabel_training.registry.registry import Pointer, Registry, serving
from prelabel_training.registry.versions import Versions

MODEL = "topics"
PROVIDER = "sklearn"
TASKS = 30

Seam = Callable[[], Awaitable[None]]


class Killed(BaseException):
    """The process is gone: nothing of it goes on, not even what would tidy up."""


async def _nothing() -> None:
    return


def killing(number: int) -> Seam:
    """A seam at which the process dies when it is passed for the `number`-th time."""
    left = number

    async def seam() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    return seam


def interrupting(number: int, act: Callable[[], Awaitable[object]]) -> Seam:
    """A seam at which somebody else acts, at its `number`-th passing."""
    left = number

    async def seam() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            await act()

    return seam


@dataclass
class Counting:
    """A seam that counts how often it is passed."""

    passed: int = 0

    async def __call__(self) -> None:
        self.passed += 1


class SeamedDocuments(Documents):
    """Documents with a seam before and behind each call."""

    def __init__(self, inner: Documents, seam: Seam) -> None:
        self._inner = inner
        self._seam = seam

    async def get(self, kind: str, key: str) -> Document | None:
        await self._seam()
        return await self._inner.get(kind, key)

    async def get_many(self, kind: str, keys: Sequence[str]) -> Mapping[str, Document]:
        await self._seam()
        return await self._inner.get_many(kind, keys)

    async def put(self, kind: str, key: str, body: str, *, expected: int) -> Document | None:
        await self._seam()
        written = await self._inner.put(kind, key, body, expected=expected)
        await self._seam()
        return written

    async def page(
        self, kind: str, *, prefix: str = "", limit: int, after: str | None = None, newest: bool = False
    ) -> Sequence[Document]:
        await self._seam()
        return await self._inner.page(kind, prefix=prefix, limit=limit, after=after, newest=newest)

    async def delete(self, kind: str, key: str, *, expected: int) -> bool:
        await self._seam()
        gone = await self._inner.delete(kind, key, expected=expected)
        await self._seam()
        return gone


class _SeamedWorkspaces(Workspaces):
    def __init__(self, url: str, seam: Seam) -> None:
        super().__init__(url)
        self._seam = seam

    def of(self, project: str, model: str, number: int) -> Workspace:
        return _SeamedWorkspace(self._files, f"{FOLDER}/{project}/{model}/{number}", self._seam)


class _SeamedWorkspace(Workspace):
    def __init__(self, files: Any, folder: str, seam: Seam) -> None:
        super().__init__(files, folder)
        self._seam = seam

    async def remove(self) -> None:
        await self._seam()
        await super().remove()
        await self._seam()


@dataclass
class Scene:
    """A store, a bus, and what was published."""

    store: Store
    bus: SqliteBus
    projects: Table[ProjectChanged]
    folder: Path
    clock: ManualClock
    told: list[AnyEvent] = field(default_factory=list)
    """Everything that was published, in its order, repetitions included."""
    numbers: dict[str, int] = field(default_factory=dict)

    # -------------------------------------------------------------------------------------------------- what there is

    async def project(self, *, tasks: int = TASKS, **learning: Any) -> str:
        """A project of one model, with annotated tasks that are all held out."""
        name = fresh("mails")
        project = Project.model_validate(
            {
                "id": name,
                "label_set": {
                    "questions": [
                        {"name": "topic", "kind": "choice", "field": "text", "labels": ["a", "b"], "multiple": False}
                    ]
                },
                "models": [{"name": MODEL, "provider": PROVIDER}],
                "learning": learning,
            }
        )
        changed = ProjectChanged(project=project, config=project.config_hash, version=1)
        await self.publish_quietly([event(changed, id=fresh("id"), source="/test", time_ms=1)])
        await self.projects.catch_up()
        uids = [self.task(name, number) for number in range(tasks)]
        body = orjson.dumps({"data": {"text": "words"}}).decode()
        await self.store.tasks.put([StoredTask(uid, name, None, 1, 1, project.config_hash, body) for uid in uids])
        await self.store.examples.put([said(name, uid, "a", offset) for offset, uid in enumerate(uids)])
        return name

    def task(self, project: str, number: int) -> str:
        """The uid of a task."""
        return f"{project}-{number:04}"

    async def trained(self, project: str, *, right: int, tasks: int = TASKS, **record: Any) -> Event[ModelTrained]:
        """A version that is right on so many of the hold-out's tasks, compared with what serves now."""
        number = self.numbers[project] = self.numbers.get(project, 0) + 1
        now = serving(await self.registry().pointer(project, MODEL), PROVIDER)
        artifact = artifact_of(project, number)
        made = TrainingRecord(
            training=training_id(project, MODEL, number),
            project=project,
            model=MODEL,
            provider=PROVIDER,
            number=number,
            config="config",
            examples=40 * number,
            serving_version=now.version,
            serving_artifact=now.artifact,
            serving_epoch=now.epoch,
            state=TrainingState.TRAINED,
            artifact=artifact,
            version=version_name(number, artifact),
            requested_ms=self.clock.now_ms(),
            ended_ms=self.clock.now_ms(),
        ).but(**record)
        trainings = Trainings(self.store.documents, self.clock)
        await trainings.request(made)
        await self.answered(project, number, CANDIDATE, right=right, tasks=tasks)
        return self.said_trained(made)

    def said_trained(self, record: TrainingRecord) -> Event[ModelTrained]:
        """What the trainer says at the end of a training."""
        data = ModelTrained(
            project=record.project,
            model=record.model,
            provider=record.provider,
            training=record.training,
            version=record.version or "",
            artifact=record.artifact or "",
            metrics=record.metrics,
        )
        return event(data, id=names.derived(data.TYPE, record.training), source="/trainer", time_ms=1)

    async def answered(self, project: str, number: int, file: Any, *, right: int, tasks: int = TASKS) -> None:
        """What a version says about the hold-out: right about the first tasks, and wrong about the rest."""
        workspace = Workspaces(str(self.folder)).of(project, MODEL, number)
        lines = [
            AnswerLine(task=self.task(project, one), regions=(choice("a" if one < right else "b"),))
            for one in range(tasks)
        ]
        await workspace.write(file, lines)

    async def serving_answers(self, project: str, *, right: int, tasks: int = TASKS) -> None:
        """What serves says about the newest training's hold-out."""
        await self.answered(project, self.numbers[project], SERVING, right=right, tasks=tasks)

    # ----------------------------------------------------------------------------------------------------- what is done

    def registry(self, seam: Seam = _nothing) -> Registry:
        """A registry of a process with that seam."""

        async def publish(events: Sequence[AnyEvent]) -> None:
            await seam()
            await self.publish(events)
            await seam()

        return Registry(SeamedDocuments(self.store.documents, seam), publish, self.clock)

    def gate(self, seam: Seam = _nothing) -> Gatekeeper:
        """The gate of a process with that seam."""
        documents = SeamedDocuments(self.store.documents, seam)
        return Gatekeeper(
            trainings=Trainings(documents, self.clock),
            workspaces=_SeamedWorkspaces(str(self.folder), seam),
            store=self.store,
            versions=Versions(documents),
            registry=self.registry(seam),
            reevaluations=Reevaluations(documents, Trainings(documents, self.clock)),
            projects=self.projects,
            clock=self.clock,
            metrics=Metrics(),
        )

    async def deliver(self, trained: Event[ModelTrained], seam: Seam = _nothing) -> Sequence[AnyEvent]:
        """One delivery of an event: it is handled, what came of it is published, and that it is done is noted."""
        replies = await self.gate(seam).trained(trained)
        await seam()
        await self.publish(replies)
        await seam()
        return replies

    async def publish(self, events: Sequence[AnyEvent]) -> None:
        """Onto the bus, and noted."""
        await self.publish_quietly(events)
        self.told += events

    async def publish_quietly(self, events: Sequence[AnyEvent]) -> None:
        """Onto the bus."""
        if events:
            await self.bus.publish(messages(events))

    async def pointer(self, project: str) -> Pointer | None:
        """What serves."""
        return await self.registry().pointer(project, MODEL)

    def told_of(self, project: str, kind: type[Any]) -> list[Any]:
        """The data of the events of a type that were published, each event once."""
        found = {one.id: one.data for one in self.told if isinstance(one.data, kind) and one.data.project == project}
        return list(found.values())


def artifact_of(project: str, number: int) -> str:
    """The name of a training's artifact."""
    return hashlib.sha256(f"{project}/{number}".encode()).hexdigest()


def said(project: str, task: str, label: str, offset: int, **values: Any) -> StoredAnnotation:
    """An annotation that chooses a label."""
    body = orjson.dumps({"regions": [choice(label).model_dump(mode="json", exclude_none=True)]}).decode()
    return StoredAnnotation(f"by-{task}", project, task, "ann", offset, offset, body=body, **values)


def choice(label: str) -> Choice:
    """A choice of a label."""
    return Choice(question="topic", field="text", labels=(label,))


@contextlib.asynccontextmanager
async def scene(folder: Path, store: Store) -> AsyncIterator[Scene]:
    """Everything, started; `store` is running already."""
    clock = ManualClock()
    bus = SqliteBus(folder / "log.db", clock=SystemClock())
    await bus.start()
    topics = (names.PROJECTS, names.MODELS, names.LEARNING, names.training(PROVIDER))
    await bus.provision([topic_spec(name, 1) for name in topics])
    projects = Table(bus, names.PROJECTS, ProjectChanged, rng=random.Random(0))
    await projects.start()
    following = asyncio.create_task(projects.run())
    try:
        yield Scene(store, bus, projects, folder / "models", clock)
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await projects.stop()
        await bus.stop()
