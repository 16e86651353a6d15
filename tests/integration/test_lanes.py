"""Lanes end to end on the embedded bus: what may wait keeps nobody waiting, and whatever overtakes what, tasks and runs
come out the same.

The consumer groups are run one by one, in the order that a test wants to see.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import prelabel_ingestion.service
import prelabel_projection.service
import prelabel_provider.service
import pytest_asyncio
from prelabel_contract import cloudevents, names
from prelabel_contract.events import AnyEvent, EventData, RunOpened, RunSealed, TaskDeleted, TaskSubmitted, event
from prelabel_contract.names import Lane
from prelabel_contract.projects import Project
from prelabel_ingestion.projects import publication
from prelabel_ingestion.settings import IngestionSettings
from prelabel_projection.settings import ProjectionSettings
from prelabel_provider.models.settings import ModelsSettings
from prelabel_provider.settings import InferenceSettings
from prelabel_runtime.blobs import open_blobs
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.loop import Loop, messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, open_bus, open_store, topics_of
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.store.base import State

from tests.rig.in_process import spec

PROJECT = "mails"
URGENT = names.dispatcher_group(Lane.INTERACTIVE)
BULK = names.dispatcher_group(Lane.BULK)
BACKFILL = names.dispatcher_group(Lane.BACKFILL)


def infers(lane: Lane) -> str:
    return names.inference_group("rules", lane)


class Stage:
    """Every service of a Prelabel on SQLite, none of whose groups runs unless told."""

    def __init__(self, folder: Path) -> None:
        settings = RuntimeSettings(bus=f"sqlite:///{folder}/log.db", store=f"sqlite:///{folder}/results.db")
        clock = SystemClock()
        blobs = open_blobs(str(folder / "blobs"))
        self.runtime = Runtime(settings, open_bus(settings, clock), open_store(settings, clock), Metrics(), blobs)
        lanes = ((Lane.INTERACTIVE,), (Lane.BULK, Lane.BACKFILL))
        self.services = [
            prelabel_ingestion.service.build(self.runtime, IngestionSettings()),
            prelabel_projection.service.build(self.runtime, ProjectionSettings()),
            *(
                prelabel_provider.service.build(
                    self.runtime, "rules", InferenceSettings(lanes=served), ModelsSettings()
                )
                for served in lanes
            ),
        ]
        self.groups = {sub.group: sub for service in self.services for sub in service.subscriptions}

    async def start(self) -> None:
        await self.runtime.bus.start()
        await self.runtime.store.start()
        await self.runtime.bus.provision(topics_of(self.services, 1))
        project = Project.model_validate({"id": PROJECT, **spec(models=[spec()["models"][0]])})
        await self.publish(*publication(project, 1, now_ms=1, new_id="project"))
        for service in self.services:
            for part in service.parts:
                await part.start()
        self._following = [asyncio.create_task(part.run()) for service in self.services[:1] for part in service.parts]

    async def stop(self) -> None:
        for task in self._following:
            task.cancel()
        for service in reversed(self.services):
            for part in service.parts:
                await part.stop()
        await self.runtime.store.stop()
        await self.runtime.bus.stop()

    async def publish(self, *events: AnyEvent) -> None:
        await self.runtime.bus.publish(messages(events))

    async def submit(self, *said: EventData) -> None:
        """Records of a door."""
        await self.publish(
            *(event(data, id=self.runtime.new_id(), source="/door", time_ms=1, topic=names.SUBMITTED) for data in said)
        )

    async def run(self, *groups: str) -> None:
        """Let groups handle all that is there, one after the other."""
        for group in groups:
            await self.together(group)

    async def together(self, *groups: str) -> None:
        """Let groups handle all that is there, at the same time."""
        loops = [
            Loop(
                self.runtime.bus,
                self.groups[group],
                clock=self.runtime.clock,
                metrics=self.runtime.metrics,
                rng=random.Random(1),
            )
            for group in groups
        ]
        running = [asyncio.create_task(loop.run()) for loop in loops]
        async with asyncio.timeout(120):
            for group in groups:
                while not await self._done(group):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
        for loop in loops:
            loop.stop()
        await asyncio.gather(*running)

    async def _done(self, group: str) -> bool:
        topics = self.groups[group].topics
        bus = self.runtime.bus
        done, ends = await bus.committed(group, topics), await bus.offsets(topics, "end")
        return all(done.get(place, 0) >= end for place, end in ends.items())

    async def count(self, topic: str) -> int:
        """Records of a topic."""
        return sum((await self.runtime.bus.offsets((topic,), "end")).values())

    async def data(self, topic: str) -> list[EventData]:
        """What a topic's records say."""
        (place,) = await self.runtime.bus.offsets((topic,), "end")
        found = []
        for record in await self.runtime.bus.fetch(place, 0, 10_000):
            decoded = cloudevents.decode(record.headers, record.value, topic=topic, key=record.key)
            assert decoded is not None
            found.append(decoded.data)
        return found


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    await stage.start()
    try:
        yield stage
    finally:
        await stage.stop()


def task(name: str, text: str, lane: Lane, **more: object) -> TaskSubmitted:
    uid = names.task_uid(PROJECT, name)
    fields = {"project": PROJECT, "task": uid, "id": name, "data": {"text": text}, "lane": lane, **more}
    return TaskSubmitted.model_validate(fields)


def backlog(count: int, lane: Lane, name: str = "b") -> Sequence[TaskSubmitted]:
    return [task(f"{name}{number}", f"Ada {number}", lane) for number in range(count)]


async def test_an_interactive_task_is_dispatched_and_predicted_whatever_stands_before_it(stage: Stage) -> None:
    await stage.submit(*backlog(3000, Lane.BULK), task("now", "Grace, now", Lane.INTERACTIVE))
    await stage.run(URGENT, infers(Lane.INTERACTIVE))
    assert await stage.count(names.TASKS) == 1
    assert [outcome.task for outcome in await stage.data(names.PREDICTIONS)] == [names.task_uid(PROJECT, "now")]  # type: ignore[attr-defined]


async def test_bulk_does_not_wait_for_what_goes_into_backfill_to_be_dispatched(stage: Stage) -> None:
    await stage.submit(*backlog(3000, Lane.BACKFILL), *backlog(5, Lane.BULK, "mine"))
    await stage.run(BULK)
    assert await stage.count(names.requests("rules", Lane.BULK)) == 5
    assert await stage.count(names.requests("rules", Lane.BACKFILL)) == 0


async def test_every_task_is_dispatched_once_by_the_group_of_its_lane(stage: Stage) -> None:
    lanes = random.Random(5).choices(list(Lane), k=400)
    await stage.submit(*(task(f"t{number}", f"Ada {number}", lane) for number, lane in enumerate(lanes)))
    await stage.together(URGENT, BULK, BACKFILL)
    accepted = await stage.data(names.TASKS)
    assert len({one.task for one in accepted}) == len(accepted) == 400  # type: ignore[attr-defined]
    for lane in Lane:
        assert await stage.count(names.requests("rules", lane)) == lanes.count(lane)


async def test_an_older_revision_that_is_dispatched_later_does_not_win(stage: Stage) -> None:
    await stage.submit(task("t", "Ada", Lane.BACKFILL), task("t", "Grace", Lane.INTERACTIVE))
    await stage.run(URGENT, infers(Lane.INTERACTIVE), BACKFILL, infers(Lane.BACKFILL), "projection")
    uid = names.task_uid(PROJECT, "t")
    stored = await stage.runtime.store.tasks.get(PROJECT, uid)
    assert stored is not None
    assert (stored.revision, '"Grace"' in stored.body) == (1, True)
    outcomes = (await stage.runtime.store.outcomes.of_tasks([uid]))[uid]
    current = [one for one in outcomes if one.revision >= stored.revision]
    assert [(one.state, '"Grace"' in one.body) for one in current] == [(State.CREATED, True)]
    assert {one.state for one in outcomes} == {State.CREATED}
    known = (await stage.runtime.store.submissions.get_many([uid]))[uid]
    assert known.revision == 1


async def test_of_revisions_that_are_read_together_the_newest_is_remembered_whichever_comes_last(stage: Stage) -> None:
    first, second, third = (
        event(task("t", text, Lane.BULK), id=text, source="/door", time_ms=1)._replace(offset=offset)
        for offset, text in enumerate(("Ada", "Grace", "Edsger"))
    )
    dispatch = stage.groups[BULK].on[TaskSubmitted]
    await dispatch([first])
    await dispatch([third, second])  # as where one is a retry
    uid = names.task_uid(PROJECT, "t")
    assert (await stage.runtime.store.submissions.get_many([uid]))[uid].revision == 2


async def test_the_same_content_in_two_lanes_is_one_request_that_has_one_outcome(stage: Stage) -> None:
    await stage.submit(task("t", "Ada", Lane.BACKFILL), task("t", "Ada", Lane.INTERACTIVE))
    await stage.run(URGENT, infers(Lane.INTERACTIVE), BACKFILL, infers(Lane.BACKFILL), "projection")
    uid = names.task_uid(PROJECT, "t")
    (outcome,) = (await stage.runtime.store.outcomes.of_tasks([uid]))[uid]
    assert (outcome.state, outcome.revision) == (State.CREATED, 1)
    accepted = [(one.revision, one.unchanged) for one in await stage.data(names.TASKS)]  # type: ignore[attr-defined]
    assert accepted == [(1, False), (1, True)]  # the one that was overtaken changed nothing
    assert await stage.count(names.PREDICTIONS) == 1


async def test_the_same_task_in_all_lanes_at_once_is_asked_for_once(stage: Stage) -> None:
    for lane in Lane:
        await stage.submit(*(task(f"t{number}", f"Ada {number}", lane) for number in range(200)))
    await stage.together(URGENT, BULK, BACKFILL)
    asked = [await stage.count(names.requests("rules", lane)) for lane in Lane]
    assert sum(asked) == 200
    accepted = await stage.data(names.TASKS)
    assert [one.unchanged for one in accepted].count(False) == 200  # type: ignore[attr-defined]


async def test_a_deleted_task_does_not_come_back_through_a_lane_that_is_faster(stage: Stage) -> None:
    uid = names.task_uid(PROJECT, "t")
    await stage.submit(task("t", "Ada", Lane.BULK))
    await stage.run(BULK)
    await stage.submit(
        *backlog(50, Lane.BULK),
        TaskDeleted(project=PROJECT, task=uid),
        task("t", "Grace", Lane.INTERACTIVE),
        task("t", "Alan", Lane.BACKFILL),
    )
    await stage.run(URGENT, BACKFILL, BULK, "projection")
    assert await stage.runtime.store.tasks.get(PROJECT, uid) is None
    rejected = [one for one in await stage.data(names.TASKS) if one.TYPE == "prelabel.task.rejected.v1"]
    assert [(one.task, one.reason) for one in rejected] == [(uid, "deleted")] * 2  # type: ignore[attr-defined]


async def test_a_run_whose_lines_went_into_two_lanes_is_whole(stage: Stage) -> None:
    lanes = [Lane.BULK] * 5 + [Lane.BACKFILL] * 7
    lines = [task(f"t{n}", f"Ada {n}", lane, run="r", line=n + 1) for n, lane in enumerate(lanes)]
    await stage.submit(RunOpened(project=PROJECT, run="r"), *lines, RunSealed(project=PROJECT, run="r", total=12))
    await stage.run(BULK, infers(Lane.BULK), "projection")
    half = await stage.runtime.store.runs.get(PROJECT, "r")
    assert half is not None
    assert half.total == 12
    await stage.run(BACKFILL, infers(Lane.BACKFILL), "projection")
    accepted = await stage.runtime.store.lines.counts("r")
    assert (accepted.accepted, accepted.rejected) == (12, 0)
    states = [(await stage.runtime.store.outcomes.of_tasks([line.task]))[line.task] for line in lines]
    assert [[one.state for one in outcomes] for outcomes in states] == [[State.CREATED]] * 12
