"""Blobs that nothing refers to: those of tasks that never came go when they are old, all others stay."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from prelabel_contract.blobs import blob_of
from prelabel_ingestion.sweeping import ALWAYS_FEW, Sweeper
from prelabel_runtime.blobs import Blobs
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.store.base import DELETED, Submission, Submissions
from prelabel_runtime.store.sqlite import SqliteStore

BLOB = blob_of("x")
DAY = 86_400


@pytest_asyncio.fixture
async def submissions(tmp_path: Path) -> AsyncIterator[Submissions]:
    store = SqliteStore(tmp_path / "results.db")
    await store.start()
    yield store.submissions
    await store.stop()


class Swept:
    """A folder of blobs of any age, and a sweeper for what is older than 30 days."""

    def __init__(self, folder: Path, submissions: Submissions) -> None:
        self.folder = folder / "blobs"
        self.blobs = Blobs(str(self.folder))
        self.sweeper = Sweeper(self.blobs, submissions, SystemClock(), days=30)

    async def put(self, task: str, *, days: float) -> None:
        """A blob of a task that was put so many days ago."""
        await self.blobs.put("mails", task, BLOB)
        moment = SystemClock().now_ms() / 1000 - days * DAY
        os.utime(self.folder / "mails" / task / BLOB.ref.sha256, (moment, moment))

    def there(self) -> set[str]:
        """Tasks that have blobs."""
        return {folder.name for folder in self.folder.glob("*/*")}


@pytest.fixture
def swept(tmp_path: Path, submissions: Submissions) -> Swept:
    return Swept(tmp_path, submissions)


async def test_only_what_is_old_and_of_no_known_task_goes(swept: Swept, submissions: Submissions) -> None:
    await submissions.put(
        [
            Submission("known", revision=1, content="c", config="f"),
            Submission("deleted", revision=2, content=DELETED, config="f"),
        ]
    )
    for task in ("known", "deleted", "unknown"):
        await swept.put(task, days=31)
    await swept.put("unknown-young", days=29)
    assert await swept.sweeper.sweep() == 2
    assert swept.there() == {"known", "unknown-young"}
    assert await swept.sweeper.sweep() == 0


async def test_a_store_that_has_forgotten_everything_costs_no_blob(swept: Swept, submissions: Submissions) -> None:
    tasks = {f"t{n}" for n in range(ALWAYS_FEW + 1)}
    for task in tasks:
        await swept.put(task, days=31)
    assert await swept.sweeper.sweep() == 0
    assert swept.there() == tasks
