"""What trainings are given, against the log: example for example what people had said up to the cut that each names.

Annotations are submitted, changed, skipped and withdrawn while trainings start and end, and every few commits the
listener dies before it could commit, so that its records come again. Who repeats the log up to a recorded cut, knowing
nothing of the store, must find the set that the training was given.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import count
from pathlib import Path

import pytest
from prelabel_contract import cloudevents, names
from prelabel_contract.events import (
    AnnotationDeleted,
    AnnotationSubmitted,
    AnnotationUpdated,
    EventData,
    TrainerAnnounced,
    TrainingRequested,
    event,
)
from prelabel_contract.regions import Choice
from prelabel_provider.models.workspace import EXAMPLES, HOLDOUT, Workspaces
from prelabel_provider.training.trainings import TrainingRecord, Trainings, TrainingState
from prelabel_runtime.bus.base import Record
from prelabel_runtime.loop import messages
from prelabel_runtime.topics.spec import topic_spec
from prelabel_training.examples.heard import Hearing
from prelabel_training.examples.holdout import in_holdout

from tests.rig.in_process import Here, eventually, prelabel_here, task
from tests.rig.servers import ServerHandle

MODEL = "finder"
TASKS = 60
SAID = 240
SHARE = 0.3
LABELS = ("urgent", "later")
Answers = dict[str, dict[str, tuple[int, str | None]]]
"""By task and annotation: where it stands in the log, and its label; None: skipped."""


class Dying:
    """Lets a loop die before it commits, now and then: what it had handled comes again."""

    def __init__(self) -> None:
        self.deaths = 0
        self._commits = count(1)

    def __call__(self, step: str) -> None:
        if step == "commit" and next(self._commits) % 7 == 0 and self.deaths < 5:
            self.deaths += 1
            raise RuntimeError("died before it could commit")


@pytest.mark.parametrize("bus", ["sqlite", "kafka"])
async def test_each_training_is_given_what_the_log_says_up_to_its_cut(
    bus: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    kafka = ""
    if bus == "kafka":
        server: ServerHandle = request.getfixturevalue("kafka_server")
        kafka = server.address
    dying = Dying()
    async with prelabel_here(tmp_path, inbound={}, before=dying, kafka=kafka) as here:
        project, tasks = await _project(here)
        async with _trainer(here, project):
            await _annotate(here, project, tasks, random.Random(7), lambda: dying.deaths > 2)
            await here.until(f"{project}/examples", _all_is_learned)
        records = await _records(here, project)
        assert len(records) > 2
        assert dying.deaths > 2
        told = await here.events(names.training("rules"), TrainingRequested, project=project)
        assert {(one.training, one.cut) for one in told} == {(one.training, one.cut) for one in records}
        workspaces = Workspaces(str(tmp_path / "models"))
        log = await here.records(names.ANNOTATIONS)
        for record in records:
            truth = _repeated(log, project, record.cut)
            files = workspaces.of(project, MODEL, record.number)
            given = {line.task: line.regions[0].labels[0] async for line in files.read(EXAMPLES)}
            apart = {line.task: line.regions[0].labels[0] async for line in files.read(HOLDOUT)}
            assert given == {uid: said for uid, said in truth.items() if not in_holdout(project, uid, SHARE)}
            assert apart == {uid: said for uid, said in truth.items() if in_holdout(project, uid, SHARE)}
        workspaces.stop()


def _all_is_learned(seen: Mapping[str, object]) -> bool:
    models = seen["models"]
    assert isinstance(models, list)
    return bool(models) and models[0]["new"] == 0 and models[0]["training"] is None and models[0]["examples"] > 0


async def _project(here: Here) -> tuple[str, list[str]]:
    """A project that learns, and the uids of its tasks."""
    await here.runtime.bus.provision([topic_spec(names.training("rules"), 1)])
    await _publish(here, TrainerAnnounced(provider="rules", package="1", kinds=("choice",), settings_schema={}))
    project = await here.project(
        models=[
            {
                "name": MODEL,
                "provider": "rules",
                "settings": {"rules": [{"label": "PERSON", "words": ["Ada"]}]},
                "questions": ["topic"],
                "training": {"every_n": 10, "quiet_seconds": 1, "minimum": 5},
            }
        ],
        learning={"holdout": SHARE},
    )
    lines = [task(f"letter {number}", id=f"t{number}") for number in range(TASKS)]
    assert (await here.upload(project, lines)).status_code == 202
    uids = [names.task_uid(project, f"t{number}") for number in range(TASKS)]
    await eventually(lambda: here.runtime.store.tasks.get_many(uids), lambda found: len(found) == TASKS)
    return project, uids


async def _publish(here: Here, *said: EventData) -> None:
    now = here.runtime.clock.now_ms()
    told = [event(one, id=here.runtime.new_id(), source="/test", time_ms=now) for one in said]
    await here.runtime.bus.publish(messages(told))


async def _annotate(
    here: Here, project: str, tasks: list[str], rng: random.Random, disturbed: Callable[[], bool]
) -> None:
    """What some people do in a few seconds, or until there were some trainings, and the listener was disturbed: a few
    at once, and on when all of those have been heard of.
    """
    hearing = Hearing(here.runtime.store.documents)
    for said in range(20, 20 * SAID, 20):
        await _publish(here, *(_said(project, rng.choice(tasks), rng) for _ in range(20)))
        await _heard(hearing, project, max((await here.runtime.bus.offsets([names.ANNOTATIONS], "end")).values()))
        if said >= SAID and disturbed() and len(await _records(here, project)) > 2:
            return


async def _heard(hearing: Hearing, project: str, end: int) -> None:
    await eventually(lambda: hearing.position(project), lambda now: now.done >= end - 1)


def _said(project: str, uid: str, rng: random.Random) -> EventData:
    who = rng.choice(("ann", "bob"))
    about = {"project": project, "task": uid, "annotation": f"{uid}-{who}", "annotator": who}
    if rng.random() < 0.03:
        return AnnotationDeleted.model_validate(about)
    kind = AnnotationUpdated if rng.random() < 0.3 else AnnotationSubmitted
    answer = Choice(question="topic", field="text", labels=(rng.choice(LABELS),))
    return kind.model_validate({**about, "regions": (answer,), "skipped": rng.random() < 0.1})


@contextlib.asynccontextmanager
async def _trainer(here: Here, project: str) -> AsyncIterator[None]:
    """Takes up every training, and ends it."""
    trainings = Trainings(here.runtime.store.documents, here.runtime.clock)

    async def train() -> None:
        while True:
            for record in await trainings.of(project, MODEL):
                taken = await trainings.take(record.training, "trainer", 60)
                if taken is not None:
                    await trainings.save(taken.but(state=TrainingState.TRAINED))
            await here.runtime.clock.sleep(0.2)

    training = asyncio.create_task(train())
    try:
        yield
    finally:
        training.cancel()
        await asyncio.wait([training])


async def _records(here: Here, project: str) -> list[TrainingRecord]:
    return list(await Trainings(here.runtime.store.documents, here.runtime.clock).of(project, MODEL))


def _repeated(log: Sequence[Record], project: str, cut: int) -> dict[str, str]:
    """The label of every task that has an example, from the log alone, up to a place in it: the latest answer."""
    answers: Answers = {}
    gone: set[tuple[str, str]] = set()
    for record in log:
        read = cloudevents.decode(record.headers, record.value or b"", topic=record.topic, key=record.key)
        if read is None or record.offset > cut or not isinstance(read.data, AnnotationSubmitted | AnnotationDeleted):
            continue
        if read.data.project != project:
            continue
        data, place = read.data, (read.data.task, read.data.annotation)
        if isinstance(data, AnnotationDeleted):
            gone.add(place)
            answers.get(data.task, {}).pop(data.annotation, None)
        elif place not in gone:
            label = None if data.skipped else data.regions[0].labels[0]
            answers.setdefault(data.task, {})[data.annotation] = record.offset, label
    found: dict[str, str] = {}
    for uid, said in answers.items():
        latest = max(((place, label) for place, label in said.values() if label is not None), default=None)
        if latest is not None:
            found[uid] = latest[1]
    return found
