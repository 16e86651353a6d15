"""The promises of `store.audit`, as one suite for every implementation.

    class TestMyStore(AuditTests):
        @pytest.fixture
        def store_factory(self) -> StoreFactory:
            return lambda: MyStore(...)

Every test takes new names, so one database serves the whole suite.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from prelabel_runtime.store.audit import StoredAudit
from prelabel_runtime.store.base import Store
from prelabel_runtime.store.paging import PageKey
from prelabel_runtime.testing.store import StoreFactory, fresh, running

__all__ = ["AuditTests", "audit_row"]


def audit_row(actor: str, number: int, **fields: Any) -> StoredAudit:
    """What somebody did at a moment."""
    one = StoredAudit(
        id=f"{actor}-{number:03}",
        at_ms=1000 * number,
        actor=actor,
        action="project.put",
        subject="/v1/projects/mails",
        project="mails",
        body='{"role":"admin"}',
    )
    return replace(one, **fields)


class AuditTests:
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

    async def test_a_row_comes_back_as_it_was_and_stays_the_first_written(self, store: Store) -> None:
        actor = fresh("actor")
        row = audit_row(actor, 1, project=None, body='{"detail":{"é":[1,null]}}')
        await store.audit.put([row, row])
        await store.audit.put([replace(row, action="something.else")])
        assert await store.audit.page(limit=10, actor=actor) == [row]

    async def test_pages_go_from_the_newest_back_and_leave_nothing_out(self, store: Store) -> None:
        actor = fresh("actor")
        rows = [audit_row(actor, n, at_ms=1000 * (n // 2)) for n in range(7)]  # some at the same moment
        await store.audit.put(rows)
        found: list[StoredAudit] = []
        after: PageKey | None = None
        while page := await store.audit.page(limit=2, after=after, actor=actor):
            found += page
            after = PageKey(page[-1].at_ms, page[-1].id)
        assert found == sorted(rows, key=lambda row: (row.at_ms, row.id), reverse=True)

    async def test_rows_are_filtered_by_all_that_is_asked_for(self, store: Store) -> None:
        actor, one, other = fresh("actor"), fresh("project"), fresh("project")
        rows = [
            audit_row(actor, 1, project=one),
            audit_row(actor, 2, project=other),
            audit_row(actor, 3, project=None, action="key.make"),
            audit_row(actor, 4, project=one, action="task.delete"),
        ]
        await store.audit.put(rows)

        async def numbers(**asked: Any) -> list[int]:
            return [row.at_ms // 1000 for row in await store.audit.page(limit=10, actor=actor, **asked)]

        assert await numbers() == [4, 3, 2, 1]
        assert await numbers(projects=[one]) == [4, 1]
        assert await numbers(projects=[one, other]) == [4, 2, 1]
        assert await numbers(projects=[]) == []
        assert await numbers(action="key.make") == [3]
        assert await numbers(since_ms=3000) == [4, 3]
        assert await numbers(projects=[one], action="task.delete", since_ms=0) == [4]
        assert await numbers(projects=[other], action="task.delete") == []
        assert await store.audit.page(limit=10, actor=fresh("nobody")) == []
