"""The promises of `store.quotas`, as one suite for every store."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from prelabel_runtime.store.base import Store
from prelabel_runtime.store.quotas import StoredQuota

from .store import StoreFactory, fresh, running

__all__ = ["QuotasTests"]


class QuotasTests:
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

    async def test_a_quota_comes_back_as_it_was_written(self, store: Store) -> None:
        name = fresh("quota")
        assert await store.quotas.get(name) is None
        written = StoredQuota(name, 1, '{"ada":{"rate":50.0}}')
        assert await store.quotas.put(written)
        assert await store.quotas.get(name) == written
        assert await store.quotas.get(fresh("quota")) is None

    async def test_only_the_next_version_is_written(self, store: Store) -> None:
        name = fresh("quota")
        assert not await store.quotas.put(StoredQuota(name, 2, "{}")), "there is no first one"
        assert await store.quotas.put(StoredQuota(name, 1, "first"))
        assert not await store.quotas.put(StoredQuota(name, 1, "another first"))
        assert not await store.quotas.put(StoredQuota(name, 3, "too far"))
        assert await store.quotas.put(StoredQuota(name, 2, "second"))
        assert not await store.quotas.put(StoredQuota(name, 2, "another second"))
        assert await store.quotas.get(name) == StoredQuota(name, 2, "second")

    @pytest.mark.parametrize("version", [1, 2])
    async def test_of_many_who_write_at_once_one_does(self, store: Store, version: int) -> None:
        name = fresh("quota")
        for before in range(1, version):
            assert await store.quotas.put(StoredQuota(name, before, "before"))
        wanted = [StoredQuota(name, version, f"{who}") for who in range(8)]
        done = await asyncio.gather(*(store.quotas.put(one) for one in wanted))
        assert done.count(True) == 1
        assert await store.quotas.get(name) == wanted[done.index(True)]

    async def test_a_quota_outlives_its_process(self, store_factory: StoreFactory) -> None:
        name = fresh("quota")
        async with running(store_factory()) as before:
            assert await before.quotas.put(StoredQuota(name, 1, "kept"))
        async with running(store_factory()) as after:
            assert await after.quotas.get(name) == StoredQuota(name, 1, "kept")
