"""The promises of `store.dead_letters`, `store.jobs` and `store.generations`, as one suite for every store.

Bind it as `testing.store` says, with storage of its own for each test: some of them switch the live generation.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from prelabel_contract.names import TASKS

from prelabel_runtime.store.base import Projected, State, Store
from prelabel_runtime.store.dead_letters import Decision, LetterFilter, LetterState, ReplayResults, StoredLetter
from prelabel_runtime.store.generations import UNKNOWN, Replica
from prelabel_runtime.store.jobs import JobState, StoredJob
from prelabel_runtime.store.paging import PageKey

from .store import StoreFactory, annotation, fresh, outcome, running, task

__all__ = ["DeadLettersTests", "letter"]


def letter(group: str, name: str, **values: Any) -> StoredLetter:
    """A letter; `values` say what matters to the test."""
    written = StoredLetter(
        letter=name, group=group, partition=0, offset=0, at_ms=1000, reason="bad_json", detail="no JSON",
        topic=TASKS, origin_partition=3, origin_offset=7, origin_ms=900, attempts=0,
    )  # fmt: skip
    return replace(written, **values)


def replayed(name: str, **values: Any) -> Decision:
    """A decision; `values` say what matters to the test."""
    return replace(Decision(name, LetterState.REPLAYED, 2000, "ada", replay="r"), **values)


def job(kind: str, name: str, **values: Any) -> StoredJob:
    """A job; `values` say what matters to the test."""
    return replace(StoredJob(name, kind, 1000, "{}"), **values)


class DeadLettersTests:
    """Subclass it as TestX and give the fixture `store_factory`."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        """A new store on the same storage, each time it is called."""
        raise NotImplementedError

    @pytest_asyncio.fixture
    async def store(self, store_factory: StoreFactory) -> AsyncIterator[Store]:
        """A started store."""
        async with running(store_factory()) as store:
            yield store

    # ------------------------------------------------------------------------------------------------ letters

    async def test_a_letter_comes_back_with_all_that_was_written(self, store: Store) -> None:
        name = fresh("letter")
        written = letter(
            fresh("group"), name, follows=fresh("letter"), project="mails", task=fresh("task"), type="x.y.v1",
            size=3, whole=False, record='{"value":"AAE="}', detail='"\u0000 👩‍👩‍👧‍👦',
        )  # fmt: skip
        await store.dead_letters.put([written])
        found = await store.dead_letters.get(name)
        assert found is not None
        assert (found.letter, found.state, found.decision) == (written, LetterState.OPEN, None)
        assert await store.dead_letters.get(fresh("letter")) is None

    async def test_a_letter_its_decision_and_its_end_may_come_in_any_order_and_often(self, store: Store) -> None:
        rng = random.Random(1)
        for _ in range(6):
            old, new, group = fresh("letter"), fresh("letter"), fresh("group")
            writes: list[Callable[[], Awaitable[None]]] = [
                lambda old=old, group=group: store.dead_letters.put([letter(group, old)]),  # type: ignore[misc]
                lambda old=old, new=new, group=group: store.dead_letters.put(  # type: ignore[misc]
                    [letter(group, new, follows=old)]
                ),
                lambda old=old: store.dead_letters.decide([replayed(old)]),  # type: ignore[misc]
                lambda old=old: store.dead_letters.decide([replayed(old, at_ms=3000, replay="later")]),  # type: ignore[misc]
                lambda old=old: store.dead_letters.resolve({old: 5000}),  # type: ignore[misc]
                lambda old=old: store.dead_letters.resolve({old: 4000}),  # type: ignore[misc]
            ]
            for write in rng.sample([*writes, *writes], 2 * len(writes)):
                await write()
            found = await store.dead_letters.get(old)
            assert found is not None
            assert (found.decision, found.resolved_ms, found.again) == (replayed(old), 4000, new)

    async def test_nobody_finds_what_is_said_about_a_letter_that_is_not_there(self, store: Store) -> None:
        name, group = fresh("letter"), fresh("group")
        await store.dead_letters.decide([replayed(name, replay=group)])
        await store.dead_letters.put([letter(group, fresh("letter"), follows=name)])
        assert await store.dead_letters.get(name) is None
        assert not await store.dead_letters.page(LetterFilter(replay=group), limit=10)
        assert sum((await store.dead_letters.counts())[group].values()) == 1

    async def test_pages_are_filtered_and_continue_after_the_last_one(self, store: Store) -> None:
        group = fresh("group")
        names = [fresh(f"letter-{n}") for n in range(7)]
        await store.dead_letters.put(
            [
                letter(
                    group, name, at_ms=1000 + n // 2, reason=("odd" if n % 2 else "even"),
                    project="mails" if n < 4 else None,
                )
                for n, name in enumerate(names)
            ]
        )  # fmt: skip
        await store.dead_letters.decide([replayed(names[0]), replayed(names[1], state=LetterState.DISCARDED)])

        async def listed(**wanted: Any) -> list[str]:
            found: list[str] = []
            after = None
            while page := await store.dead_letters.page(LetterFilter(group=group, **wanted), limit=2, after=after):
                found += [one.letter.letter for one in page]
                after = PageKey(page[-1].letter.at_ms, page[-1].letter.letter)
            return found

        newest_first = [n for _, n in sorted(((1000 + n // 2, name) for n, name in enumerate(names)), reverse=True)]
        assert await listed() == newest_first
        assert await listed(reason="odd") == [n for n in newest_first if names.index(n) % 2]
        assert await listed(state=LetterState.REPLAYED) == [names[0]]
        assert set(await listed(state=LetterState.OPEN)) == set(names[2:])
        assert set(await listed(projects=frozenset({"mails", "other"}))) == set(names[:4])
        assert await listed(projects=frozenset()) == []
        oldest: list[str] = []
        after = None
        wanted = LetterFilter(group=group)
        while page := await store.dead_letters.backlog(wanted, until_ms=1002, limit=2, after=after):
            oldest += [one.letter.letter for one in page]
            after = PageKey(page[-1].letter.at_ms, page[-1].letter.letter)
        assert oldest == [n for n in reversed(newest_first) if names.index(n) < 6]
        assert await store.dead_letters.count(wanted) == 7
        assert await store.dead_letters.count(wanted, until_ms=1000) == 2
        assert (await store.dead_letters.counts())[group] == {
            LetterState.OPEN: 5, LetterState.REPLAYED: 1, LetterState.DISCARDED: 1,
        }  # fmt: skip

    async def test_the_results_of_a_replay_are_counted(self, store: Store) -> None:
        replay, group = fresh("replay"), fresh("group")
        names = [fresh("letter") for _ in range(4)]
        await store.dead_letters.put([letter(group, name) for name in names])
        await store.dead_letters.decide([replayed(name, replay=replay) for name in names])
        assert await store.dead_letters.results(replay) == ReplayResults(succeeded=0, again=0, waiting=4)
        await store.dead_letters.resolve({names[0]: 1, names[1]: 2})
        await store.dead_letters.put([letter(group, fresh("letter"), follows=names[i]) for i in (1, 2)])
        assert await store.dead_letters.results(replay) == ReplayResults(succeeded=2, again=1, waiting=1)

    async def test_each_letter_of_a_replay_counts_once_while_they_are_resolved(self, store: Store) -> None:
        replay, group = fresh("replay"), fresh("group")
        names = [fresh("letter") for _ in range(100)]
        await store.dead_letters.put([letter(group, name) for name in names])
        await store.dead_letters.decide([replayed(name, replay=replay) for name in names])

        async def resolve() -> None:
            for name in names:
                await store.dead_letters.resolve({name: 1})

        async with asyncio.TaskGroup() as both:
            resolving = both.create_task(resolve())
            while not resolving.done():
                now = await store.dead_letters.results(replay)
                assert now.succeeded + now.again + now.waiting == len(names), now

    async def test_letters_of_a_deleted_task_go_and_do_not_come_back(self, store: Store) -> None:
        group, gone = fresh("group"), fresh("task")
        first, late, other = fresh("letter"), fresh("letter"), fresh("letter")
        await store.dead_letters.put([letter(group, first, task=gone), letter(group, other)])
        assert [one.letter.letter for one in await store.dead_letters.of_task(gone)] == [first]
        await store.dead_letters.delete_of_tasks([gone])
        await store.dead_letters.put([letter(group, first, task=gone), letter(group, late, task=gone)])
        assert set(await store.dead_letters.get_many([first, late, other])) == {other}

    async def test_a_claim_is_the_first_ones_until_it_lets_go(self, store: Store) -> None:
        one, two = fresh("letter"), fresh("letter")
        assert await store.claims.claim([one], "ada") == {one: "ada"}
        assert await store.claims.claim([one, two], "grace") == {one: "ada", two: "grace"}
        assert await store.claims.claim([one], "ada") == {one: "ada"}
        await store.claims.release([one, two], "grace")
        assert await store.claims.claim([one, two], "eve") == {one: "ada", two: "eve"}
        assert await store.claims.claim([], "eve") == {}

    # --------------------------------------------------------------------------------------------------- jobs

    async def test_a_job_is_held_by_one_until_its_lease_is_over(self, store: Store) -> None:
        kind, name = fresh("kind"), fresh("job")
        assert await store.jobs.take(kind, "ada", now_ms=0, until_ms=10) is None
        assert await store.jobs.create(job(kind, name, total=3))
        assert not await store.jobs.create(job(kind, name, total=4))
        mine = await store.jobs.take(kind, "ada", now_ms=0, until_ms=10)
        assert mine == job(kind, name, total=3, holder="ada", until_ms=10)
        assert await store.jobs.take(kind, "grace", now_ms=10, until_ms=20) is None
        assert await store.jobs.save(replace(mine, done=2, progress='{"at":2}', until_ms=15))
        assert await store.jobs.take(kind, "grace", now_ms=15, until_ms=25) is None
        hers = await store.jobs.take(kind, "grace", now_ms=16, until_ms=26)
        assert hers is not None
        assert (hers.done, hers.progress) == (2, '{"at":2}')
        assert not await store.jobs.save(replace(mine, done=9)), "whoever lost it writes nothing"
        over = replace(hers, done=3, state=JobState.COMPLETED)
        assert await store.jobs.save(over)
        assert not await store.jobs.save(replace(over, done=4)), "the end is the end"
        assert await store.jobs.get(kind, name) == over
        assert await store.jobs.get(fresh("kind"), name) is None

    async def test_jobs_of_a_kind_run_one_after_the_other(self, store: Store) -> None:
        kind = fresh("kind")
        old, new = fresh("job"), fresh("job")
        await store.jobs.create(job(kind, new, created_ms=2))
        await store.jobs.create(job(kind, old, created_ms=1))
        assert [one.job for one in await store.jobs.running(kind)] == [old, new]
        first = await store.jobs.take(kind, "ada", now_ms=0, until_ms=10)
        assert first is not None
        assert first.job == old
        assert await store.jobs.take(kind, "grace", now_ms=0, until_ms=10) is None, "the next one waits"
        await store.jobs.save(replace(first, state=JobState.FAILED, error='{"detail":"no"}'))
        second = await store.jobs.take(kind, "grace", now_ms=0, until_ms=10)
        assert second is not None
        assert second.job == new

    # --------------------------------------------------------------------------------------------- generations

    async def test_a_generation_is_apart_from_the_live_one_until_it_is_used(self, store: Store) -> None:
        project, uid = fresh("project"), fresh("task")
        number = store.projected.generation + 1
        before = store.projected.generation
        await store.tasks.put([task(project, uid)])
        await store.examples.put([annotation(project, uid, fresh("annotation"))])
        beside = await store.generation(number)
        assert await beside.tasks.count(project) == 0
        await beside.tasks.put([task(project, other := fresh("task"), run="r")])
        assert set(await store.tasks.get_many([uid, other])) == {uid}
        assert await store.generations.switch(before, number)
        assert not await store.generations.switch(before, number), "only the first switches"
        await store.use(await store.generations.current())
        assert set(await store.tasks.get_many([uid, other])) == {other}
        with pytest.raises(ValueError, match="in use"):
            await store.drop(number)
        await store.drop(before)
        await store.check()
        assert await store.examples.count(project) == 1, "what is not projected stays"

    async def test_a_store_begins_with_the_live_generation(self, store: Store, store_factory: StoreFactory) -> None:
        project, uid = fresh("project"), fresh("task")
        before = store.projected.generation
        beside = await store.generation(before + 1)
        await beside.tasks.put([task(project, uid)])
        await store.generations.switch(before, before + 1)
        await store.drop(before + 7)  # one that is not there
        await store.stop()
        async with running(store_factory()) as again:
            assert again.projected.generation == before + 1
            assert await again.tasks.count(project) == 1

    async def test_a_dropped_generation_begins_empty(self, store: Store) -> None:
        project, uid, gone = fresh("project"), fresh("task"), fresh("task")
        number = store.projected.generation + 1
        beside = await store.generation(number)
        await beside.tasks.put([task(project, uid)])
        await beside.tasks.delete([gone])
        await store.drop(number)
        anew = await store.generation(number)
        assert await anew.tasks.count(project) == 0
        await anew.tasks.put([task(project, gone)])
        assert await anew.tasks.count(project) == 1, "what was deleted there is forgotten with it"

    async def test_replicas_are_known_until_they_leave(self, store: Store) -> None:
        one, two = fresh("replica"), fresh("replica")
        await store.generations.seen(Replica(one, UNKNOWN, 5))
        await store.generations.seen(Replica(two, 0, 6))
        await store.generations.seen(Replica(one, 3, 7))
        assert {r for r in await store.generations.replicas() if r.id in (one, two)} == {
            Replica(one, 3, 7), Replica(two, 0, 6),
        }  # fmt: skip
        await store.generations.left([two])
        assert [r.id for r in await store.generations.replicas() if r.id in (one, two)] == [one]

    async def test_contents_are_equal_whatever_the_order_of_writes(self, store: Store) -> None:
        rng = random.Random(2)
        number = store.projected.generation + 1
        await store.drop(number)
        await store.drop(number + 1)
        first, second = await store.generation(number), await store.generation(number + 1)
        for generation in (first, second):
            for write in rng.sample(_WRITES, len(_WRITES)):
                await write(generation)
                await write(generation)
        for kind in first.contents.kinds:
            rows = await _all(first, kind)
            assert rows == await _all(second, kind), kind
            assert rows == sorted(rows)
            assert await first.contents.of(kind, [one for one, _ in rows] + ["not there"]) == dict(rows)
        assert [one for one, _ in await _all(first, "tasks")] == ["t1", "t3"]
        assert [one for one, _ in await _all(first, "dead_letters")] == ["l1"]

    async def test_contents_differ_where_anything_that_was_projected_does(self, store: Store) -> None:
        number = store.projected.generation + 1
        changes: Sequence[tuple[str, Callable[[Projected], Awaitable[None]]]] = (
            ("tasks", lambda p: p.tasks.put([task("p", "t1", revision=9)])),
            ("tasks", lambda p: p.tasks.put([task("p", "t1", run="another")])),
            (
                "outcomes",
                lambda p: p.outcomes.put([outcome("p", "t1", "q1", state=State.CREATED, score=0.25, at_ms=9)]),
            ),
            ("runs", lambda p: p.runs.announced("r")),
            ("dead_letters", lambda p: p.dead_letters.resolve({"l1": 1})),
            ("annotations", lambda p: p.annotations.put([annotation("p", "t1", "a1", offset=9)])),
        )
        for kind, change in changes:
            await store.drop(number)
            generation = await store.generation(number)
            for write in _WRITES:
                await write(generation)
            before = await _all(generation, kind)
            await change(generation)
            assert await _all(generation, kind) != before, kind


_WRITES: Sequence[Callable[[Projected], Awaitable[None]]] = (
    lambda p: p.tasks.put([task("p", "t1", run="r"), task("p", "t2")]),
    lambda p: p.tasks.put([task("p", "t1", revision=2, run="s"), task("p", "t3")]),
    lambda p: p.tasks.delete(["t2"]),
    lambda p: p.outcomes.put([outcome("p", "t1", "q1", run="r"), outcome("p", "t2", "q2", run="r")]),
    lambda p: p.outcomes.put([outcome("p", "t1", "q1", state=State.CREATED, score=0.1, at_ms=3, run="s")]),
    lambda p: p.outcomes.supersede({"q1": "q9", "q2": "q9"}),
    lambda p: p.outcomes.delete_of_tasks(["t2"]),
    lambda p: p.runs.seal("r", "p", 2, 1000),
    lambda p: p.annotations.put([annotation("p", "t1", "a1"), annotation("p", "t2", "a2")]),
    lambda p: p.annotations.delete_of_tasks(["t2"]),
    lambda p: p.dead_letters.put([letter("g", "l1"), letter("g", "l2", task="t2", follows="l0")]),
    lambda p: p.dead_letters.decide([replayed("l1"), replayed("l2")]),
    lambda p: p.dead_letters.delete_of_tasks(["t2"]),
)


async def _all(generation: Projected, kind: str) -> list[tuple[str, bytes]]:
    rows: list[tuple[str, bytes]] = []
    while page := await generation.contents.page(kind, after=rows[-1][0] if rows else None, limit=2):
        rows += page
    return rows
