"""The audit in one SQLite file and on a MongoDB-wire server."""

from pathlib import Path

import pytest
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.store.mongo import MongoStore
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.audit import AuditTests
from prelabel_runtime.testing.store import StoreFactory, fresh

from tests.rig.servers import ServerHandle


class TestInSqlite(AuditTests):
    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return lambda: SqliteStore(tmp_path / "store.db")


@pytest.mark.mongo
class TestInMongo(AuditTests):
    @pytest.fixture
    def store_factory(self, mongo_server: ServerHandle) -> StoreFactory:
        database = fresh("store")
        return lambda: MongoStore(mongo_server.address, clock=SystemClock(), database=database)
