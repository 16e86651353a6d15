"""The promises of `store.base`, as one suite for every implementation.

    class TestMyStore(StoreTests):
        @pytest.fixture
        def store_factory(self) -> StoreFactory:
            return lambda: MyStore(...)

Every test takes new names for its projects, tasks and runs, so one database serves the whole suite.
"""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import orjson
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from prelabel_runtime.errors import Unavailable
from prelabel_runtime.store.base import (
    Doubt,
    LineCounts,
    RunState,
    State,
    Store,
    StoredAnnotation,
    StoredLine,
    StoredOutcome,
    StoredRun,
    StoredTask,
    Submission,
)
from prelabel_runtime.store.paging import PageKey

__all__ = ["StoreFactory", "StoreTests", "annotation", "fresh", "outcome", "pages", "running", "task"]

AnyStore = TypeVar("AnyStore", bound=Store)
Key = TypeVar("Key", bound=str)
StoreFactory = Callable[[], Store]
"""A new store, not started, on the same storage each time."""

STRANGE = orjson.dumps(
    {
        "$set": {"a.b": 1, "": None, "__proto__": True},
        "emoji": "👩‍👩‍👧‍👦 e\u0301 \u202e\u0000\ud7ff",
        "big": 2**63 - 1,
        "float": 0.1 + 0.2,
        "deep": [[[[[{}]]]]],
    }
).decode()
"""A body with what engines do not like as keys or values of their own."""


def fresh(what: str) -> str:
    """A name that nobody has used."""
    return f"{what}-{uuid.uuid4().hex[:12]}"


def task(project: str, uid: str, **values: Any) -> StoredTask:
    """A task; `values` say what matters to the test."""
    return replace(StoredTask(uid, project, None, 1, 1000, "config", '{"data":{}}'), **values)


def outcome(project: str, of: str, request: str, **values: Any) -> StoredOutcome:
    """A pending request of a task; `values` say what matters to the test."""
    pending = StoredOutcome(request, project, of, 1, "ner", "spacy", 1000, State.PENDING)
    return replace(pending, **values)


def annotation(project: str, of: str, name: str, **values: Any) -> StoredAnnotation:
    """An annotation of a task; `values` say what matters to the test."""
    return replace(StoredAnnotation(name, project, of, "ann", 1, 1000), **values)


@asynccontextmanager
async def running(store: AnyStore) -> AsyncIterator[AnyStore]:
    """The store, started, and stopped at the end."""
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def pages(store: Store, project: str, limit: int, **filters: Any) -> list[str]:
    """The uids of all pages of a listing, in their order."""
    uids: list[str] = []
    after: PageKey | None = None
    while page := await store.tasks.page(project, limit=limit, after=after, **filters):
        assert len(page) <= limit
        assert after is None or page[0][0] > after, "a page begins behind where the last one ended"
        uids += [one.uid for _, one in page]
        after = page[-1][0]
    return uids


# ------------------------------------------------------------------------------------- writes, in any order

Write = Callable[[Store], Awaitable[None]]


@dataclass(frozen=True)
class Names:
    """What the writes of one example are about."""

    project: str
    tasks: Sequence[str]
    runs: Sequence[str]


@dataclass(frozen=True)
class Given:
    """A value to be written, by a number in place of each name."""

    kind: str
    values: Mapping[str, Any]


_SMALL = st.integers(0, 2)
_BODY = st.sampled_from(['{"x":1}', '{"x":2}', '{"x":"é"}'])
_RUN = st.one_of(st.none(), st.integers(0, 1))
_GIVEN = st.one_of(
    st.builds(
        lambda **values: Given("task", values),
        task=_SMALL, revision=st.integers(1, 3), first_ms=st.integers(1, 3), config=st.sampled_from("ab"),
        body=_BODY, run=_RUN, id=st.one_of(st.none(), st.just("mine")),
    ),
    st.builds(
        lambda **values: Given("outcome", values),
        task=_SMALL, request=_SMALL, state=st.sampled_from(list(State)), offset=st.integers(0, 3),
        at_ms=st.integers(0, 3), body=_BODY, run=_RUN, score=st.sampled_from([None, 0.1, 0.25]),
        uncertainty=st.sampled_from([None, 0.1, 0.75]),
        version=st.sampled_from([None, "v1"]), revision=st.integers(1, 2), task_ms=st.integers(1, 3),
    ),
    st.builds(
        lambda **values: Given("annotation", values),
        task=_SMALL, annotation=st.integers(0, 4), offset=st.integers(0, 5), at_ms=st.integers(1, 3),
        deleted=st.booleans(), skipped=st.booleans(), ground_truth=st.booleans(), body=_BODY,
    ),
    st.builds(
        lambda **values: Given("line", values), task=st.one_of(st.none(), _SMALL), run=st.integers(0, 1),
    ),
    st.builds(
        lambda **values: Given("submission", values), task=_SMALL, revision=st.integers(1, 3),
        content=st.sampled_from("ab"),
    ),
    st.builds(lambda **values: Given("open", values), run=st.integers(0, 1), at_ms=st.integers(1, 3)),
    st.builds(
        lambda **values: Given("seal", values), run=st.integers(0, 1), at_ms=st.integers(1, 3),
        total=st.integers(0, 3),
    ),
    st.builds(lambda **values: Given("supersede", values), task=_SMALL, request=_SMALL, by=_SMALL),
    st.builds(lambda **values: Given("delete", values), task=_SMALL),
)  # fmt: skip
"""One write of any kind; two that claim the same rank and order may differ in their content."""


async def write(store: Store, names: Names, group: Sequence[Given]) -> None:
    """Write a group of values, those of a kind in one call."""
    of: dict[str, list[Any]] = {}
    for one in group:
        values = dict(one.values)
        if "task" in values and values["task"] is not None:
            values["task"] = names.tasks[values["task"]]
        if values.get("run") is not None:
            values["run"] = names.runs[values["run"]]
        of.setdefault(one.kind, []).append(values)
    for kind, many in of.items():
        await _WRITERS[kind](store, names, many)


async def _write_tasks(store: Store, names: Names, many: Sequence[dict[str, Any]]) -> None:
    await store.tasks.put([task(names.project, one.pop("task"), **one) for one in many])


async def _write_outcomes(store: Store, names: Names, many: Sequence[dict[str, Any]]) -> None:
    written = []
    for one in many:
        of = one.pop("task")
        number = one.pop("request")
        if one["state"] is State.PENDING:
            one |= {"offset": 0, "at_ms": 0, "body": "{}", "score": None, "version": None, "uncertainty": None}
        written.append(outcome(names.project, of, f"{of}:{number}", model=f"m{number}", **one))
    await store.outcomes.put(written)


async def _write_annotations(store: Store, names: Names, many: Sequence[dict[str, Any]]) -> None:
    written = []
    for one in many:
        of = one.pop("task")
        written.append(annotation(names.project, of, f"{of}:{one.pop('annotation')}", **one))
    await store.annotations.put(written)
    await store.examples.put(written)


async def _write_lines(store: Store, names: Names, many: Sequence[dict[str, Any]]) -> None:
    await store.lines.put(
        [StoredLine(f"{one['run']}:{one['task']}", names.project, one["run"], 7, one["task"], 5) for one in many]
    )


async def _write_submissions(store: Store, names: Names, many: Sequence[dict[str, Any]]) -> None:
    await store.submissions.put([Submission(one["task"], one["revision"], one["content"], "c") for one in many])


async def _open(store: Store, names: Names, many: Sequence[dict[str, Any]]) -> None:
    for one in many:
        await store.runs.open(one["run"], names.project, one["at_ms"])


async def _seal(store: Store, names: Names, many: Sequence[dict[str, Any]]) -> None:
    for one in many:
        await store.runs.seal(one["run"], names.project, one["total"], one["at_ms"])


async def _supersede(store: Store, _: Names, many: Sequence[dict[str, Any]]) -> None:
    for one in many:
        await store.outcomes.supersede({f"{one['task']}:{one['request']}": f"by-{one['by']}"})


async def _delete(store: Store, _: Names, many: Sequence[dict[str, Any]]) -> None:
    uids = [one["task"] for one in many]
    await store.tasks.delete(uids)
    await store.outcomes.delete_of_tasks(uids)
    await store.annotations.delete_of_tasks(uids)
    await store.examples.forget(uids)


_WRITERS: Mapping[str, Callable[[Store, Names, Sequence[dict[str, Any]]], Awaitable[None]]] = {
    "task": _write_tasks,
    "outcome": _write_outcomes,
    "annotation": _write_annotations,
    "line": _write_lines,
    "submission": _write_submissions,
    "open": _open,
    "seal": _seal,
    "supersede": _supersede,
    "delete": _delete,
}


def _in_order(found: Mapping[Key, Any]) -> dict[Key, Any]:
    """By key: no store promises an order of what is found by key."""
    return {key: found[key] for key in sorted(found)}


async def everything(store: Store, names: Names) -> dict[str, Any]:
    """What the store says of the names, in words that two examples can be compared by."""
    outcomes = await store.outcomes.of_tasks(names.tasks)
    annotations = await store.annotations.of_tasks(names.tasks)
    found: dict[str, Any] = {
        "tasks": _in_order(await store.tasks.get_many(names.tasks)),
        "count": await store.tasks.count(names.project),
        "listing": await store.tasks.page(names.project, limit=10),
        "of run": [await store.tasks.page(names.project, limit=10, run=run) for run in names.runs],
        "created": await store.tasks.page(names.project, limit=10, state=State.CREATED),
        "failed of m1": await store.tasks.page(names.project, limit=10, state=State.FAILED, model="m1"),
        "created in run": await store.tasks.page(names.project, limit=10, state=State.CREATED, run=names.runs[0]),
        "outcomes": {one: list(outcomes[one]) for one in sorted(outcomes)},
        "open": await store.tasks.unannotated(names.project, scan=10),
        "doubts": [(await store.outcomes.doubts(names.tasks)).get(one, ()) for one in names.tasks],
        "counts": {model: _in_order(of) for model, of in _in_order(await store.outcomes.counts(names.project)).items()},
        "counts of runs": [_in_order(await store.outcomes.counts_of_run(run)) for run in names.runs],
        "annotations": {one: list(annotations[one]) for one in sorted(annotations)},
        "examples": await store.examples.page(names.project, limit=10),
        "all annotations": await store.examples.annotations(names.project, limit=10),
        "count of examples": await store.examples.count(names.project),
        "current": [await store.examples.current(names.project, one) for one in names.tasks],
        "lines": [await store.lines.counts(run) for run in names.runs],
        "rejected": [await store.lines.rejected(run, limit=10) for run in names.runs],
        "submissions": _in_order(await store.submissions.get_many(names.tasks)),
        "runs": [await store.runs.get(names.project, run) for run in names.runs],
    }
    text = repr(found)
    for number, name in enumerate((names.project, *names.tasks, *names.runs)):
        text = text.replace(name, f"name{number}")
    return {"text": text}


# ----------------------------------------------------------------------------------------------- the suite


class StoreTests:
    """What every store promises. Bind it by the fixture `store_factory`."""

    EXAMPLES: ClassVar[int] = 40
    """How many lists of writes are tried; fewer where a server is far."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        """A new store on the same storage at each call."""
        raise NotImplementedError("bind the suite: say how a store is made")

    @pytest_asyncio.fixture
    async def store(self, store_factory: StoreFactory) -> AsyncIterator[Store]:
        async with running(store_factory()) as store:
            yield store

    @pytest.fixture
    def project(self) -> str:
        return fresh("project")

    # ---------------------------------------------------------------------------- order and repetition

    def test_any_order_repetition_and_grouping_of_writes_leaves_the_same_state(
        self, store_factory: StoreFactory
    ) -> None:
        # One loop and one store for all examples: starting them is what would take the time.
        with asyncio.Runner() as runner:
            store = store_factory()
            runner.run(store.start())

            async def state_after(groups: Sequence[Sequence[Given]]) -> dict[str, Any]:
                mark = uuid.uuid4().hex
                names = Names(f"p{mark}", [f"t{n}{mark}" for n in range(3)], [f"r{n}{mark}" for n in range(2)])
                for group in groups:
                    await write(store, names, group)
                return await everything(store, names)

            @settings(
                max_examples=self.EXAMPLES,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )
            @given(st.lists(_GIVEN, min_size=1, max_size=12), st.integers(0, 2**32 - 1))
            def check(writes: list[Given], seed: int) -> None:
                chance = random.Random(seed)
                shuffled = writes + chance.choices(writes, k=chance.randint(0, len(writes)))
                chance.shuffle(shuffled)
                groups = []
                while shuffled:
                    size = chance.randint(1, len(shuffled))
                    groups.append(shuffled[:size])
                    shuffled = shuffled[size:]
                one_by_one = runner.run(state_after([[one] for one in writes]))
                otherwise = runner.run(state_after(groups))
                assert one_by_one == otherwise

            try:
                check()
            finally:
                runner.run(store.stop())

    async def test_writes_of_many_at_once_leave_the_state_of_one_after_the_other(
        self, store: Store, project: str
    ) -> None:
        uid, request = fresh("task"), fresh("request")
        await asyncio.gather(
            *(store.tasks.put([task(project, uid, revision=n, first_ms=50 - n)]) for n in range(1, 21)),
            *(
                store.outcomes.put(
                    [outcome(project, uid, request, state=State.CREATED, offset=n, at_ms=n, run=f"{uid}{n}")]
                )
                for n in range(1, 21)
            ),
        )
        found = await store.tasks.get(project, uid)
        assert found is not None
        assert (found.revision, found.first_ms) == (20, 30)
        assert [one.offset for one in (await store.outcomes.of_tasks([uid]))[uid]] == [1]
        for n in range(1, 21):
            assert await store.outcomes.counts_of_run(f"{uid}{n}") == {State.CREATED: 1}

    async def test_two_values_that_claim_the_same_place_leave_the_same_state(self, store: Store, project: str) -> None:
        left: list[Any] = []
        for bodies in (('{"x":1}', '{"x":2}'), ('{"x":2}', '{"x":1}')):
            uid = fresh("task")
            for body in bodies:
                await store.tasks.put([task(project, uid, body=body)])
                await store.outcomes.put([outcome(project, uid, uid, state=State.FAILED, offset=4, at_ms=1, body=body)])
                await store.annotations.put([annotation(project, uid, uid, body=body)])
                await store.examples.put([annotation(project, uid, uid, body=body)])
                await store.submissions.put([Submission(uid, 1, body, "config")])
            example = await store.examples.current(project, uid)
            left.append(
                [
                    (await store.tasks.get_many([uid]))[uid].body,
                    (await store.outcomes.of_tasks([uid]))[uid][0].body,
                    (await store.annotations.of_tasks([uid]))[uid][0].body,
                    example.body if example else None,
                    (await store.submissions.get_many([uid]))[uid].content,
                ]
            )
        assert left[0] == left[1]

    async def test_nothing_to_write_is_written(self, store: Store) -> None:
        await store.tasks.put([])
        await store.tasks.delete([])
        await store.outcomes.put([])
        await store.outcomes.supersede({})
        await store.outcomes.delete_of_tasks([])
        await store.lines.put([])
        await store.annotations.put([])
        await store.annotations.delete_of_tasks([])
        await store.examples.put([])
        await store.examples.forget([])
        await store.submissions.put([])
        assert await store.submissions.put_new([]) == {}
        assert await store.tasks.get_many([]) == {}
        assert await store.outcomes.of_tasks([]) == {}
        assert await store.annotations.of_tasks([]) == {}
        assert await store.submissions.get_many([]) == {}

    # ------------------------------------------------------------------------------------------- tasks

    async def test_a_task_comes_back_as_it_was(self, store: Store, project: str) -> None:
        uid = fresh("täsk 😀 $.")
        written = task(project, uid, id="caller's $id. é", revision=2**40, first_ms=2**41, body=STRANGE)
        await store.tasks.put([replace(written, run=fresh("run"))])
        assert await store.tasks.get(project, uid) == written
        assert (await store.tasks.get_many([uid, "no such task"])) == {uid: written}
        assert await store.tasks.page(project, limit=1) == [(PageKey(2**41, uid), written)]

    async def test_the_newest_revision_wins_and_the_earliest_acceptance_stays(self, store: Store, project: str) -> None:
        uid = fresh("task")
        second = task(project, uid, revision=2, first_ms=20, config="new", body='{"data":2}')
        first = task(project, uid, revision=1, first_ms=10, config="old", body='{"data":1}')
        await store.tasks.put([second])
        await store.tasks.put([first])
        assert await store.tasks.get(project, uid) == replace(second, first_ms=10)

    async def test_a_task_of_another_project_is_not_given(self, store: Store, project: str) -> None:
        uid = fresh("task")
        await store.tasks.put([task(project, uid)])
        assert await store.tasks.get(fresh("project"), uid) is None

    async def test_runs_of_a_task_add_up(self, store: Store, project: str) -> None:
        uid, runs = fresh("task"), [fresh("run"), fresh("run")]
        for run in (runs[0], runs[1], runs[0], None):
            await store.tasks.put([task(project, uid, run=run)])
        for run in runs:
            assert await pages(store, project, 10, run=run) == [uid]
        assert await pages(store, project, 10, run=fresh("run")) == []

    async def test_a_deleted_task_stays_deleted(self, store: Store, project: str) -> None:
        gone, kept, run = fresh("task"), fresh("task"), fresh("run")
        written = [task(project, uid, run=run) for uid in (gone, kept)]
        await store.tasks.put(written)
        await store.tasks.delete([gone])
        for late in (written, [replace(one, revision=99) for one in written]):
            await store.tasks.put(late)
            assert await store.tasks.get(project, gone) is None
            assert await pages(store, project, 10) == [kept]
            assert await pages(store, project, 10, run=run) == [kept]
            assert await store.tasks.count(project) == 1

    async def test_a_task_may_be_deleted_before_it_comes(self, store: Store, project: str) -> None:
        uid = fresh("task")
        await store.tasks.delete([uid])
        await store.tasks.put([task(project, uid)])
        assert await store.tasks.get(project, uid) is None

    async def test_what_is_written_while_its_task_is_deleted_does_not_stay(self, store: Store, project: str) -> None:
        uids = [fresh("task") for _ in range(20)]
        for uid in uids:
            await asyncio.gather(
                store.tasks.put([task(project, uid)]),
                store.tasks.delete([uid]),
                store.outcomes.put([outcome(project, uid, uid)]),
                store.outcomes.delete_of_tasks([uid]),
                store.examples.put([annotation(project, uid, uid)]),
                store.examples.forget([uid]),
            )
        assert await store.tasks.count(project) == 0
        assert await store.outcomes.of_tasks(uids) == {}
        assert await store.examples.count(project) == 0

    async def test_pages_are_complete_and_in_order_of_acceptance(self, store: Store, project: str) -> None:
        # Several at the same moment, and moments not in the order of ids.
        written = [task(project, f"{project}-{n:03}", first_ms=1000 + (n * 7) % 10) for n in range(100)]
        await store.tasks.put(written)
        wanted = [one.uid for one in sorted(written, key=lambda one: (one.first_ms, one.uid))]
        for limit in (1, 7, 50, 100, 1000):
            assert await pages(store, project, limit) == wanted

    async def test_the_newest_tasks_are_those_accepted_last(self, store: Store, project: str) -> None:
        written = [task(project, f"{project}-{n:03}", first_ms=1000 + (n * 7) % 10) for n in range(40)]
        await store.tasks.put([*written, task(fresh("other"), fresh("t"), first_ms=5000)])
        await store.tasks.delete([f"{project}-007"])
        wanted = [one.uid for one in sorted(written, key=lambda one: (one.first_ms, one.uid)) if one.uid[-3:] != "007"]
        newest = await store.tasks.newest(project, limit=12)
        assert [one.uid for one in newest] == wanted[::-1][:12]
        assert await store.tasks.newest(fresh("none"), limit=3) == []

    async def test_pages_skip_and_repeat_nothing_while_tasks_come_and_change(self, store: Store, project: str) -> None:
        there = [f"{project}-{n:03}" for n in range(60)]
        await store.tasks.put([task(project, uid, first_ms=1000 + n) for n, uid in enumerate(there)])
        seen: list[str] = []
        after: PageKey | None = None
        while page := await store.tasks.page(project, limit=7, after=after):
            assert after is None or page[0][0] > after
            seen += [one.uid for _, one in page]
            after = page[-1][0]
            if len(seen) < 60:
                # Before the place, behind it, and a new revision of one that was seen.
                await store.tasks.put(
                    [
                        task(project, fresh("early"), first_ms=10),
                        task(project, f"{project}-z{len(seen)}", first_ms=2000 + len(seen)),
                        task(project, there[0], revision=2, first_ms=5000),
                    ]
                )
        assert [uid for uid in seen if uid in there] == there
        assert len(set(seen)) == len(seen)
        assert not [uid for uid in seen if uid.startswith("early")]

    async def test_pages_by_outcome_are_complete(self, store: Store, project: str) -> None:
        run = fresh("run")
        uids = [f"{project}-{n:03}" for n in range(40)]
        await store.tasks.put(
            [task(project, uid, first_ms=1000 + n, run=run if n < 20 else None) for n, uid in enumerate(uids)]
        )
        written = []
        for n, uid in enumerate(uids):
            of_run = run if n < 20 else None
            at = {"task_ms": 1000 + n // 8, "run": of_run, "at_ms": 5, "offset": n}
            ner = State.FAILED if n % 4 == 0 else State.CREATED
            written.append(outcome(project, uid, f"{uid}:ner", model="ner", state=ner, **at))
            written.append(outcome(project, uid, f"{uid}:topic", model="topic", state=State.CREATED, **at))
        written.append(outcome(project, fresh("no such task"), fresh("r"), state=State.CREATED, task_ms=1))
        await store.outcomes.put(written)
        failed = uids[::4]
        for limit in (1, 3, 40):
            assert await pages(store, project, limit, state=State.FAILED) == failed
            assert await pages(store, project, limit, state=State.FAILED, model="ner") == failed
            assert await pages(store, project, limit, state=State.FAILED, model="topic") == []
            assert await pages(store, project, limit, state=State.CREATED) == uids
            assert await pages(store, project, limit, state=State.CREATED, model="topic") == uids
            assert await pages(store, project, limit, state=State.FAILED, run=run) == failed[:5]
            assert await pages(store, project, limit, state=State.CREATED, run=run) == uids[:20]
            assert await pages(store, project, limit, state=State.FAILED, run=run, model="ner") == failed[:5]
            assert await pages(store, project, limit, run=run) == uids[:20]
        assert await pages(store, fresh("project"), 10, state=State.CREATED) == []

    async def test_a_task_with_outcomes_at_two_revisions_is_listed_once(self, store: Store, project: str) -> None:
        uid, other, run = fresh("task"), fresh("task"), fresh("run")
        await store.tasks.put([task(project, uid, first_ms=10), task(project, other, first_ms=15)])
        for of, ms in ((uid, 10), (uid, 20), (other, 15)):
            await store.outcomes.put(
                [outcome(project, of, f"{of}{ms}", state=State.FAILED, task_ms=ms, at_ms=ms, run=run)]
            )
        for limit in (1, 2, 10):
            assert await pages(store, project, limit, state=State.FAILED) == [uid, other]
            assert await pages(store, project, limit, state=State.FAILED, run=run) == [uid, other]

    async def test_a_model_without_a_state_is_an_error_of_the_caller(self, store: Store, project: str) -> None:
        with pytest.raises(ValueError, match="state"):
            await store.tasks.page(project, limit=1, model="ner")

    async def test_ten_thousand_at_once_are_all_there(self, store: Store, project: str) -> None:
        uids = [f"{project}-{n:05}" for n in range(10_000)]
        await store.tasks.put([task(project, uid, first_ms=n) for n, uid in enumerate(uids)])
        assert await store.tasks.count(project) == 10_000
        assert len(await store.tasks.get_many(uids)) == 10_000
        page = await store.tasks.page(project, limit=5, after=PageKey(9_994, uids[9_994]))
        assert [one.uid for _, one in page] == uids[-5:]

    # ---------------------------------------------------------------------------------------- outcomes

    async def test_an_outcome_comes_back_as_it_was(self, store: Store, project: str) -> None:
        uid = fresh("task")
        written = StoredOutcome(
            fresh("request"), project, uid, 3, "ner $.", "spacy", 2**41, State.CREATED, 2**50, 2**42,
            "v1+😀", 0.1 + 0.2, STRANGE,
        )  # fmt: skip
        await store.outcomes.put([replace(written, run=fresh("run"))])
        assert await store.outcomes.of_tasks([uid]) == {uid: [written]}

    async def test_a_missing_score_stays_missing_and_zero_stays_zero(self, store: Store, project: str) -> None:
        uid = fresh("task")
        end = {"state": State.CREATED, "at_ms": 1}
        await store.outcomes.put(
            [
                outcome(project, uid, fresh("a"), model="a", score=None, **end),
                outcome(project, uid, fresh("b"), model="b", score=0.0, **end),
            ]
        )
        assert [one.score for one in (await store.outcomes.of_tasks([uid]))[uid]] == [None, 0.0]

    @pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED, State.EXPIRED])
    async def test_created_outranks_every_other_end(self, store: Store, project: str, end: State) -> None:
        for first, second in ((end, State.CREATED), (State.CREATED, end)):
            uid, request = fresh("task"), fresh("request")
            await store.outcomes.put([outcome(project, uid, request, state=first, offset=5, at_ms=5)])
            await store.outcomes.put([outcome(project, uid, request, state=second, offset=6, at_ms=6)])
            assert [one.state for one in (await store.outcomes.of_tasks([uid]))[uid]] == [State.CREATED]

    async def test_of_two_created_the_earliest_in_the_log_wins(self, store: Store, project: str) -> None:
        for offsets in ((7, 30), (30, 7)):
            uid, request = fresh("task"), fresh("request")
            for offset in offsets:
                await store.outcomes.put(
                    [
                        outcome(
                            project, uid, request, state=State.CREATED, offset=offset, at_ms=50 - offset,
                            body=f'{{"at":{offset}}}',
                        )
                    ]
                )  # fmt: skip
            (found,) = (await store.outcomes.of_tasks([uid]))[uid]
            assert (found.offset, found.at_ms, found.body) == (7, 43, '{"at":7}')

    @pytest.mark.parametrize("end", [one for one in State if one is not State.PENDING])
    async def test_pending_never_overwrites_an_end(self, store: Store, project: str, end: State) -> None:
        uid, request, run = fresh("task"), fresh("request"), fresh("run")
        written = outcome(project, uid, request, state=end, offset=9, at_ms=9, body='{"x":1}')
        await store.outcomes.put([written])
        await store.outcomes.put([outcome(project, uid, request, run=run)])
        assert await store.outcomes.of_tasks([uid]) == {uid: [written]}
        assert await store.outcomes.counts_of_run(run) == {end: 1}

    async def test_runs_of_an_outcome_add_up_and_follow_its_state(self, store: Store, project: str) -> None:
        uid, request, runs = fresh("task"), fresh("request"), [fresh("run"), fresh("run")]
        for run in (*runs, *runs):
            await store.outcomes.put([outcome(project, uid, request, run=run)])
        for run in runs:
            assert await store.outcomes.counts_of_run(run) == {State.PENDING: 1}
            assert await store.outcomes.pending_in_run(run)
        await store.outcomes.put([outcome(project, uid, request, state=State.CREATED, at_ms=1)])
        for run in runs:
            assert await store.outcomes.counts_of_run(run) == {State.CREATED: 1}
            assert not await store.outcomes.pending_in_run(run)
        assert await store.outcomes.counts_of_run(fresh("run")) == {}
        assert not await store.outcomes.pending_in_run(fresh("run"))

    async def test_counts_are_by_model_and_state_however_often_written(self, store: Store, project: str) -> None:
        states = [State.CREATED] * 3 + [State.FAILED] * 2 + [State.PENDING]
        written = [
            outcome(project, f"{project}{n}", f"{project}{n}{model}", model=model, state=state)
            for model in ("a", "b")
            for n, state in enumerate(states)
        ]
        for _ in range(2):
            await store.outcomes.put(written)
        of_each = {State.CREATED: 3, State.FAILED: 2, State.PENDING: 1}
        assert await store.outcomes.counts(project) == {"a": of_each, "b": of_each}
        assert await store.outcomes.counts(fresh("project")) == {}

    async def test_outcomes_of_a_task_come_by_model_then_moment(self, store: Store, project: str) -> None:
        uid = fresh("task")
        written = [
            outcome(project, uid, f"{uid}{model}{ms}", model=model, state=State.CREATED, at_ms=ms)
            for model, ms in (("b", 1), ("a", 9), ("b", 0), ("a", 3))
        ]
        await store.outcomes.put(written)
        found = (await store.outcomes.of_tasks([uid, "no such task"]))[uid]
        assert [(one.model, one.at_ms) for one in found] == [("a", 3), ("a", 9), ("b", 0), ("b", 1)]

    async def test_a_superseded_request_says_by_what(self, store: Store, project: str) -> None:
        uid, request = fresh("task"), fresh("request")
        await store.outcomes.put([outcome(project, uid, request)])
        await store.outcomes.supersede({request: "the newer one"})
        await store.outcomes.put([outcome(project, uid, request, state=State.CREATED, at_ms=1)])
        (found,) = (await store.outcomes.of_tasks([uid]))[uid]
        assert (found.superseded_by, found.state) == ("the newer one", State.CREATED)

    async def test_a_request_may_be_superseded_before_it_comes(self, store: Store, project: str) -> None:
        uid, request = fresh("task"), fresh("request")
        await store.outcomes.supersede({request: "the newer one"})
        assert await store.outcomes.counts(project) == {}
        await store.outcomes.put([outcome(project, uid, request)])
        (found,) = (await store.outcomes.of_tasks([uid]))[uid]
        assert (found.superseded_by, found.model) == ("the newer one", "ner")

    async def test_an_uncertainty_comes_back_exactly_and_none_is_not_zero(self, store: Store, project: str) -> None:
        uid = fresh("task")
        told = {f"{uid}a": 0.1 + 0.2, f"{uid}b": None, f"{uid}c": 0.0, f"{uid}d": 1.0}
        await store.outcomes.put(
            [outcome(project, uid, name, state=State.CREATED, at_ms=1, uncertainty=u) for name, u in told.items()]
        )
        found = (await store.outcomes.of_tasks([uid]))[uid]
        assert {one.request: one.uncertainty for one in found} == told

    async def test_doubts_are_of_what_was_created_in_the_order_of_the_log(self, store: Store, project: str) -> None:
        uid, other = fresh("task"), fresh("task")
        await store.outcomes.put(
            [
                outcome(project, uid, f"{uid}new", state=State.CREATED, offset=9, at_ms=1, uncertainty=0.3),
                outcome(project, uid, f"{uid}old", state=State.CREATED, offset=4, at_ms=5, uncertainty=0.7),
                outcome(project, uid, f"{uid}next", state=State.CREATED, offset=2, at_ms=1, revision=2),
                outcome(project, uid, f"{uid}a", state=State.CREATED, offset=5, at_ms=1, model="a"),
                outcome(project, uid, f"{uid}failed", state=State.FAILED, offset=3, at_ms=1),
                outcome(project, uid, f"{uid}pending"),
            ]
        )
        await store.outcomes.supersede({f"{uid}old": f"{uid}new"})
        found = await store.outcomes.doubts([uid, other])
        assert found == {
            uid: [
                Doubt(uid, "a", f"{uid}a", 1, 5, None, None),
                Doubt(uid, "ner", f"{uid}old", 1, 4, 0.7, f"{uid}new"),
                Doubt(uid, "ner", f"{uid}new", 1, 9, 0.3, None),
                Doubt(uid, "ner", f"{uid}next", 2, 2, None, None),
            ]
        }
        assert await store.outcomes.doubts([]) == {}

    async def test_unannotated_tasks_are_found_in_steps_that_leave_none_out(self, store: Store, project: str) -> None:
        uids = [f"{project}{n:02}" for n in range(23)]
        await store.tasks.put([task(project, uid, first_ms=1000 + n // 3) for n, uid in enumerate(uids)])
        await store.tasks.put([task(fresh("another"), fresh("task"))])
        said = [annotation(project, uid, "one", offset=5, skipped=n % 2 == 0) for n, uid in enumerate(uids[5:15])]
        await store.annotations.put([*said, annotation(project, uids[20], "one", offset=6)])
        await store.annotations.put([annotation(project, uids[20], "one", offset=7, deleted=True)])
        for scan in (1, 4, 10, 23, 100):
            found: list[str] = []
            after: PageKey | None = None
            steps = 0
            while steps == 0 or after is not None:
                step, after = await store.tasks.unannotated(project, scan=scan, after=after)
                assert len(step) <= scan
                found += step
                steps += 1
            assert found == uids[:5] + uids[15:]
            assert steps == len(uids) // scan + 1, "each step looks at as many as it was told to"

    async def test_outcomes_of_a_deleted_task_stay_deleted(self, store: Store, project: str) -> None:
        uid, run = fresh("task"), fresh("run")
        early = outcome(project, uid, fresh("a"), run=run)
        late = outcome(project, uid, fresh("b"), state=State.CREATED, at_ms=1, run=run)
        await store.outcomes.put([early])
        await store.outcomes.delete_of_tasks([uid])
        await store.outcomes.put([early, late])
        assert await store.outcomes.of_tasks([uid]) == {}
        assert await store.outcomes.counts(project) == {}
        assert await store.outcomes.counts_of_run(run) == {}

    async def test_the_oldest_waiting_task_is_found(self, store: Store, project: str) -> None:
        ages = [-500, -900, -700]
        waiting = [outcome(project, fresh("task"), fresh("request"), task_ms=ms) for ms in ages]
        await store.outcomes.put(waiting)
        assert await store.outcomes.oldest_pending_ms() == -900
        await store.outcomes.put([replace(one, state=State.FAILED, at_ms=1) for one in waiting])
        oldest = await store.outcomes.oldest_pending_ms()
        assert oldest is None or oldest > -500

    # ------------------------------------------------------------------------------------------- lines

    async def test_a_line_is_counted_once_by_what_became_of_it(self, store: Store, project: str) -> None:
        run = fresh("run")
        accepted = [StoredLine(f"{run}:{n}", project, run, n, f"task {n}", 5) for n in range(3)]
        refused = [StoredLine(f"{run}:{n}", project, run, n, None, 5, STRANGE) for n in range(3, 10)]
        single = StoredLine(fresh("event"), project, None, None, None, 5)
        for _ in range(2):
            await store.lines.put([*accepted, *reversed(refused), single])
        assert await store.lines.counts(run) == LineCounts(accepted=3, rejected=7)
        assert await store.lines.counts(fresh("run")) == LineCounts(0, 0)
        assert await store.lines.rejected(run, limit=2) == refused[:2]
        assert await store.lines.rejected(run, after=4, limit=100) == refused[2:]

    # -------------------------------------------------------------------------------------------- runs

    async def test_a_run_goes_from_open_to_sealed_to_its_end(self, store: Store, project: str) -> None:
        run = fresh("run")
        await store.runs.open(run, project, 5)
        opened = StoredRun(run, project, RunState.OPEN, 5)
        assert await store.runs.get(project, run) == opened
        await store.runs.seal(run, project, 3, 7)
        assert await store.runs.get(project, run) == replace(opened, state=RunState.SEALED, total=3)
        assert await store.runs.finish(run, RunState.COMPLETED, 9, "done")
        ended = replace(opened, state=RunState.COMPLETED, total=3, ended_ms=9, reason="done")
        assert await store.runs.get(project, run) == ended
        assert ended in await store.runs.unfinished()
        await store.runs.announced(run)
        assert await store.runs.get(project, run) == replace(ended, announced=True)
        assert run not in [one.run for one in await store.runs.unfinished()]
        assert await store.runs.get(fresh("project"), run) is None

    async def test_an_end_is_final(self, store: Store, project: str) -> None:
        run = fresh("run")
        await store.runs.open(run, project, 5)
        assert await store.runs.finish(run, RunState.CANCELLED, 9, "by hand")
        assert not await store.runs.finish(run, RunState.COMPLETED, 1)
        await store.runs.seal(run, project, 3, 7)
        await store.runs.open(run, project, 4)
        found = await store.runs.get(project, run)
        assert found == StoredRun(run, project, RunState.CANCELLED, 4, 3, 9, "by hand")

    async def test_a_run_may_end_and_be_announced_before_it_opens(self, store: Store, project: str) -> None:
        run, other = fresh("run"), fresh("run")
        assert await store.runs.finish(run, RunState.FAILED, 9)
        assert await store.runs.get(project, run) is None
        await store.runs.open(run, project, 5)
        assert await store.runs.get(project, run) == StoredRun(run, project, RunState.FAILED, 5, ended_ms=9)
        await store.runs.announced(other)
        await store.runs.seal(other, project, 1, 5)
        assert other not in [one.run for one in await store.runs.unfinished()]

    async def test_of_an_end_that_is_told_twice_the_earlier_moment_holds(self, store: Store, project: str) -> None:
        run = fresh("run")
        await store.runs.open(run, project, 5)
        assert await store.runs.finish(run, RunState.COMPLETED, 9)
        for moment in (12, 8, 10):
            assert not await store.runs.finish(run, RunState.COMPLETED, moment)
        found = await store.runs.get(project, run)
        assert found is not None
        assert found.ended_ms == 8

    async def test_of_many_that_finish_a_run_exactly_one_learns_that_it_did(self, store: Store, project: str) -> None:
        for opened in (True, False):
            run = fresh("run")
            if opened:
                await store.runs.open(run, project, 5)
            ends = await asyncio.gather(
                *(store.runs.finish(run, RunState.COMPLETED, 10 + n, str(n)) for n in range(20))
            )
            assert ends.count(True) == 1
            await store.runs.open(run, project, 5)
            found = await store.runs.get(project, run)
            assert found is not None
            assert found.reason == str(ends.index(True))

    async def test_an_end_that_is_none_is_an_error_of_the_caller(self, store: Store) -> None:
        with pytest.raises(ValueError, match="final"):
            await store.runs.finish(fresh("run"), RunState.SEALED, 1)

    async def test_runs_are_listed_newest_first(self, store: Store, project: str) -> None:
        names = [f"{project}-{n:02}" for n in range(20)]
        for n, run in enumerate(names):
            await store.runs.open(run, project, 100 + n // 3)
        found: list[str] = []
        after: PageKey | None = None
        while page := await store.runs.page(project, limit=6, after=after):
            assert after is None or page[0].opened_ms <= after.ms
            assert page[0].run not in found
            found += [one.run for one in page]
            after = PageKey(page[-1].opened_ms, page[-1].run)
        assert found == names[::-1]

    async def test_unfinished_runs_come_oldest_first(self, store: Store, project: str) -> None:
        names = [fresh("run") for _ in range(3)]
        for run, ms in zip(names, (-30, -20, -10), strict=True):
            await store.runs.open(run, project, ms)
        assert [one.run for one in await store.runs.unfinished(limit=3)] == names
        for run in names:
            await store.runs.finish(run, RunState.FAILED, 1)
            await store.runs.announced(run)

    # ------------------------------------------------------------------------------------- annotations

    async def test_an_annotation_comes_back_as_it_was(self, store: Store, project: str) -> None:
        uid = fresh("task")
        written = StoredAnnotation(fresh("a"), project, uid, "ann 😀", 2**50, 2**41, False, True, True, STRANGE)
        await store.annotations.put([written])
        assert await store.annotations.of_tasks([uid, "no such task"]) == {uid: [written]}

    async def test_the_newest_version_of_an_annotation_wins(self, store: Store, project: str) -> None:
        for offsets in ((3, 8), (8, 3)):
            uid, name = fresh("task"), fresh("annotation")
            for offset in offsets:
                await store.annotations.put([annotation(project, uid, name, offset=offset)])
            assert [one.offset for one in (await store.annotations.of_tasks([uid]))[uid]] == [8]

    async def test_a_deleted_annotation_stays_deleted(self, store: Store, project: str) -> None:
        uid, name = fresh("task"), fresh("annotation")
        await store.annotations.put([annotation(project, uid, name, offset=5, deleted=True)])
        for offset in (4, 6):
            await store.annotations.put([annotation(project, uid, name, offset=offset)])
        assert await store.annotations.of_tasks([uid]) == {}

    async def test_one_name_under_two_tasks_is_two_annotations(self, store: Store, project: str) -> None:
        """Nobody withdraws, or replaces, what was said about a task that they did not name."""
        mine, theirs, name = fresh("task"), fresh("task"), fresh("annotation")
        kept = annotation(project, theirs, name, offset=5)
        for repository in (store.annotations, store.examples):
            await repository.put([annotation("another", mine, name, offset=3, deleted=True)])
            await repository.put([kept])
            await repository.put([annotation("another", mine, name, offset=9, deleted=True)])
        assert await store.annotations.of_tasks([mine, theirs]) == {theirs: [kept]}
        assert await store.examples.current(project, theirs) == kept

    async def test_annotations_of_a_task_come_oldest_first(self, store: Store, project: str) -> None:
        uid = fresh("task")
        await store.annotations.put(
            [annotation(project, uid, f"{uid}{ms}", at_ms=ms, offset=100 - ms) for ms in (30, 10, 20)]
        )
        assert [one.at_ms for one in (await store.annotations.of_tasks([uid]))[uid]] == [10, 20, 30]

    async def test_annotations_of_a_deleted_task_stay_deleted(self, store: Store, project: str) -> None:
        uid = fresh("task")
        written = annotation(project, uid, fresh("annotation"))
        await store.annotations.put([written])
        await store.annotations.delete_of_tasks([uid])
        await store.annotations.put([replace(written, offset=9), annotation(project, uid, fresh("other"))])
        assert await store.annotations.of_tasks([uid]) == {}

    # ---------------------------------------------------------------------------------------- examples

    async def test_the_newest_annotation_of_a_task_is_its_example(self, store: Store, project: str) -> None:
        uid = fresh("task")
        older = annotation(project, uid, fresh("a"), offset=5, annotator="ann")
        newer = annotation(project, uid, fresh("b"), offset=6, annotator="bob", body=STRANGE)
        for written in (newer, older):
            await store.examples.put([written])
            assert await store.examples.current(project, uid) == newer
        assert await store.examples.current(fresh("project"), uid) is None

    async def test_a_ground_truth_comes_before_newer_annotations(self, store: Store, project: str) -> None:
        uid = fresh("task")
        truth = annotation(project, uid, fresh("a"), offset=5, ground_truth=True)
        await store.examples.put([truth, annotation(project, uid, fresh("b"), offset=6)])
        assert await store.examples.current(project, uid) == truth
        assert await store.examples.page(project, limit=10) == [truth]

    async def test_deleting_the_example_falls_back_to_another_annotators(self, store: Store, project: str) -> None:
        uid = fresh("task")
        one = annotation(project, uid, fresh("a"), offset=5, annotator="ann")
        other = annotation(project, uid, fresh("b"), offset=6, annotator="bob")
        await store.examples.put([one, other])
        await store.examples.put([replace(other, offset=7, deleted=True)])
        assert await store.examples.current(project, uid) == one
        await store.examples.put([replace(one, offset=8, deleted=True)])
        assert await store.examples.current(project, uid) is None
        assert await store.examples.count(project) == 0
        assert await store.examples.page(project, limit=10) == []

    async def test_a_skipped_annotation_is_no_example(self, store: Store, project: str) -> None:
        uid = fresh("task")
        written = annotation(project, uid, fresh("a"), offset=5)
        await store.examples.put([replace(written, skipped=True)])
        assert await store.examples.current(project, uid) is None
        await store.examples.put([replace(written, offset=6)])
        assert await store.examples.count(project) == 1
        await store.examples.put([replace(written, offset=7, skipped=True)])
        assert await store.examples.count(project) == 0

    async def test_an_example_is_counted_once_however_often_it_is_delivered(self, store: Store, project: str) -> None:
        written = [
            annotation(project, f"{project}{n:02}", f"{project}{n}{who}", offset=n, annotator=who)
            for n in range(30)
            for who in ("ann", "bob")
        ]
        for _ in range(3):
            await store.examples.put(written)
            await store.examples.put(written[:17])
        assert await store.examples.count(project) == 30

    async def test_pages_of_examples_are_complete_and_by_task(self, store: Store, project: str) -> None:
        written = [
            annotation(project, f"{project}{n:02}", f"{project}{n}{who}", offset=10 * n + who)
            for n in range(25)
            for who in range(8)
        ]
        await store.examples.put(written)
        for limit in (1, 4, 25, 100):
            found: list[StoredAnnotation] = []
            after: str | None = None
            while page := await store.examples.page(project, limit=limit, after=after):
                assert len(page) <= limit
                assert after is None or page[0].task > after
                found += page
                after = page[-1].task
            assert [(one.task, one.offset) for one in found] == [(f"{project}{n:02}", 10 * n + 7) for n in range(25)]

    async def test_a_forgotten_task_has_no_example_again(self, store: Store, project: str) -> None:
        uid = fresh("task")
        written = annotation(project, uid, fresh("annotation"))
        await store.examples.put([written])
        await store.examples.forget([uid])
        await store.examples.put([replace(written, offset=9)])
        assert await store.examples.current(project, uid) is None
        assert await store.examples.count(project) == 0

    async def test_all_annotations_come_by_task_and_offset_and_no_page_ends_within_a_task(
        self, store: Store, project: str
    ) -> None:
        written = [
            annotation(project, f"{project}{n:02}", f"{n}{who}", offset=100 - 10 * n + who, annotator=f"{who}")
            for n in range(9)
            for who in range(n % 4 + 1)
        ]
        await store.examples.put(written)
        await store.examples.put([annotation(fresh("another"), f"{project}03", "theirs", offset=1)])
        of: dict[str, list[StoredAnnotation]] = {}
        for one in written:
            of.setdefault(one.task, []).append(one)
        for limit in (1, 2, 3, 5, len(written), 100):
            found: list[StoredAnnotation] = []
            after: str | None = None
            while page := await store.examples.annotations(project, limit=limit, after=after):
                assert len(page) >= min(limit, len(written) - len(found)), "a page is full but for the last"
                assert len(page) < limit + len(of[page[-1].task])
                found += page
                after = page[-1].task
            assert found == [one for uid in sorted(of) for one in of[uid]]

    async def test_deleted_and_forgotten_annotations_are_no_more_and_skipped_ones_are(
        self, store: Store, project: str
    ) -> None:
        kept, gone = f"{project}a", f"{project}b"
        skipped = annotation(project, kept, "skipped", offset=3, skipped=True)
        updated = annotation(project, kept, "updated", offset=2, body='{"x":1}')
        deleted = annotation(project, kept, "deleted", offset=1)
        await store.examples.put([skipped, updated, deleted, annotation(project, gone, "one", offset=4)])
        await store.examples.put([replace(deleted, offset=5, deleted=True), replace(updated, offset=6, body="{}")])
        await store.examples.forget([gone])
        found = await store.examples.annotations(project, limit=10)
        assert found == [skipped, replace(updated, offset=6, body="{}")]

    async def test_what_training_knows_is_apart_from_what_projection_knows(self, store: Store, project: str) -> None:
        uid = fresh("task")
        written = annotation(project, uid, fresh("annotation"))
        await store.annotations.put([written])
        assert await store.examples.count(project) == 0
        await store.examples.put([written])
        await store.annotations.delete_of_tasks([uid])
        assert await store.examples.current(project, uid) == written

    # ------------------------------------------------------------------------------------- submissions

    async def test_the_newest_submission_of_a_task_is_remembered(self, store: Store) -> None:
        uid = fresh("task")
        first, second = Submission(uid, 1, "hash a", "c1"), Submission(uid, 2, "hash b", "c2")
        for written in ([second], [first], [first, second]):
            await store.submissions.put(written)
            assert await store.submissions.get_many([uid, "no such task"]) == {uid: second}

    async def test_what_is_known_of_a_task_is_told_to_who_takes_it_for_new(self, store: Store) -> None:
        known, other, new = (Submission(fresh("task"), n, f"hash {n}", "c1") for n in range(1, 4))
        later = replace(known, revision=9, content="another hash", config="c2")
        assert await store.submissions.put_new([known, other]) == {}
        assert await store.submissions.put_new([later, new]) == {known.uid: known}
        found = await store.submissions.get_many([known.uid, other.uid, new.uid])
        assert found == {one.uid: one for one in (known, other, new)}

    async def test_of_many_who_take_a_task_for_new_at_once_one_is_right_and_the_others_hear_of_it(
        self, store: Store
    ) -> None:
        uid = fresh("task")
        claims = [
            [Submission(uid, n, f"hash {n}", "c"), Submission(fresh("task"), n, "own", "c")] for n in range(1, 21)
        ]
        told = await asyncio.gather(*(store.submissions.put_new(claim) for claim in claims))
        (first,) = (claim[0] for claim, known in zip(claims, told, strict=True) if not known)
        assert [known for known in told if known] == [{uid: first}] * 19
        assert await store.submissions.get_many([uid]) == {uid: first}

    # -------------------------------------------------------------------------------------------- life

    async def test_what_was_written_is_there_after_a_restart(self, store_factory: StoreFactory, project: str) -> None:
        uids = [fresh("task") for _ in range(100)]
        async with running(store_factory()) as store:
            await store.tasks.put([task(project, uid) for uid in uids])
        async with running(store_factory()) as store:
            assert set(await store.tasks.get_many(uids)) == set(uids)

    async def test_a_stopped_store_is_unavailable(self, store_factory: StoreFactory, project: str) -> None:
        store = store_factory()
        await store.start()
        await store.check()
        await store.stop()
        await store.stop()
        with pytest.raises(Unavailable):
            await store.check()
        with pytest.raises(Unavailable):
            await store.tasks.put([task(project, fresh("task"))])
        with pytest.raises(Unavailable):
            await store.tasks.count(project)

    async def test_a_value_that_cannot_be_stored_fails_alone(self, store: Store, project: str) -> None:
        uids = [fresh("task") for _ in range(10)]
        wrong = task(project, fresh("task"), body="\ud800")
        answers = await asyncio.gather(
            *(store.tasks.put([task(project, uid)]) for uid in uids[:5]),
            store.tasks.put([wrong]),
            *(store.tasks.put([task(project, uid)]) for uid in uids[5:]),
            return_exceptions=True,
        )
        assert [type(one) for one in answers if one is not None] == [UnicodeEncodeError]
        assert set(await store.tasks.get_many([*uids, wrong.uid])) == set(uids)
