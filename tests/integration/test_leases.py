"""Leases on every store: one task is in one pair of hands, whoever asks at once, dies, or comes late."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.http.problems import Problem
from prelabel_runtime.store.base import State, Store, StoredAnnotation
from prelabel_runtime.store.documents import Document, Documents
from prelabel_runtime.store.mongo import MongoStore
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.doubles import ManualClock
from prelabel_runtime.testing.store import StoreFactory, annotation, fresh, outcome, running, task
from prelabel_training.leases import forgetting
from prelabel_training.leases.choosing import Ways
from prelabel_training.leases.leases import GRACE_MS, Lease, Leases
from prelabel_training.leases.lending import LeaseWish, Lending

from tests.integration.lease_taker import HOUR, lending_of, project_of
from tests.rig.servers import ServerHandle

GRACE = GRACE_MS / 1000


async def fill(store: Store, project: str, count: int) -> list[str]:
    """Tasks with a prediction each; returns their uids."""
    uids = [f"{project}-{n:03}" for n in range(count)]
    await store.tasks.put([task(project, uid, first_ms=1000 + n) for n, uid in enumerate(uids)])
    await store.outcomes.put(
        [
            outcome(project, uid, f"r-{uid}", state=State.CREATED, offset=n, at_ms=1, uncertainty=n / count)
            for n, uid in enumerate(uids)
        ]
    )
    return uids


def lease(token: str, until_ms: int) -> Lease:
    """Somebody's."""
    return Lease(token=token, annotator=f"who {token}", until_ms=until_ms, strategy="random")


async def take(lending: Lending, project: str, n: int, annotator: str = "eve", ttl: float = HOUR) -> list[str]:
    """The uids of what somebody is given."""
    lent = await lending.lend(project_of(project), LeaseWish(n=n, ttl=ttl, strategy=Ways.RANDOM), annotator)
    return [one.task.uid for one in lent.given]


async def records(store: Store, project: str) -> list[str]:
    """The kinds of what is on record of a project's leases."""
    pages = [await store.documents.page(kind, prefix=f"{project}/", limit=100) for kind in ("lease", "lease_holder")]
    return [one.kind for page in pages for one in page]


class LeasesTests:
    """Subclass it as TestX and give the fixture `store_factory`."""

    EXAMPLES: ClassVar[int] = 25
    REPLICAS: ClassVar[int] = 1
    """Stores on the same storage that work beside each other."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        """A new store on the same storage, each time it is called."""
        raise NotImplementedError

    @pytest_asyncio.fixture
    async def stores(self, store_factory: StoreFactory) -> AsyncIterator[Sequence[Store]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(running(store_factory())) for _ in range(self.REPLICAS)]

    @pytest.fixture
    def store(self, stores: Sequence[Store]) -> Store:
        return stores[0]

    async def test_of_many_annotators_at_once_no_two_are_given_the_same_task(self, stores: Sequence[Store]) -> None:
        project, clock = fresh("project"), SystemClock()
        uids = await fill(stores[0], project, 60)
        lendings = [lending_of(stores[n % len(stores)], clock, seed=n) for n in range(8)]

        async def work(number: int) -> list[str]:
            own: list[str] = []
            while given := await take(lendings[number], project, 3, f"annotator {number}"):
                own += given
            return own

        done = await asyncio.gather(*(work(number) for number in range(len(lendings))))
        assert Counter(uid for own in done for uid in own) == Counter(uids), "each is given once, and none is left over"

    async def test_who_wants_the_same_task_at_once_gets_it_alone(self, stores: Sequence[Store]) -> None:
        clock, until = ManualClock(), ManualClock().now_ms() + 60_000
        leases = [Leases(stores[n % len(stores)].documents, clock) for n in range(8)]
        for _ in range(5):
            uid = fresh("task")
            done = await asyncio.gather(*(one.take("p", uid, lease(f"{n}", until)) for n, one in enumerate(leases)))
            assert done.count(True) == 1

    async def test_a_lease_that_is_over_frees_its_task_after_the_grace_and_not_before(self, store: Store) -> None:
        project, clock = fresh("project"), ManualClock()
        uids = await fill(store, project, 2)
        lending = lending_of(store, clock, seed=1)
        assert sorted(await take(lending, project, 2, ttl=60)) == uids
        clock.advance(60 + GRACE - 0.001)
        assert await take(lending, project, 2) == []
        clock.advance(0.001)
        assert sorted(await take(lending, project, 2)) == uids

    async def test_what_is_given_back_is_free_after_the_grace_and_what_is_renewed_is_not(self, store: Store) -> None:
        project, clock = fresh("project"), ManualClock()
        await fill(store, project, 2)
        lending = lending_of(store, clock, seed=1)
        lent = await lending.lend(project_of(project), LeaseWish(n=2, ttl=60), "eve")
        back, kept = lent.given
        assert await lending.leases.release(project, back.task.uid, back.lease.token)
        renewed = await lending.leases.renew(project, kept.task.uid, kept.lease.token, until_ms=clock.now_ms() + 90_000)
        assert renewed is not None
        assert await take(lending, project, 2) == []
        clock.advance(GRACE)
        assert await take(lending, project, 2) == [back.task.uid]
        clock.advance(90 - 2 * GRACE)
        assert await take(lending, project, 2) == []

    async def test_a_late_renewal_holds_unless_somebody_else_was_given_the_task(self, store: Store) -> None:
        project, clock = fresh("project"), ManualClock()
        leases, late = Leases(store.documents, clock), clock.now_ms() + 10_000_000
        for uid in ("mine", "theirs"):
            assert await leases.take(project, uid, lease("me", clock.now_ms() + 1000))
        clock.advance(HOUR)
        assert await leases.take(project, "theirs", lease("them", late))
        assert await leases.renew(project, "mine", "me", until_ms=late) is not None
        assert not await leases.take(project, "mine", lease("them", late))
        assert await leases.renew(project, "theirs", "me", until_ms=late) is None
        assert not await leases.release(project, "theirs", "me")
        assert await leases.held(project, ["mine", "theirs", "other"]) == {"mine", "theirs"}

    async def test_leases_whose_answer_was_lost_cost_no_more_than_their_time(self, store: Store) -> None:
        project, clock = fresh("project"), ManualClock()
        uids = await fill(store, project, 3)
        lending = lending_of(store, clock, seed=1)
        cut = replace(lending, leases=Leases(CutOff(store.documents, after=2), clock))
        with pytest.raises(Unavailable):
            await take(cut, project, 3, "bob", ttl=60)
        assert len(await take(lending, project, 3, ttl=60)) == 1, "two were leased, whoever knows of it"
        clock.advance(60 + GRACE)
        assert sorted(await take(lending, project, 3)) == uids

    async def test_a_task_that_was_answered_meanwhile_is_not_given(self, store: Store) -> None:
        project, clock = fresh("project"), ManualClock()
        uids = await fill(store, project, 5)
        lending = lending_of(store, clock, seed=1)
        said = annotation(project, uids[2], "said", offset=1)
        answering = replace(lending, leases=Meanwhile(store.documents, clock, store, said))
        assert sorted(await take(answering, project, 5)) == [uids[0], uids[1], uids[3], uids[4]]

    async def test_what_the_model_doubts_most_comes_first(self, store: Store) -> None:
        project, clock = fresh("project"), ManualClock()
        uids = await fill(store, project, 30)
        lending = lending_of(store, clock, seed=1)
        wish = LeaseWish(n=4, strategy=Ways.UNCERTAINTY)
        lent = await lending.lend(project_of(project, holdout=0), wish, "eve")
        assert [one.task.uid for one in lent.given] == uids[:-5:-1]
        # A newer prediction of it counts, the one that it replaces does not.
        await store.outcomes.put(
            [outcome(project, uids[3], "again", state=State.CREATED, offset=99, at_ms=2, uncertainty=1.0)]
        )
        await store.outcomes.supersede({f"r-{uids[3]}": "again"})
        lent = await lending.lend(project_of(project, holdout=0), LeaseWish(strategy=Ways.UNCERTAINTY), "eve")
        assert [one.task.uid for one in lent.given] == [uids[3]]
        assert [one.request for one in lent.given[0].suggestions] == ["again"]

    async def test_nobody_holds_more_tasks_than_they_may_and_who_wants_more_is_told_what_to_do(
        self, store: Store
    ) -> None:
        project, clock = fresh("project"), ManualClock()
        await fill(store, project, 12)
        lending = lending_of(store, clock, seed=1, most=3)
        assert len(await take(lending, project, 2, ttl=60)) == 2
        lent = await lending.lend(project_of(project), LeaseWish(n=5, ttl=90), "eve")
        (third,) = lent.given
        with pytest.raises(Problem) as refused:
            await take(lending, project, 1)
        assert (refused.value.status, refused.value.code) == (409, "too_many_leases")
        assert "'eve' holds 3 tasks" in refused.value.detail
        assert "ends in 60 s" in refused.value.detail
        assert len(await take(lending, project, 5, "bob")) == 3
        assert await lending.leases.release(project, third.task.uid, third.lease.token)
        assert len(await take(lending, project, 5, ttl=90)) == 1
        clock.advance(60)
        assert len(await take(lending, project, 5, ttl=90)) == 2

    async def test_an_answered_task_is_not_held_any_more(self, store: Store) -> None:
        project, clock = fresh("project"), ManualClock()
        await fill(store, project, 6)
        lending = lending_of(store, clock, seed=1, most=3)
        taken = await take(lending, project, 3)
        for number, uid in enumerate(taken[:2]):
            await store.annotations.put([annotation(project, uid, f"said {number}", offset=1 + number)])
        again = await take(lending, project, 3)
        assert len(again) == 2
        assert not set(again) & set(taken)

    async def test_of_requests_at_the_same_moment_one_annotator_is_given_no_more_than_they_may_hold(
        self, stores: Sequence[Store]
    ) -> None:
        project, clock = fresh("project"), SystemClock()
        await fill(stores[0], project, 40)
        lendings = [lending_of(stores[n % len(stores)], clock, seed=n, most=4) for n in range(6)]
        said = await asyncio.gather(*(take(one, project, 3) for one in lendings), return_exceptions=True)
        refused = [one for one in said if isinstance(one, BaseException)]
        assert all(isinstance(one, Problem) and one.code == "too_many_leases" for one in refused), refused
        given = [uid for one in said if not isinstance(one, BaseException) for uid in one]
        assert len(set(given)) == len(given) == 4

    async def test_a_late_renewal_counts_anew_and_gives_the_task_back_where_there_is_no_room(
        self, store: Store
    ) -> None:
        project, clock = fresh("project"), ManualClock()
        await fill(store, project, 5)
        lending = lending_of(store, clock, seed=1, most=2)
        lent = await lending.lend(project_of(project), LeaseWish(n=2, ttl=60), "eve")
        first, second = ((one.task.uid, one.lease) for one in lent.given)
        clock.advance(61)
        assert len(await take(lending, project, 1)) == 1
        assert await lending.renew(project, *first, ttl=HOUR) is not None
        with pytest.raises(Problem, match="holds 2 tasks"):
            await lending.renew(project, *second, ttl=HOUR)
        assert await lending.leases.find(project, second[0], second[1].token) is None
        with pytest.raises(Problem, match="holds 2 tasks"):
            await take(lending, project, 1)

    async def test_records_of_leases_go_a_day_after_their_end_some_at_a_time(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project, clock = fresh("project"), ManualClock()
        uids = await fill(store, project, 7)
        lending = lending_of(store, clock, seed=1)
        lent = await lending.lend(project_of(project), LeaseWish(n=6, ttl=60), "eve")
        kept = lent.given[0]
        monkeypatch.setattr(forgetting, "LEASES_AT_ONCE", 2)
        sweeper = forgetting.Forgetting(store.documents, lending.leases, clock)
        assert await lending.renew(project, kept.task.uid, kept.lease, ttl=HOUR)
        clock.advance(60 + 86_400 - 0.001)
        assert [await sweeper.look() for _ in range(5)] == [0] * 5
        clock.advance(0.001)
        gone = [await sweeper.look() for _ in range(4)]
        assert sum(gone) == 5
        assert max(gone) <= 2
        assert await records(store, project) == ["lease", "lease_holder"], "one was renewed, so its holder holds it"
        assert sorted(await lending.leases.of(project, uids)) == [kept.task.uid]
        clock.advance(HOUR)
        assert sum([await sweeper.look() for _ in range(2)]) == 2
        assert await records(store, project) == []
        assert await take(lending, project, 1, ttl=60), "what was forgotten is free"

    async def test_the_live_generation_is_read_whoever_switched(self, store: Store) -> None:
        project, clock = fresh("project"), ManualClock()
        await fill(store, project, 2)
        lending = lending_of(store, clock, seed=1)
        assert len(await take(lending, project, 1)) == 1
        built = await store.generation(7)
        await built.tasks.put([task(project, "only there")])
        try:
            assert await store.generations.switch(0, 7)
            assert await take(lending, project, 5) == ["only there"]
        finally:
            await store.generations.switch(7, 0)

    def test_whatever_the_steps_a_task_is_in_one_pair_of_hands(self, store_factory: StoreFactory) -> None:
        with asyncio.Runner() as runner:
            store = store_factory()
            runner.run(store.start())

            @settings(
                max_examples=self.EXAMPLES, database=None, derandomize=True, phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(st.lists(st.tuples(_STEPS, st.integers(0, 2), st.integers(0, 1)), max_size=15))
            def check(steps: list[tuple[str, int, int]]) -> None:
                runner.run(_walk(store.documents, steps))

            try:
                check()
            finally:
                runner.run(store.stop())


_STEPS = st.sampled_from(["take", "renew", "release", "pass", "long"])


async def _walk(documents: Documents, steps: Sequence[tuple[str, int, int]]) -> None:
    """Three annotators and two tasks, against what was said to each of them."""
    clock, project = ManualClock(), fresh("project")
    leases = Leases(documents, clock)
    ends: dict[str, tuple[str, int]] = {}
    """Of each task: whose token stands (empty once given back), and when it ends."""
    for number, (step, who, which) in enumerate(steps):
        uid, token = f"t{which}", f"{who}"
        holder, end = ends.get(uid, ("", -GRACE_MS))
        until = clock.now_ms() + 60_000
        if step == "take":
            given = await leases.take(project, uid, lease(token, until))
            assert given == (end + GRACE_MS <= clock.now_ms()), number
            if given:
                ends[uid] = (token, until)
        elif step == "renew":
            kept = await leases.renew(project, uid, token, until_ms=until)
            assert (kept is not None) == (holder == token), number
            if kept is not None:
                ends[uid] = (token, until)
        elif step == "release":
            assert await leases.release(project, uid, token) == (holder == token), number
            if holder == token:
                ends[uid] = ("", clock.now_ms())
        else:
            clock.advance(GRACE if step == "pass" else 60 + GRACE)
        held = {uid for uid, (_, end) in ends.items() if end + GRACE_MS > clock.now_ms()}
        assert await leases.held(project, ["t0", "t1"]) == held, number


@dataclass(frozen=True, slots=True)
class CutOff(Documents):
    """Writes as many as it may; of the last one nobody hears that it was written."""

    inner: Documents
    after: int
    written: list[str] = field(default_factory=list)

    async def get(self, kind: str, key: str) -> Document | None:
        return await self.inner.get(kind, key)

    async def get_many(self, kind: str, keys: Sequence[str]) -> Mapping[str, Document]:
        return await self.inner.get_many(kind, keys)

    async def put(self, kind: str, key: str, body: str, *, expected: int) -> Document | None:
        done = await self.inner.put(kind, key, body, expected=expected)
        self.written.append(key)
        if len(self.written) == self.after:
            raise Unavailable("the store, a moment after it wrote")
        return done

    async def page(
        self, kind: str, *, prefix: str = "", limit: int, after: str | None = None, newest: bool = False
    ) -> Sequence[Document]:
        return await self.inner.page(kind, prefix=prefix, limit=limit, after=after, newest=newest)

    async def delete(self, kind: str, key: str, *, expected: int) -> bool:
        return await self.inner.delete(kind, key, expected=expected)


@dataclass(frozen=True, slots=True)
class Meanwhile(Leases):
    """Somebody answers a task while it is being taken."""

    store: Store
    said: StoredAnnotation

    async def take(self, project: str, task: str, lease: Lease) -> bool:
        if task == self.said.task:
            await self.store.annotations.put([self.said])
        return await Leases.take(self, project, task, lease)


class TestOnSqlite(LeasesTests):
    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return lambda: SqliteStore(tmp_path / "store.db")


@pytest.mark.mongo
class TestOnMongo(LeasesTests):
    EXAMPLES: ClassVar[int] = 6
    REPLICAS: ClassVar[int] = 2

    @pytest.fixture
    def store_factory(self, mongo_server: ServerHandle) -> StoreFactory:
        database = fresh("leases")
        return lambda: MongoStore(mongo_server.address, clock=SystemClock(), database=database)


@pytest.mark.mongo
async def test_processes_that_are_killed_while_they_take_leave_no_task_to_two_and_none_lost(
    mongo_server: ServerHandle,
) -> None:
    database, project = fresh("leases"), fresh("project")
    async with running(MongoStore(mongo_server.address, clock=SystemClock(), database=database)) as store:
        uids = await fill(store, project, 45)
        said = await asyncio.to_thread(_taken, [mongo_server.address, database, project], 3)
        given = [uid for answers in said for uids in answers for uid in uids]
        assert len(given) == len(set(given))
        assert set(given) <= set(uids)
        assert len(given) >= len(uids) - 6, "a killed one loses what it was just being given"
        later = ManualClock(SystemClock().now_ms())
        assert await take(lending_of(store, later, seed=1), project, 100) == []
        later.advance(HOUR + 2 * GRACE)
        assert sorted(await take(lending_of(store, later, seed=1), project, 100)) == uids


def _taken(where: list[str], processes: int) -> list[list[list[str]]]:
    """The answers that each process printed; all but the last one are killed after their second."""
    module = [sys.executable, "-m", "tests.integration.lease_taker", *where]
    with ExitStack() as stack:
        takers = [
            stack.enter_context(subprocess.Popen([*module, f"annotator {n}"], stdout=subprocess.PIPE, text=True))
            for n in range(processes)
        ]
        said: list[list[str]] = []
        for number, taker in enumerate(takers):
            assert taker.stdout is not None
            lines = []
            if number < processes - 1:
                lines = [line for _ in range(2) if (line := taker.stdout.readline())]
                taker.kill()
            lines += taker.stdout.readlines()
            said.append(lines)
    return [[json.loads(line) for line in lines if line.endswith("\n")] for lines in said]
