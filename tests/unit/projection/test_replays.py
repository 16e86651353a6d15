"""Replays on a virtual clock: their rate, and what a process leaves behind that dies between two steps."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from prelabel_contract import cloudevents, names
from prelabel_contract.events import DeadLetterReplayed
from prelabel_projection.letters import letter_of
from prelabel_projection.replays import Replays, Wanted
from prelabel_projection.settings import ProjectionSettings
from prelabel_runtime.bus.base import Message, Record, TopicSpec
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.dead_letters import Aside, for_burial
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.store.dead_letters import LetterState
from prelabel_runtime.store.jobs import JobState
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.doubles import ManualClock, WatchedBus, counted_bytes

GROUP = "projection"
DEAD, RETRY = names.dead_letters(GROUP), names.retry(GROUP)


@dataclass
class Scene:
    """A bus, a store with letters in its index, and a clock that moves when somebody waits."""

    runtime: Runtime
    bus: SqliteBus
    clock: ManualClock
    published: list[tuple[float, int]]
    """When letters were given back, and how many."""
    failing: list[Exception]
    """Raised by the next publish, after it has published."""
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """Done before the next publish."""

    def replays(self) -> Replays:
        """A process's."""
        return Replays(self.runtime, ProjectionSettings())

    async def bury(self, count: int) -> list[str]:
        """Letters; their ids."""
        made: list[str] = []
        for number in range(count):
            why = Aside("kills_its_process", "", names.RUNS, 0, number, 1, attempts=0, at_ms=self.clock.now_ms())
            record = Record(names.RUNS, 0, number, b"k", b"%d" % number, (), 1)
            message = for_burial(record, GROUP, why)
            row = letter_of(Record(DEAD, 0, number, message.key, message.value, message.headers, 1))
            await self.runtime.store.dead_letters.put([row])
            made.append(row.letter)
        return made

    async def records(self, topic: str) -> Sequence[Record]:
        """What is in a topic."""
        ends = await self.bus.offsets([topic], "end")
        return [record for place in ends for record in await self.bus.fetch(place, 0, 10_000)]


class _Bus(WatchedBus):
    """Publishes, and then fails if it is told to: the answer got lost."""

    scene: Scene

    async def publish(self, messages: Sequence[Message]) -> None:
        meanwhile, self.scene.meanwhile = self.scene.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        await super().publish(messages)
        given_back = sum(message.topic == RETRY for message in messages)
        self.scene.published.append((self.scene.clock.monotonic(), given_back))
        if self.scene.failing:
            raise self.scene.failing.pop()


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Scene]:
    clock = ManualClock()
    bus = SqliteBus(folder / "log.db", clock=SystemClock())  # it cleans now and then, which moves no time here
    watched = _Bus(bus)
    store = SqliteStore(folder / "results.db")
    settings = RuntimeSettings(bus=f"sqlite:///{folder}/log.db", store=f"sqlite:///{folder}/results.db")
    runtime = Runtime(settings, watched, store, Metrics(), clock=clock, random_bytes=counted_bytes())
    watched.scene = Scene(runtime, bus, clock, [], [])
    await bus.start()
    await bus.provision([TopicSpec(topic, partitions=1) for topic in (DEAD, RETRY, names.AUDIT)])
    await store.start()
    try:
        yield watched.scene
    finally:
        await store.stop()
        await bus.stop()


@pytest.mark.parametrize("rate", [0.5, 4.0, 30.0, 1000.0])
async def test_a_replay_keeps_to_its_rate(tmp_path: Path, rate: float) -> None:
    async with opened(tmp_path) as scene:
        letters = await scene.bury(120)
        job = await scene.replays().begin(Wanted("ada", rate, ids=tuple(letters)), "job")
        began = scene.clock.monotonic()
        await scene.replays().work()
        assert sum(count for _, count in scene.published) == 120
        chunk = max(1, min(100, int(rate / 4)))
        for at, _ in scene.published:
            by_then = sum(count for moment, count in scene.published if moment <= at)
            assert by_then <= rate * (at - began) + chunk + 0.001
        assert scene.published[-1][0] - began >= (120 - chunk) / rate - 0.01
        ended = await scene.runtime.store.jobs.get("replay", job.job)
        assert ended is not None
        assert (ended.state, ended.done, ended.total) == (JobState.COMPLETED, 120, 120)


async def test_a_process_that_dies_after_publishing_leaves_one_decision_per_letter(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        letters = await scene.bury(30)
        await scene.replays().begin(Wanted("ada", 40.0, group=GROUP), "job")
        scene.failing = [Unavailable("the process is gone")]
        with pytest.raises(Unavailable):
            await scene.replays().work()
        assert {one.state for one in (await scene.runtime.store.dead_letters.get_many(letters)).values()} == {
            LetterState.OPEN
        }
        other = scene.replays()
        await other.work()
        assert len(await scene.records(RETRY)) == 10, "the lease of the one that died is not over"
        scene.clock.advance(16)
        await other.work()
        said = [cloudevents.decode(r.headers, r.value, topic=r.topic) for r in await scene.records(names.AUDIT)]
        decided = [(e.id, e.data.letter) for e in said if e is not None and isinstance(e.data, DeadLetterReplayed)]
        assert {letter for _, letter in decided} == set(letters)
        assert len({name for name, _ in decided}) == 30, "what was published twice has the same ids"
        assert len(await scene.records(RETRY)) == 40
        known = await scene.runtime.store.dead_letters.get_many(letters)
        assert {one.state for one in known.values()} == {LetterState.REPLAYED}
        job = await scene.runtime.store.jobs.get("replay", "job")
        assert job is not None
        assert (job.state, job.done) == (JobState.COMPLETED, 30)


async def test_two_replays_of_the_same_letters_give_each_back_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        letters = await scene.bury(20)
        replays = scene.replays()
        await replays.begin(Wanted("ada", 1000.0, ids=tuple(letters[:15])), "first")
        await replays.begin(Wanted("grace", 1000.0, ids=tuple(letters[5:])), "second")
        await replays.work()
        values = [record.value for record in await scene.records(RETRY)]
        assert sorted(values, key=lambda v: int(v or b"")) == [b"%d" % n for n in range(20)]
        known = await scene.runtime.store.dead_letters.get_many(letters)
        decisions = [known[name].decision for name in letters]
        assert [one.replay for one in decisions if one is not None] == ["first"] * 15 + ["second"] * 5


async def test_a_letter_that_somebody_waits_for_is_given_back_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        (name,) = await scene.bury(1)
        known = await scene.runtime.store.dead_letters.get(name)
        assert known is not None
        replays = scene.replays()
        scene.meanwhile = replays.work  # as every half a second
        assert (await replays.replay(known, "ada")).state is LetterState.REPLAYED
        assert len(await scene.records(RETRY)) == 1


async def test_a_replay_that_nobody_waits_for_any_more_is_taken_up(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        (name,) = await scene.bury(1)
        known = await scene.runtime.store.dead_letters.get(name)
        assert known is not None
        replays = scene.replays()
        scene.failing = [Unavailable("the log")]
        with pytest.raises(Unavailable):
            await replays.replay(known, "ada")
        await replays.work()
        now = await scene.runtime.store.dead_letters.get(name)
        assert now is not None
        assert now.state is LetterState.REPLAYED


async def test_a_letter_of_a_group_that_is_gone_cannot_be_given_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        why = Aside("invalid", "", names.RUNS, 0, 1, 1, attempts=0, at_ms=1)
        gone = names.dead_letters("nobody")
        message = for_burial(Record(names.RUNS, 0, 1, b"k", b"x", (), 1), "nobody", why)
        row = letter_of(Record(gone, 0, 0, message.key, message.value, message.headers, 1))
        await scene.runtime.store.dead_letters.put([row])
        await scene.replays().begin(Wanted("ada", 10.0, ids=(row.letter,)), "job")
        await scene.replays().work()
        job = await scene.runtime.store.jobs.get("replay", "job")
        assert job is not None
        assert (job.state, job.done) == (JobState.COMPLETED, 1)
        assert "its group is gone" in job.progress
        assert await scene.runtime.store.claims.claim([row.letter], "another") == {row.letter: "another"}


async def test_a_caller_s_replay_reaches_its_own_projects_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        letters = await scene.bury(3)  # of no project that could be read
        for name, wanted in (
            ("ids", Wanted("ada", 10.0, ids=tuple(letters), projects=("mails",))),
            ("filter", Wanted("ada", 10.0, group=GROUP, projects=("mails",))),
        ):
            await scene.replays().begin(wanted, name)
        await scene.replays().work()
        assert not await scene.records(RETRY)
