"""Documents in one SQLite file and on a MongoDB-wire server."""

from pathlib import Path
from typing import ClassVar

import pytest
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.store.mongo import Driver, MongoStore, with_motor, with_pymongo
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.documents import DocumentsTests
from prelabel_runtime.testing.store import StoreFactory, fresh

from tests.rig.servers import ServerHandle


class TestInSqlite(DocumentsTests):
    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return lambda: SqliteStore(tmp_path / "store.db")


class _OnMongo(DocumentsTests):
    EXAMPLES: ClassVar[int] = 8
    driver: ClassVar[Driver]

    @pytest.fixture
    def store_factory(self, mongo_server: ServerHandle) -> StoreFactory:
        database, driver = fresh("documents"), type(self).driver
        return lambda: MongoStore(mongo_server.address, clock=SystemClock(), database=database, driver=driver)


@pytest.mark.mongo
class TestWithMotor(_OnMongo):
    driver = staticmethod(with_motor)


@pytest.mark.mongo
class TestWithPymongo(_OnMongo):
    driver = staticmethod(with_pymongo)
