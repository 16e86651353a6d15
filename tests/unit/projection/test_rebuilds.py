"""A rebuild between its steps: nothing is lost while processes move, nor when one of them stays behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from prelabel_contract import names
from prelabel_contract.events import AnyEvent, DeadLetterResolved, RunCreated, TaskAccepted, TaskDeleted, event
from prelabel_projection.handlers import TOPICS, Projection
from prelabel_projection.live import LiveGeneration
from prelabel_projection.log_replay import GROUP, RETRIES
from prelabel_projection.rebuilds import Rebuild, Rebuilds, Stage, shown
from prelabel_projection.settings import ProjectionSettings
from prelabel_runtime.bus.base import Committed, Partition, Record, TopicSpec
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.dead_letters import Aside, for_burial, for_replay
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.store.base import Projected, StoredOutcome
from prelabel_runtime.store.generations import UNKNOWN, Replica
from prelabel_runtime.store.jobs import JobState, StoredJob
from prelabel_runtime.store.sqlite import SqliteStore

PATIENCE = 60.0


@dataclass
class Scene:
    """A log, a live projection that has applied it, and nothing that runs."""

    runtime: Runtime

    async def publish(self, *events: AnyEvent) -> None:
        """Into the log, and nowhere else."""
        await self.runtime.bus.publish(messages(events))

    async def apply(self, to: Projected, *events: AnyEvent) -> None:
        """As a process does that uses this generation."""
        projection = Projection(to)
        on = projection.on()
        for one in events:
            await on[type(one.data)]([one])

    async def commit(self) -> None:
        """The live projection has handled all that is in the log."""
        consumer = self.runtime.bus.consumer(TOPICS, group=GROUP)
        await consumer.start(on_assign=_nothing, on_revoke=_nothing)
        ends = await self.runtime.bus.offsets(TOPICS, "end")
        await consumer.commit({place: Committed(end) for place, end in ends.items()})
        await consumer.stop()

    async def begin(self, mode: str = "switch") -> Rebuild:
        """A rebuild that this process holds."""
        rebuilds = Rebuilds(self.runtime, ProjectionSettings(compare_seconds=0.5))
        job = await rebuilds.begin("ada", mode)
        return await self.take(job, "this")

    async def take(self, job: StoredJob, holder: str) -> Rebuild:
        """Held by a process."""
        now = self.runtime.clock.now_ms()
        taken = await self.runtime.store.jobs.take("rebuild", holder, now_ms=now + 10**6, until_ms=now + 30_000)
        assert taken is not None
        assert taken.job == job.job
        return Rebuild(self.runtime, ProjectionSettings(compare_seconds=0.5), taken)

    async def switched(self) -> int:
        """The generation that has become the live one."""
        await _until_true(self._is_switched)
        return await self.runtime.store.generations.current()

    async def _is_switched(self) -> bool:
        return await self.runtime.store.generations.current() != 0


async def _nothing(_: object) -> None:
    """Nothing is in flight here."""


async def _until_true(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await look():  # noqa: ASYNC110 - what is looked at is another's
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Scene]:
    bus, store = SqliteBus(folder / "log.db", clock=SystemClock()), SqliteStore(folder / "results.db")
    settings = RuntimeSettings(bus=f"sqlite:///{folder}/log.db", store=f"sqlite:///{folder}/results.db")
    scene = Scene(Runtime(settings, bus, store, Metrics()))
    await bus.start()
    await bus.provision([TopicSpec(topic, partitions=1) for topic in (*TOPICS, names.dead_letters(GROUP), RETRIES)])
    await store.start()
    try:
        yield scene
    finally:
        await store.stop()
        await bus.stop()


def accepted(task: str, revision: int = 0) -> AnyEvent:
    data = TaskAccepted(
        project="mails", task=task, id=task, revision=revision, data={"text": "x"}, config="c", door="http",
        accepted_ms=1_000 + revision,
    )  # fmt: skip
    return event(data, id=f"accepted-{task}-{revision}", source="/t", time_ms=1_000)


def deleted(task: str) -> AnyEvent:
    return event(TaskDeleted(project="mails", task=task), id=f"deleted-{task}", source="/t", time_ms=2_000)


async def test_what_a_process_writes_that_has_not_moved_is_in_the_new_generation(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        store = scene.runtime.store
        old = store.projected
        before = accepted("before")
        await scene.publish(before)
        await scene.apply(old, before)
        await scene.commit()
        await store.generations.seen(Replica("late", 0, scene.runtime.clock.now_ms()))
        rebuild = await scene.begin()
        doing = asyncio.create_task(rebuild.run())
        number = await scene.switched()
        # The late one has not noticed: it consumes what is published now, and writes it where nobody will look.
        meanwhile = [accepted("meanwhile"), deleted("before")]
        await scene.publish(*meanwhile)
        await scene.apply(old, *meanwhile)
        assert not doing.done(), "it waits for the late one"
        await store.generations.seen(Replica("late", number, scene.runtime.clock.now_ms()))
        job = await asyncio.wait_for(doing, PATIENCE)
        assert job.state is JobState.COMPLETED
        await store.use(number)
        assert set(await store.tasks.get_many(["before", "meanwhile"])) == {"meanwhile"}


async def test_a_line_is_written_where_the_requests_are_that_its_run_waits_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        store = scene.runtime.store
        old, new = store.projected, await store.generation(1)
        put = old.outcomes.put

        async def then_moves(outcomes: Sequence[StoredOutcome]) -> None:
            await put(outcomes)
            await store.use(1)

        old.outcomes.put = then_moves  # type: ignore[method-assign]
        told = accepted("a")
        of_run = told._replace(data=told.data.model_copy(update={"run": "r", "line": 1}))
        await Projection(store).on()[TaskAccepted]([of_run])
        assert store.projected.generation == 1
        assert [(await one.lines.counts("r")).accepted for one in (old, new)] == [1, 0]


async def test_a_letter_that_is_replayed_meanwhile_is_in_the_new_generation(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        store, bus = scene.runtime.store, scene.runtime.bus
        old, now = store.projected, scene.runtime.clock.now_ms()
        given_up, resolved, never = accepted("given-up"), accepted("resolved"), accepted("never")
        await scene.publish(given_up, resolved, never)
        dead = []
        for offset, one in enumerate((given_up, resolved, never)):
            (message,) = messages([one])
            record = Record(names.TASKS, 0, offset, message.key, message.value, message.headers, now)
            why = Aside("kills_its_process", "", names.TASKS, 0, offset, now, attempts=0, at_ms=now)
            dead.append(for_burial(record, GROUP, why))
        await bus.publish(dead)
        # One of them was handled before: the live projection has it, and its group has said so.
        await scene.apply(old, resolved)
        said = DeadLetterResolved(letter=names.letter_id(GROUP, 0, 1), group=GROUP)
        await bus.publish(messages([event(said, id="said", source="/t", time_ms=now)]))
        await scene.commit()
        await store.generations.seen(Replica("late", 0, now))
        doing = asyncio.create_task((await scene.begin()).run())
        number = await scene.switched()
        beside = await store.generation(number)
        assert set(await beside.tasks.get_many(["given-up", "resolved", "never"])) == {"resolved"}
        # Now somebody replays another one, and the late process handles it, into the old generation.
        letter = Record(names.dead_letters(GROUP), 0, 0, dead[0].key, dead[0].value, dead[0].headers, now)
        why = Aside("replayed", "", names.TASKS, 0, 0, now, attempts=0, at_ms=now, letter="the letter")
        await bus.publish([for_replay(letter, GROUP, why)])
        await scene.apply(old, given_up)
        await store.generations.seen(Replica("late", number, now))
        assert (await asyncio.wait_for(doing, PATIENCE)).state is JobState.COMPLETED
        assert set(await beside.tasks.get_many(["given-up", "resolved", "never"])) == {"given-up", "resolved"}


async def test_a_process_that_is_not_heard_of_any_more_is_not_waited_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        store, now = scene.runtime.store, scene.runtime.clock.now_ms()
        await scene.publish(accepted("a"))
        await store.generations.seen(Replica("dead", 0, now - 10**6))
        job = await asyncio.wait_for((await scene.begin()).run(), PATIENCE)
        assert job.state is JobState.COMPLETED
        assert not await store.generations.replicas()


async def test_a_process_that_registers_first_and_looks_late_is_waited_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        store = scene.runtime.store
        await scene.publish(accepted("a"))
        await store.generations.seen(Replica("starting", UNKNOWN, scene.runtime.clock.now_ms()))
        rebuild = await scene.begin()
        doing = asyncio.create_task(rebuild.run())
        number = await scene.switched()
        live = LiveGeneration(store, scene.runtime.clock, "starting")
        assert not doing.done()
        await live.start()
        assert store.projected.generation == number
        assert (await asyncio.wait_for(doing, PATIENCE)).state is JobState.COMPLETED
        await live.stop()
        assert not await store.generations.replicas()


async def test_without_any_process_it_is_compared_where_the_live_one_stands(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        store = scene.runtime.store
        done, undone = accepted("done"), accepted("undone")
        await scene.publish(done)
        await scene.apply(store.projected, done)
        await scene.commit()
        await scene.publish(undone)  # whoever starts later consumes it
        compared = await (await scene.begin("compare")).run()
        assert shown(compared)["equal"] is True, shown(compared)["differences"]
        assert shown(compared)["differences"]["tasks"]["rebuilt"]["rows"] == 1
        await (await scene.begin()).run()
        await store.use(await store.generations.current())
        assert "done" in await store.tasks.get_many(["done"])


@pytest.mark.parametrize("step", ["reading", "comparing", "switched", "following"])
async def test_a_rebuild_goes_on_where_another_process_left_it(tmp_path: Path, step: str) -> None:
    async with opened(tmp_path) as scene:
        store, bus = scene.runtime.store, scene.runtime.bus
        events = [accepted(f"t{n}") for n in range(20)] + [deleted("t3")]
        await scene.publish(*events)
        await scene.apply(store.projected, *events)
        await scene.commit()
        first = await scene.begin()
        number = Stage.read(first.job.progress).before, shown(first.job)["generation"]
        places: dict[str, int] = {}
        if step != "reading":  # it had applied everything
            beside = await store.generation(number[1])
            await scene.apply(beside, *events)
            places = {f"{p.topic}/{p.number}": end for p, end in (await bus.offsets(TOPICS, "end")).items()}
        if step in ("switched", "following"):
            assert await store.generations.switch(*number)
        left = "comparing" if step == "switched" else step  # it died between the switch and writing that down
        stage = replace(Stage.read(first.job.progress), step=left, places=places)
        assert await store.jobs.save(replace(first.job, progress=stage.json()))
        second = await scene.take(first.job, "another")
        job = await asyncio.wait_for(second.run(), PATIENCE)
        assert (job.state, job.error) == (JobState.COMPLETED, "")
        assert await store.generations.current() == number[1]
        await store.use(number[1])
        assert await store.tasks.count("mails") == 19
        # The first one, which was only asleep, cannot do harm any more.
        await first.run()
        assert await store.tasks.count("mails") == 19
        assert await store.generations.current() == number[1]


async def test_nothing_is_published_by_a_rebuild(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        run = event(RunCreated(project="mails", run="r"), id="r", source="/t", time_ms=1_000)
        await scene.publish(run, accepted("a"))
        before = await scene.runtime.bus.offsets(TOPICS, "end")
        assert (await (await scene.begin("compare")).run()).state is JobState.COMPLETED
        assert await scene.runtime.bus.offsets(TOPICS, "end") == before
        assert Partition(names.RUNS, 0) in before
