"""Rebuilding the projection from the log, beside the live one (decision record 0013).

    read the log into a new generation -> compare -> switch -> follow until nobody writes to the old one -> drop that

The live projection goes on all the time. After the switch each process moves to the new generation by itself and says
so (live.py). Whatever was published before the last of them said so is applied here, too; whatever came later is
written to the new generation by who consumed it. So nothing is missing from it, and repetition does no harm.

Every step bears repetition: a process that takes over from one that died begins with the step that was under way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson
from prelabel_runtime import log
from prelabel_runtime.bus.base import Partition
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.http.problems import Problem
from prelabel_runtime.retry import backoff
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Part
from prelabel_runtime.store.base import Projected
from prelabel_runtime.store.jobs import JobState, StoredJob

from .comparing import Beat, Repository, compared, looked_at_again
from .handlers import TOPICS, Projection
from .letters import is_dead_letters
from .log_replay import GROUP, RETRIES, Gap, LogReplay, Places, given_up
from .settings import ProjectionSettings

KIND = "rebuild"
LETTERS = "letters"
"""The group that writes the live index of dead letters."""
LOOKS = 5
"""How often rows that differ are looked at, at most."""
_SAVE_SECONDS = 1.0
_log = log.get("prelabel.rebuild")


class Taken(Exception):
    """Another process has this rebuild now."""


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a rebuild is: kept with its job."""

    step: str = "reading"
    """reading, comparing, following, dropping, done"""
    before: int = 0
    """The generation that was live when it began."""
    places: Mapping[str, int] = field(default_factory=dict)
    """What has been applied, by topic/partition."""
    rate: float = 0.0
    """Records per second, lately."""
    invalid: int = 0
    differences: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, progress: str) -> "Stage":
        """From a job."""
        return cls(**orjson.loads(progress))

    def json(self) -> str:
        """For the job."""
        return orjson.dumps(asdict(self)).decode()


class Rebuilds(Part):
    """Begins rebuilds, and does what there is to do of them."""

    def __init__(self, runtime: Runtime, settings: ProjectionSettings) -> None:
        self._runtime = runtime
        self._settings = settings
        self._holder = runtime.new_id()

    async def start(self) -> None:
        """Nothing to get ready."""

    async def stop(self) -> None:
        """Nothing to let go: what is under way is taken up when its lease is over."""

    async def run(self) -> None:
        """Take up rebuilds."""
        waits = backoff(1.0, 10.0, self._runtime.rng)
        while True:
            try:
                while job := await self._take():
                    await Rebuild(self._runtime, self._settings, job).run()
            except Unavailable:
                await self._runtime.clock.sleep(next(waits))
                continue
            waits = backoff(1.0, 10.0, self._runtime.rng)
            await self._runtime.clock.sleep(1.0)

    async def _take(self) -> StoredJob | None:
        now = self._runtime.clock.now_ms()
        until = now + round(self._settings.replay_lease_seconds * 1000)
        return await self._runtime.store.jobs.take(KIND, self._holder, now_ms=now, until_ms=until)

    async def begin(self, actor: str, mode: str) -> StoredJob:
        """A rebuild as long work. Raises a 409 while another one runs, or where the log cannot give back everything."""
        store = self._runtime.store
        if running := await store.jobs.running(KIND):
            raise Problem(409, "rebuild_running", f"a rebuild is under way: {running[0].job}")
        try:
            await reaches_back(self._runtime)
        except Gap as gap:
            raise incomplete(gap) from None
        now = self._runtime.clock.now_ms()
        spec = orjson.dumps({"actor": actor, "mode": mode, "generation": now}).decode()
        stage = Stage(before=await store.generations.current())
        job = StoredJob(self._runtime.new_id(), KIND, now, spec, progress=stage.json())
        await store.jobs.create(job)
        _log.info("rebuild asked for", rebuild=job.job, mode=mode, actor=actor)
        return job

    async def seen(self, job: StoredJob) -> StoredJob:
        """A rebuild as it was saved last, by whoever does it."""
        return await self._runtime.store.jobs.get(KIND, job.job) or job

    async def finish(self, job: StoredJob) -> StoredJob:
        """Do a rebuild here, or wait until another process has: whoever takes it first."""
        while (now := await self.seen(job)).state is JobState.RUNNING:
            if taken := await self._take():
                await Rebuild(self._runtime, self._settings, taken).run()
            else:
                await self._runtime.clock.sleep(0.5)
        return now


class Rebuild:
    """One rebuild, held by this process."""

    def __init__(self, runtime: Runtime, settings: ProjectionSettings, job: StoredJob) -> None:
        spec = orjson.loads(job.spec)
        self._runtime = runtime
        self._store = runtime.store
        self._clock = runtime.clock
        self._settings = settings
        self._job = job
        self._stage = Stage.read(job.progress)
        self._mode: str = spec["mode"]
        self._number: int = spec["generation"]
        """No two rebuilds have the same: a process that was left behind touches nothing that is live."""
        self._saved = float("-inf")
        self._began = (self._clock.monotonic(), self._applied)

    @property
    def job(self) -> StoredJob:
        """As it was saved last."""
        return self._job

    async def run(self) -> StoredJob:
        """Do it, from the step that was under way on. Raises `Unavailable`."""
        try:
            try:
                await self._steps()
            except Gap as gap:
                await self._fail(incomplete(gap))
            except (Taken, Unavailable):
                raise
            except Exception as error:
                _log.error("defect while rebuilding", rebuild=self._job.job, exc_info=error)
                await self._fail(Problem(500, "defect", f"{type(error).__name__}: the log has more"))
        except Taken:
            _log.warning("another process has taken up the rebuild", rebuild=self._job.job)
        return self._job

    async def _steps(self) -> None:
        beside = await self._store.generation(self._number)
        bus = self._runtime.bus
        # In this order: what is not among those given up any more was handled from a place before these.
        retries = await self._retries()
        places = {**retries, **_places(self._stage.places)}
        replay = LogReplay(bus, Projection(beside), places=places, passed_over=await given_up(bus))
        try:
            if self._stage.step == "reading":
                await reaches_back(self._runtime)
                await self._reach(replay)
                await self._enter("comparing", replay)
            if self._stage.step == "comparing":
                await self._compare(replay, beside)
                if self._mode == "compare":
                    await self._enter("dropping", replay)
                else:
                    await self._switch(replay)
            if self._stage.step == "following":
                await self._follow(replay)
                await self._enter("dropping", replay)
        finally:
            await replay.close()
        await self._drop()

    # ---------------------------------------------------------------------------------------------- reading

    async def _reach(self, replay: LogReplay) -> None:
        """Apply what the live projection has applied by now, or what is in the log if that goes on meanwhile."""

        async def beat() -> None:
            await self._beat(replay)

        if await self._replicas():
            await replay.reach(await self._ends(), beat)
        else:
            await replay.reach_exactly(await self._live_places(), beat)

    async def _retries(self) -> Mapping[Partition, int]:
        """Where the live projection stands in what it is to try again."""
        begins = await self._runtime.bus.offsets([RETRIES], "beginning")
        return {**begins, **await self._runtime.bus.committed(GROUP, [RETRIES])}

    async def _ends(self) -> Mapping[Partition, int]:
        ends = await self._runtime.bus.offsets([*await topics_of(self._runtime), RETRIES], "end")
        self._job = replace(self._job, total=sum(ends.values()))
        return ends

    async def _live_places(self) -> Mapping[Partition, int]:
        """How far the live projection is."""
        topics = await topics_of(self._runtime)
        of_events = [RETRIES, *(topic for topic in topics if not is_dead_letters(topic))]
        of_letters = [topic for topic in topics if is_dead_letters(topic)]
        bus = self._runtime.bus
        places = {**await bus.committed(GROUP, of_events), **await bus.committed(LETTERS, of_letters)}
        self._job = replace(self._job, total=sum(places.values()))
        return places

    # -------------------------------------------------------------------------------------------- comparing

    async def _compare(self, replay: LogReplay, beside: Projected) -> None:
        live = await self._store.generation(self._stage.before)

        async def beat() -> None:
            await self._beat(replay)

        found = await compared(live, beside, beat)
        until = self._clock.monotonic() + self._settings.compare_seconds
        for _ in range(LOOKS):
            late = self._clock.monotonic() >= until
            if late or all(one.equal for one in found) or not await self._replicas():
                break
            # What differs may be on its way: look again once both have passed what is in the log now.
            ends = await self._ends()
            await replay.reach(ends, beat)
            await self._live_passes(ends, until, beat)
            await looked_at_again(found, live, beside, beat)
        self._stage = replace(self._stage, differences=_shown(found), invalid=replay.invalid)
        equal = all(one.equal for one in found)
        _log.info("rebuild compared", rebuild=self._job.job, equal=equal)

    async def _live_passes(self, ends: Mapping[Partition, int], until: float, beat: Beat) -> None:
        """Wait until the live projection has applied as much; not for ever, since it may be what is broken."""
        while self._clock.monotonic() < until:
            places = await self._live_places()
            if all(places.get(place, 0) >= end for place, end in ends.items()):
                return
            await beat()
            await self._clock.sleep(0.1)

    # -------------------------------------------------------------------------------------------- switching

    async def _switch(self, replay: LogReplay) -> None:
        await self._save(replay)
        switched = await self._store.generations.switch(self._stage.before, self._number)
        if not switched and await self._store.generations.current() != self._number:
            await self._fail(Problem(409, "switched_meanwhile", "another rebuild has become the live generation"))
            raise Taken
        _log.info("rebuild switched", rebuild=self._job.job, generation=self._number)
        await self._enter("following", replay)

    async def _follow(self, replay: LogReplay) -> None:
        """Apply what is published until every process uses the new generation. From then on they write to it."""

        async def beat() -> None:
            await self._beat(replay)

        while others := [one for one in await self._replicas() if one.generation != self._number]:
            await replay.reach(await self._ends(), beat)
            await beat()
            _log.debug("waiting for processes to move", rebuild=self._job.job, processes=len(others))
            await self._clock.sleep(0.2)
        # Read after the last of them had moved: what they wrote to the old generation lies before these ends.
        await replay.reach(await self._ends(), beat)

    async def _replicas(self) -> Sequence[Any]:
        """Processes that use the projection. One that was not heard of for so long has lost its partitions."""
        patience = round((self._runtime.settings.session_seconds + 15.0) * 1000)
        known = await self._store.generations.replicas()
        late = [one.id for one in known if one.seen_ms < self._clock.now_ms() - patience]
        if late:
            await self._store.generations.left(late)
        return [one for one in known if one.id not in late]

    async def _drop(self) -> None:
        current = await self._store.generations.current()
        await self._store.use(current)
        switched = current == self._number
        await self._store.drop(self._stage.before if switched else self._number)
        self._job = replace(self._job, state=JobState.COMPLETED)
        self._stage = replace(self._stage, step="done")
        await self._write()
        self._runtime.metrics.rebuilds.labels("switched" if switched else "compared").inc()
        _log.info("rebuild done", rebuild=self._job.job, switched=switched, records=self._job.done)

    async def _fail(self, problem: Problem) -> None:
        """It cannot be done: what was made for it goes."""
        if await self._store.generations.current() != self._number:
            await self._store.drop(self._number)
        error = {"type": f"urn:prelabel:problem:{problem.code}", "status": problem.status, "detail": problem.detail}
        self._job = replace(self._job, state=JobState.FAILED, error=orjson.dumps(error).decode())
        await self._write()
        self._runtime.metrics.rebuilds.labels("failed").inc()
        _log.warning("rebuild failed", rebuild=self._job.job, reason=problem.code)

    # ----------------------------------------------------------------------------------------------- saving

    @property
    def _applied(self) -> int:
        return sum(self._stage.places.values())

    async def _beat(self, replay: LogReplay) -> None:
        """Still here."""
        if self._clock.monotonic() - self._saved >= _SAVE_SECONDS:
            await self._save(replay)

    async def _enter(self, step: str, replay: LogReplay) -> None:
        self._stage = replace(self._stage, step=step)
        await self._save(replay)

    async def _save(self, replay: LogReplay) -> None:
        self._stage = replace(
            self._stage,
            places={f"{place.topic}/{place.number}": offset for place, offset in replay.places.items()},
            invalid=replay.invalid,
        )
        began, before = self._began
        spent = self._clock.monotonic() - began
        if self._stage.step == "reading" and spent > 0:
            self._stage = replace(self._stage, rate=round((self._applied - before) / spent, 1))
        self._job = replace(self._job, done=self._applied)
        await self._write()

    async def _write(self) -> None:
        until = self._clock.now_ms() + round(self._settings.replay_lease_seconds * 1000)
        self._job = replace(self._job, progress=self._stage.json(), until_ms=until)
        self._saved = self._clock.monotonic()
        if not await self._store.jobs.save(self._job):
            raise Taken


async def topics_of(runtime: Runtime) -> list[str]:
    """What the projection is made from, as far as it is there."""
    there = await runtime.bus.topics()
    return sorted(topic for topic in there if topic in TOPICS or is_dead_letters(topic))


async def reaches_back(runtime: Runtime) -> None:
    """Raises `Gap` for the first record that the log does not hold any more."""
    firsts = await runtime.bus.offsets(await topics_of(runtime), "beginning")
    for place, first in sorted(firsts.items()):
        if first > 0:
            raise Gap(place, 0, first)


def incomplete(gap: Gap) -> Problem:
    """Why a rebuild would lose something."""
    return Problem(
        409, "log_incomplete", f"the log does not hold everything, a rebuild would lose what is missing: {gap}"
    )


def _places(kept: Mapping[str, int]) -> Places:
    places: Places = {}
    for name, offset in kept.items():
        topic, _, number = name.rpartition("/")
        places[Partition(topic, int(number))] = offset
    return places


def _shown(found: Sequence[Repository]) -> dict[str, Any]:
    return {one.kind: one.shown() for one in found}


def shown(job: StoredJob) -> dict[str, Any]:
    """A rebuild as JSON."""
    stage, spec = Stage.read(job.progress), orjson.loads(job.spec)
    return {
        "rebuild": job.job,
        "state": str(job.state),
        "step": stage.step,
        "mode": spec["mode"],
        "by": spec["actor"],
        "created_ms": job.created_ms,
        "done": job.done,
        "total": job.total,
        "rate": stage.rate,
        "generation": spec["generation"],
        "error": orjson.loads(job.error) if job.error else None,
        "invalid": stage.invalid,
        "equal": all(one["equal"] for one in stage.differences.values()) if stage.differences else None,
        "differences": stage.differences,
    }
