"""The index of dead letters, long work and generations, on every store."""

from pathlib import Path
from typing import ClassVar

import pytest
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.store.mongo import Driver, MongoStore, with_motor, with_pymongo
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.dead_letters import DeadLettersTests
from prelabel_runtime.testing.store import StoreFactory, fresh, running, task

from tests.rig.servers import ServerHandle


class TestSqlite(DeadLettersTests):
    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return lambda: SqliteStore(tmp_path / "store.db")


class _OnMongo(DeadLettersTests):
    driver: ClassVar[Driver]

    @pytest.fixture
    def store_factory(self, mongo_server: ServerHandle) -> StoreFactory:
        database, driver = fresh("letters"), type(self).driver
        return lambda: MongoStore(mongo_server.address, clock=SystemClock(), database=database, driver=driver)


@pytest.mark.mongo
class TestWithMotor(_OnMongo):
    driver = staticmethod(with_motor)


@pytest.mark.mongo
class TestWithPymongo(_OnMongo):
    driver = staticmethod(with_pymongo)


async def test_a_dropped_generation_gives_the_disk_its_room_back(tmp_path: Path) -> None:
    async with running(SqliteStore(tmp_path / "store.db")) as store:
        beside = await store.generation(1)
        await beside.tasks.put([task("p", "t")])
        assert _beside(tmp_path)
        await store.drop(1)
        assert not _beside(tmp_path)


def _beside(folder: Path) -> list[Path]:
    return list(folder.glob("*.g1*"))
