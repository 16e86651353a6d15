"""What people decide about dead letters: to replay them, or to discard them.

A letter is decided about once. Whoever decides claims it first (a compare-and-set), then publishes, then writes the
decision down: a crash in between leaves a claim whose holder goes on where it was. What is published twice by that has
one effect, since every outcome is named by what it follows from. A letter whose replay fails as well is another letter,
which says what it follows.

Every replay is a job, also of a single letter: it survives the process that began it.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import orjson
from prelabel_contract import names
from prelabel_contract.events import AnyEvent, DeadLetterDiscarded, DeadLetterReplayed, event
from prelabel_runtime import log
from prelabel_runtime.bus.base import Message, Partition, Record
from prelabel_runtime.dead_letters import Aside, for_replay
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.http.problems import Problem
from prelabel_runtime.loop import messages
from prelabel_runtime.retry import backoff
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Part
from prelabel_runtime.store.dead_letters import KnownLetter, LetterFilter, LetterState, StoredLetter
from prelabel_runtime.store.jobs import JobState, StoredJob
from prelabel_runtime.store.paging import PageKey

from .handlers import decision
from .letters import Original
from .settings import ProjectionSettings

KIND = "replay"
SOURCE = "/projection"
_CHUNK = 100
"""Letters that are given back by one publish, at most."""
_FAILURES = 20
"""Failures of a replay that are shown."""
_COUNT_SECONDS = 15.0
_log = log.get("prelabel.replays")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a replay was asked for: some letters, or all that a filter finds."""

    actor: str
    rate: float
    """Letters per second."""
    ids: tuple[str, ...] | None = None
    group: str | None = None
    reason: str | None = None
    projects: tuple[str, ...] | None = None
    """Those that the actor reaches; None: all."""

    def json(self) -> str:
        """As a job's spec."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def read(cls, spec: str) -> "Wanted":
        """From a job's spec."""
        fields = orjson.loads(spec)
        lists = {name: tuple(fields[name]) for name in ("ids", "projects") if fields[name] is not None}
        return cls(**{**fields, **lists})

    @property
    def open_letters(self) -> LetterFilter:
        """The letters that its filter finds."""
        return replace(self.reached, group=self.group, reason=self.reason, state=LetterState.OPEN)

    @property
    def reached(self) -> LetterFilter:
        """The letters that its actor may see."""
        return LetterFilter(projects=None if self.projects is None else frozenset(self.projects))

    def reaches(self, letter: StoredLetter) -> bool:
        """Whether its actor may see a letter."""
        return self.projects is None or letter.project in self.projects


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is, and what became of the letters."""

    index: int = 0
    after: tuple[int, str] | None = None
    replayed: int = 0
    skipped: int = 0
    """Somebody else had decided about them."""
    failed: int = 0
    failures: tuple[Mapping[str, str], ...] = field(default_factory=tuple)

    @classmethod
    def read(cls, progress: str) -> "Progress":
        """From a job."""
        fields = orjson.loads(progress)
        for name in ("after", "failures"):
            if fields.get(name) is not None:
                fields[name] = tuple(fields[name])
        return cls(**fields)

    def json(self) -> str:
        """For the job."""
        return orjson.dumps(asdict(self)).decode()

    def failing(self, letter: str, reason: str) -> "Progress":
        """One more that could not be given back."""
        shown = (*self.failures, {"letter": letter, "reason": reason})[:_FAILURES]
        return replace(self, failed=self.failed + 1, failures=shown)


class Lost(Exception):
    """A record that a letter stands for cannot be given back, and why."""


class Replays(Part):
    """Does what was decided, and keeps doing what a process before it began."""

    def __init__(self, runtime: Runtime, settings: ProjectionSettings) -> None:
        self._runtime = runtime
        self._store = runtime.store
        self._settings = settings
        self._clock = runtime.clock
        self._holder = runtime.new_id()
        self._rng: random.Random = runtime.rng
        self._counted = float("-inf")
        self._awaited: set[str] = set()
        """Replays that somebody waits for, who does them."""

    async def start(self) -> None:
        """Nothing to get ready."""

    async def stop(self) -> None:
        """Nothing to let go: what is under way is taken up when its lease is over."""

    async def run(self) -> None:
        """Take up replays, the oldest first."""
        waits = backoff(1.0, 10.0, self._rng)
        while True:
            try:
                await self.work()
            except Unavailable:
                await self._clock.sleep(next(waits))
                continue
            waits = backoff(1.0, 10.0, self._rng)
            await self._clock.sleep(0.5)

    async def work(self) -> None:
        """Do what there is to do now."""
        await self._count()
        while job := await self._take():
            try:
                await self._do(job)
            except Unavailable:
                raise
            except Exception as error:
                _log.error("defect in a replay", replay=job.job, exc_info=error)
                told = {"type": "urn:prelabel:problem:defect", "status": 500, "detail": type(error).__name__}
                newest = await self._store.jobs.get(KIND, job.job) or job
                failed = replace(newest, state=JobState.FAILED, error=orjson.dumps(told).decode())
                await self._store.jobs.save(failed)

    async def _take(self) -> StoredJob | None:
        now = self._clock.now_ms()
        job = await self._store.jobs.take(KIND, self._holder, now_ms=now, until_ms=self._until(now))
        return None if job is None or job.job in self._awaited else job

    async def _count(self) -> None:
        if self._clock.monotonic() - self._counted < _COUNT_SECONDS:
            return
        self._counted = self._clock.monotonic()
        for group, states in (await self._store.dead_letters.counts()).items():
            for state in LetterState:
                self._runtime.metrics.dead_letters.labels(group, str(state)).set(states.get(state, 0))

    # ------------------------------------------------------------------------------------------- what people ask

    async def begin(self, wanted: Wanted, job: str) -> StoredJob:
        """A replay as long work; the same job is begun once."""
        total = len(wanted.ids) if wanted.ids is not None else None
        now = self._clock.now_ms()
        if total is None:
            total = await self._store.dead_letters.count(wanted.open_letters, until_ms=now)
        made = StoredJob(job, KIND, now, wanted.json(), total=total, progress=Progress().json())
        if await self._store.jobs.create(made):
            _log.info("replay asked for", replay=job, letters=total, actor=wanted.actor)
            return made
        return await self._store.jobs.get(KIND, job) or made

    async def replay(self, known: KnownLetter, actor: str) -> KnownLetter:
        """Give one letter back now. Raises a 409 if somebody has decided about it, or if it cannot be given back."""
        name = known.letter.letter
        if known.state is not LetterState.OPEN:
            raise decided(known)
        now = self._clock.now_ms()
        job = StoredJob(
            self._runtime.new_id(), KIND, now, Wanted(actor, rate=1000.0, ids=(name,)).json(), total=1,
            progress=Progress().json(), holder=self._holder, until_ms=self._until(now),
        )  # fmt: skip
        self._awaited.add(job.job)  # it is ours: `work` would take it, too, and give the letter back once more
        try:
            await self._store.jobs.create(job)
            ended = Progress.read((await self._do(job)).progress)
        finally:
            self._awaited.discard(job.job)
        again = await self._store.dead_letters.get(name) or known
        if ended.replayed:
            return again
        if ended.failures:
            raise Problem(409, "cannot_be_replayed", ended.failures[0]["reason"])
        raise decided(again)

    async def discard(self, known: KnownLetter, actor: str, reason: str) -> KnownLetter:
        """Decide that a letter is not needed. Raises a 409 if somebody has decided otherwise."""
        letter = known.letter
        if known.state is not LetterState.OPEN:
            raise decided(known)
        by = f"discard:{letter.letter}"
        if (await self._store.claims.claim([letter.letter], by))[letter.letter] != by:
            raise decided(await self._store.dead_letters.get(letter.letter) or known)
        data = DeadLetterDiscarded(
            letter=letter.letter, group=letter.group, actor=actor, partition=letter.partition, offset=letter.offset,
            reason=reason,
        )  # fmt: skip
        said = self._said(data, letter.letter)
        await self._runtime.bus.publish(messages([said]))
        await self._store.dead_letters.decide([decision(data, said.time_ms)])
        _log.info("dead letter discarded", letter=letter.letter, group=letter.group, actor=actor)
        return await self._store.dead_letters.get(letter.letter) or known

    # -------------------------------------------------------------------------------------------- giving back

    async def _do(self, job: StoredJob) -> StoredJob:
        """Give letters back at the rate that was asked for, until there are no more or another process has the job."""
        wanted, progress = Wanted.read(job.spec), Progress.read(job.progress)
        size = max(1, min(_CHUNK, int(wanted.rate / 4)))
        began, sent = self._clock.monotonic(), 0
        while True:
            found, progress = await self._next(job, wanted, progress, size)
            if found is None:
                results = await self._store.dead_letters.results(job.job)
                # A process that died may have given back more than it wrote down.
                given = results.succeeded + results.again + results.waiting
                progress = replace(progress, replayed=max(progress.replayed, given))
                job = replace(job, state=JobState.COMPLETED, done=_done(progress), progress=progress.json())
                await self._store.jobs.save(job)
                _log.info("replay done", replay=job.job, replayed=progress.replayed, failed=progress.failed)
                return job
            before = progress.replayed
            progress = await self._give_back(job, wanted, found, progress)
            sent += progress.replayed - before
            until = self._until(self._clock.now_ms())
            job = replace(job, done=_done(progress), progress=progress.json(), until_ms=until)
            if not await self._store.jobs.save(job):
                return job  # another process holds it: what was done twice has one effect
            wait = began + sent / wanted.rate - self._clock.monotonic()
            if wait > 0 and (job.total is None or job.done < job.total):
                await self._clock.sleep(wait)

    async def _next(
        self, job: StoredJob, wanted: Wanted, progress: Progress, size: int
    ) -> tuple[Sequence[KnownLetter] | None, Progress]:
        """The next letters, and where to go on behind them; None for no more."""
        if wanted.ids is None:
            after = PageKey(*progress.after) if progress.after is not None else None
            found = await self._store.dead_letters.backlog(
                wanted.open_letters, until_ms=job.created_ms, limit=size, after=after
            )
            if not found:
                return None, progress
            return found, replace(progress, after=(found[-1].letter.at_ms, found[-1].letter.letter))
        ids = wanted.ids[progress.index : progress.index + size]
        if not ids:
            return None, progress
        known = await self._store.dead_letters.get_many(ids)
        progress = replace(progress, index=progress.index + len(ids))
        for name in ids:
            if name not in known or not wanted.reaches(known[name].letter):
                progress = progress.failing(name, "there is no such dead letter")
        return [known[name] for name in ids if name in known and wanted.reaches(known[name].letter)], progress

    async def _give_back(
        self, job: StoredJob, wanted: Wanted, found: Sequence[KnownLetter], progress: Progress
    ) -> Progress:
        """Claim, publish, write down: in this order, whatever process does which of it."""
        mine, progress = await self._claimed(job, found, progress)
        topics = await self._runtime.bus.topics()
        out: list[Message] = []
        said: list[AnyEvent] = []
        for letter in mine:
            try:
                if names.retry(letter.group) not in topics:
                    raise Lost(f"there is no topic {names.retry(letter.group)}: its group is gone")
                record = await self._record(letter)
                out.append(for_replay(record, letter.group, self._aside(letter)))
            except (Lost, ValueError) as error:
                await self._store.claims.release([letter.letter], job.job)
                progress = progress.failing(letter.letter, str(error))
                continue
            data = DeadLetterReplayed(
                letter=letter.letter, group=letter.group, actor=wanted.actor, partition=letter.partition,
                offset=letter.offset, replay=job.job,
            )  # fmt: skip
            said.append(self._said(data, letter.letter, job.job))
            self._runtime.metrics.replayed.labels(letter.group).inc()
        if said:
            await self._runtime.bus.publish([*out, *messages(said)])
            await self._store.dead_letters.decide([decision(one.data, one.time_ms) for one in said])
        return replace(progress, replayed=progress.replayed + len(said))

    async def _claimed(
        self, job: StoredJob, found: Sequence[KnownLetter], progress: Progress
    ) -> tuple[list[StoredLetter], Progress]:
        """The letters that are this job's to give back."""
        done = sum(1 for one in found if one.decision is not None and one.decision.replay == job.job)
        free = [one.letter for one in found if one.state is LetterState.OPEN]
        holders = await self._store.claims.claim([letter.letter for letter in free], job.job)
        mine = [letter for letter in free if holders.get(letter.letter) == job.job]
        skipped = len(found) - done - len(mine)
        return mine, replace(progress, replayed=progress.replayed + done, skipped=progress.skipped + skipped)

    async def _record(self, letter: StoredLetter) -> Record:
        """The letter as it lies in the log. Raises `Lost`."""
        if letter.whole:
            original = Original.read(letter)
            return Record(
                names.dead_letters(letter.group), letter.partition, letter.offset, original.key, original.value,
                original.headers, letter.at_ms,
            )  # fmt: skip
        place = Partition(names.dead_letters(letter.group), letter.partition)
        try:
            found = await self._runtime.bus.fetch(place, letter.offset, 1)
        except ValueError as error:
            raise Lost(str(error)) from None
        if not found or found[0].offset != letter.offset:
            raise Lost("the log does not reach back to it: the record is gone")
        record = found[0]
        if letter.size > len(record.value or b""):
            raise Lost("the record is so large that only its beginning could be set aside: it must be sent again")
        return record

    def _aside(self, letter: StoredLetter) -> Aside:
        return Aside(
            reason="replayed",
            detail="",
            topic=letter.topic,
            partition=letter.origin_partition,
            offset=letter.origin_offset,
            timestamp_ms=letter.origin_ms,
            attempts=0,
            at_ms=self._clock.now_ms(),
            letter=letter.letter,
        )

    def _said(self, data: DeadLetterReplayed | DeadLetterDiscarded, *of: str) -> AnyEvent:
        return event(data, id=names.derived(data.TYPE, *of), source=SOURCE, time_ms=self._clock.now_ms())

    def _until(self, now_ms: int) -> int:
        return now_ms + round(self._settings.replay_lease_seconds * 1000)


def _done(progress: Progress) -> int:
    return progress.replayed + progress.skipped + progress.failed


def decided(known: KnownLetter) -> Problem:
    """Why nothing can be decided about a letter any more."""
    decision = known.decision
    if decision is None:
        return Problem(409, "being_decided", "somebody is deciding about this dead letter right now")
    detail = f"this dead letter was {decision.state} by {decision.actor}"
    if known.again is not None:
        detail += f"; its replay became another dead letter: {known.again}"
    return Problem(409, f"already_{decision.state}", detail)
