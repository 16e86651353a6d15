"""The promises of `store.documents`, as one suite for every store.

Every test takes keys of its own, so one database serves the whole suite.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from prelabel_runtime.errors import Unavailable
from prelabel_runtime.store.base import Store
from prelabel_runtime.store.documents import Document, Documents

from .store import STRANGE, StoreFactory, fresh, running, task

__all__ = ["DocumentsTests"]

_KEYS = st.text(st.sampled_from("a/é:_\U0001f600z%"), max_size=4)


class DocumentsTests:
    """Subclass it as TestX and give the fixture `store_factory`."""

    EXAMPLES: ClassVar[int] = 30
    """How many lists of steps are tried; fewer where a server is far."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        """A new store on the same storage, each time it is called."""
        raise NotImplementedError

    @pytest_asyncio.fixture
    async def store(self, store_factory: StoreFactory) -> AsyncIterator[Store]:
        """A started store."""
        async with running(store_factory()) as store:
            yield store

    async def test_a_document_comes_back_as_it_was_written(self, store: Store) -> None:
        key = f"{fresh('project')}/ner"
        assert await store.documents.get("trigger", key) is None
        assert await store.documents.put("trigger", key, STRANGE, expected=0) == Document("trigger", key, STRANGE, 1)
        assert await store.documents.get("trigger", key) == Document("trigger", key, STRANGE, 1)
        assert await store.documents.put("trigger", key, "{}", expected=1) == Document("trigger", key, "{}", 2)
        assert await store.documents.get("trigger", key) == Document("trigger", key, "{}", 2)

    async def test_only_who_knows_what_stands_there_writes(self, store: Store) -> None:
        key = fresh("key")
        assert await store.documents.put("lease", key, "far", expected=1) is None, "nothing stands there"
        await store.documents.put("lease", key, "first", expected=0)
        assert await store.documents.put("lease", key, "another first", expected=0) is None
        assert await store.documents.put("lease", key, "too far", expected=2) is None
        await store.documents.put("lease", key, "second", expected=1)
        assert await store.documents.put("lease", key, "another second", expected=1) is None
        assert await store.documents.get("lease", key) == Document("lease", key, "second", 2)

    async def test_a_repeat_of_the_last_write_is_no_conflict(self, store: Store) -> None:
        key = fresh("key")
        for _ in range(2):
            assert await store.documents.put("lease", key, "first", expected=0) == Document("lease", key, "first", 1)
        for _ in range(2):
            assert await store.documents.put("lease", key, "next", expected=1) == Document("lease", key, "next", 2)
        assert await store.documents.put("lease", key, "first", expected=0) is None, "somebody went on from there"
        assert await store.documents.get("lease", key) == Document("lease", key, "next", 2)

    @pytest.mark.parametrize("expected", [0, 1])
    async def test_of_many_who_write_at_once_one_does(self, store: Store, expected: int) -> None:
        key = fresh("key")
        for before in range(expected):
            assert await store.documents.put("serving", key, "before", expected=before)
        done = await asyncio.gather(
            *(store.documents.put("serving", key, f"{who}", expected=expected) for who in range(8))
        )
        (winner,) = [one for one in done if one is not None]
        assert await store.documents.get("serving", key) == winner

    async def test_many_who_count_together_lose_no_step(self, store: Store) -> None:
        key = fresh("key")

        async def count(who: int) -> None:
            steps = 0
            while steps < 5:
                stands = await store.documents.get("quality", key)
                seen = 0 if stands is None else int(stands.body.split()[0])
                revision = 0 if stands is None else stands.revision
                steps += await store.documents.put("quality", key, f"{seen + 1} {who}", expected=revision) is not None

        await asyncio.gather(*(count(who) for who in range(6)))
        stands = await store.documents.get("quality", key)
        assert stands is not None
        assert (stands.body.split()[0], stands.revision) == ("30", 30)

    async def test_a_key_of_one_kind_is_none_of_another(self, store: Store) -> None:
        key = fresh("key")
        await store.documents.put("lease", key, "a lease", expected=0)
        await store.documents.put("lease_of", key, "another", expected=0)
        assert await store.documents.get("leas", key) is None
        assert [one.body for one in await store.documents.page("lease", prefix=key, limit=10)] == ["a lease"]
        assert [one.body for one in await store.documents.page("lease_of", prefix=key, limit=10)] == ["another"]

    @pytest.mark.parametrize("kind", ["", "Lease", "a:b", "a/b", "1", "a b", "é"])
    async def test_a_kind_is_a_word(self, store: Store, kind: str) -> None:
        calls: Mapping[str, Any] = {
            "get": store.documents.get(kind, "key"),
            "get_many": store.documents.get_many(kind, ["key"]),
            "put": store.documents.put(kind, "key", "{}", expected=0),
            "page": store.documents.page(kind, limit=1),
            "delete": store.documents.delete(kind, "key", expected=1),
        }
        for call in calls.values():
            with pytest.raises(ValueError, match="no kind"):
                await call
        with pytest.raises(ValueError, match="0 or more"):
            await store.documents.put("lease", "key", "{}", expected=-1)

    async def test_many_are_read_at_once(self, store: Store) -> None:
        mark = fresh("project")
        keys = [f"{mark}/{number}" for number in range(2500)]
        kept = keys[::5]
        await asyncio.gather(*(store.documents.put("lease", key, key, expected=0) for key in kept))
        found = await store.documents.get_many("lease", keys)
        assert found == {key: Document("lease", key, key, 1) for key in kept}
        assert await store.documents.get_many("lease", []) == {}

    async def test_pages_are_complete_by_key_and_from_the_newest_too(self, store: Store) -> None:
        mark = fresh("project")
        keys = [f"{mark}/ner/{number:08}" for number in (1, 2, 9, 10, 11, 100)]
        for key in [*reversed(keys), f"{mark}/nes/00000001", f"{mark}/ne", f"{mark}.", f"{mark}0"]:
            await store.documents.put("version", key, "{}", expected=0)
        for newest in (False, True):
            for limit in (1, 2, 6, 10):
                found: list[str] = []
                after: str | None = None
                while page := await store.documents.page(
                    "version", prefix=f"{mark}/ner/", limit=limit, after=after, newest=newest
                ):
                    assert len(page) <= limit
                    found += [one.key for one in page]
                    after = page[-1].key
                assert found == (keys[::-1] if newest else keys)

    async def test_what_is_deleted_begins_again(self, store: Store) -> None:
        key = fresh("key")
        await store.documents.put("holdout", key, "old", expected=0)
        assert not await store.documents.delete("holdout", key, expected=2)
        assert await store.documents.get("holdout", key) == Document("holdout", key, "old", 1)
        for _ in range(2):
            assert await store.documents.delete("holdout", key, expected=1), "a repeat finds nothing there either"
        assert await store.documents.get("holdout", key) is None
        assert await store.documents.put("holdout", key, "new", expected=0) == Document("holdout", key, "new", 1)

    async def test_a_document_outlives_its_process(self, store_factory: StoreFactory) -> None:
        key = fresh("key")
        async with running(store_factory()) as before:
            assert await before.documents.put("training", key, "kept", expected=0)
        async with running(store_factory()) as after:
            assert await after.documents.get("training", key) == Document("training", key, "kept", 1)

    async def test_a_rebuild_leaves_documents_alone(self, store: Store) -> None:
        key = fresh("key")
        await store.documents.put("serving", key, "kept", expected=0)
        before = store.projected.generation
        try:
            built = await store.generation(before + 1)
            await built.tasks.put([task(fresh("project"), fresh("task"))])
            await store.use(before + 1)
            await store.drop(before)
            assert await store.documents.get("serving", key) == Document("serving", key, "kept", 1)
            assert await store.documents.put("serving", key, "changed", expected=1)
        finally:
            await store.use(before)
            await store.drop(before + 1)

    async def test_a_stopped_store_is_unavailable(self, store_factory: StoreFactory) -> None:
        store = store_factory()
        await store.start()
        await store.stop()
        for call in (
            store.documents.get("lease", "key"),
            store.documents.put("lease", "key", "{}", expected=0),
            store.documents.page("lease", limit=1),
            store.documents.delete("lease", "key", expected=1),
        ):
            with pytest.raises(Unavailable):
                await call

    def test_it_is_a_table_of_keys_whatever_the_steps_are(self, store_factory: StoreFactory) -> None:
        """Any puts, deletes and pages: answered as by a plain dictionary."""
        with asyncio.Runner() as runner:
            store = store_factory()
            runner.run(store.start())

            @settings(
                max_examples=self.EXAMPLES, database=None, derandomize=True, phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(st.lists(_KEYS, min_size=1, max_size=8), st.integers(0, 2**32 - 1))
            def check(keys: list[str], seed: int) -> None:
                mark = fresh("p")
                runner.run(_steps(store.documents, [f"{mark}{key}" for key in keys], mark, random.Random(seed)))

            try:
                check()
            finally:
                runner.run(store.stop())


async def _steps(documents: Documents, keys: list[str], mark: str, chance: random.Random) -> None:
    known: dict[str, Document] = {}
    for number in range(2 * len(keys)):
        key = chance.choice(keys)
        stands = known.get(key)
        expected = chance.choice([0, 1, 2, 0 if stands is None else stands.revision])
        if chance.random() < 0.2:
            answer = await documents.delete("any", key, expected=expected)
            if stands is not None and stands.revision == expected:
                del known[key]
            assert answer == (key not in known)
            continue
        written = Document("any", key, f"{number}", expected + 1)
        may = expected == (0 if stands is None else stands.revision)
        assert await documents.put("any", key, written.body, expected=expected) == (written if may else None)
        if may:
            known[key] = written
    assert await documents.get_many("any", keys) == known
    prefix = mark + chance.choice(["", "a", "é", "\U0001f600", "a/"])
    newest = chance.random() < 0.5
    after = chance.choice([None, *keys])
    wanted = [
        known[key]
        for key in sorted(known, key=lambda one: one.encode(), reverse=newest)
        if key.startswith(prefix) and (after is None or (key < after if newest else key > after))
    ]
    assert list(await documents.page("any", prefix=prefix, limit=100, after=after, newest=newest)) == wanted
