"""The store on a MongoDB-wire server, by both drivers: every promise, and what only an outage can break."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from itertools import count
from typing import Any, ClassVar, TypeVar

import pytest
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.store.base import State
from prelabel_runtime.store.mongo import Driver, MongoStore, _MongoExamples, with_motor, with_pymongo
from prelabel_runtime.testing.store import StoreFactory, StoreTests, annotation, fresh, outcome, running, task

from deploy.local.ports import free_port
from tests.rig.fixtures import StartServer
from tests.rig.servers import ServerHandle

pytestmark = pytest.mark.mongo
PATIENCE = 60.0
"""Seconds until what must come has failed to come."""
T = TypeVar("T")


class MongoStoreTests(StoreTests):
    """On one server for all tests, in a database for each."""

    EXAMPLES: ClassVar[int] = 12
    driver: ClassVar[Driver]

    @pytest.fixture
    def store_factory(self, mongo_server: ServerHandle) -> StoreFactory:
        database = fresh("store")
        driver = type(self).driver
        return lambda: MongoStore(mongo_server.address, clock=SystemClock(), database=database, driver=driver)


class TestWithMotor(MongoStoreTests):
    driver = staticmethod(with_motor)


class TestWithPymongo(MongoStoreTests):
    driver = staticmethod(with_pymongo)


@pytest.fixture(params=[with_motor, with_pymongo], ids=["motor", "pymongo"])
def driver(request: pytest.FixtureRequest) -> Driver:
    chosen: Driver = request.param
    return chosen


def store_at(address: str, driver: Driver, **options: Any) -> MongoStore:
    """A store that notices an outage soon."""
    quick: dict[str, Any] = {"timeout_seconds": 5.0, "select_seconds": 3.0, "check_seconds": 5.0}
    return MongoStore(address, clock=SystemClock(), driver=driver, **(quick | options))


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(own_mongo: StartServer, driver: Driver) -> None:
    server = await asyncio.to_thread(own_mongo)
    async with running(store_at(server.address, driver)) as store:
        acknowledged: list[str] = []
        enough, killing = asyncio.Event(), asyncio.Event()
        numbers = count()

        async def write_on() -> None:
            """Batches until the server is away."""
            while True:
                uids = [f"t{next(numbers)}" for _ in range(50)]
                try:
                    await store.tasks.put([task("p", uid, run="r") for uid in uids])
                    await store.outcomes.put(
                        [outcome("p", uid, f"r-{uid}", state=State.CREATED, at_ms=1, run="r") for uid in uids]
                    )
                except Unavailable:
                    if not killing.is_set():  # it was only slow
                        continue
                    raise
                acknowledged.extend(uids)
                if len(acknowledged) >= 500:
                    enough.set()

        writers = [asyncio.create_task(write_on()) for _ in range(4)]
        waiting = asyncio.create_task(enough.wait())
        await asyncio.wait({waiting, *writers}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert enough.is_set(), (len(acknowledged), [writer for writer in writers if writer.done()])
        killing.set()
        await asyncio.to_thread(server.kill)
        async with asyncio.timeout(PATIENCE):
            ends = await asyncio.gather(*writers, return_exceptions=True)
            assert [type(end) for end in ends] == [Unavailable] * 4
            with pytest.raises(Unavailable):
                await store.check()
            with pytest.raises(Unavailable):
                await store.tasks.count("p")

        await asyncio.to_thread(server.restart)
        # The same store goes on: whoever was told Unavailable repeats.
        await _repeated(lambda: store.tasks.put([task("p", "late", run="r")]))
        found = await _repeated(lambda: store.tasks.get_many([*acknowledged, "late"]))
        assert set(found) == {*acknowledged, "late"}
        outcomes = await _repeated(lambda: store.outcomes.of_tasks(acknowledged))
        assert [one.state for uid in acknowledged for one in outcomes[uid]] == [State.CREATED] * len(acknowledged)


async def _repeated(what: Callable[[], Awaitable[T]]) -> T:
    """What everybody does who is told Unavailable."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await what()
            except Unavailable:
                await asyncio.sleep(0.02)


async def test_a_frozen_server_is_unavailable_in_bounded_time(own_mongo: StartServer, driver: Driver) -> None:
    server = await asyncio.to_thread(own_mongo)
    store = store_at(server.address, driver)
    await store.start()
    await _repeated(lambda: store.tasks.put([task("p", "t")]))
    server.freeze()
    try:
        async with asyncio.timeout(PATIENCE):
            answers = await asyncio.gather(
                store.check(), store.tasks.count("p"), store.tasks.put([task("p", "u")]), return_exceptions=True
            )
            assert [type(one) for one in answers] == [Unavailable] * 3
            await store.stop()
    finally:
        server.thaw()


async def test_it_waits_for_a_server_that_comes_late(own_mongo: StartServer, driver: Driver) -> None:
    server = await asyncio.to_thread(own_mongo)
    await asyncio.to_thread(server.stop)
    store = store_at(server.address, driver)
    starting = asyncio.create_task(store.start())
    await asyncio.wait({starting}, timeout=1.0)
    assert not starting.done(), "it waits for nobody"
    await asyncio.to_thread(server.restart)
    await starting
    await _repeated(store.check)
    await store.stop()


async def test_a_server_that_never_comes_is_unavailable(driver: Driver) -> None:
    store = store_at(f"mongodb://127.0.0.1:{free_port()}", driver, start_seconds=1.0)
    with pytest.raises(Unavailable):
        await store.start()


@pytest.mark.parametrize("address", ["http://somewhere", "mongodb://", "mongodb://host:port"])
async def test_an_address_that_is_none_is_refused(address: str, driver: Driver) -> None:
    with pytest.raises(Refused):
        await store_at(address, driver).start()


async def test_installations_share_a_database_by_prefix(mongo_server: ServerHandle, driver: Driver) -> None:
    database = fresh("shared")
    async with (
        running(store_at(mongo_server.address, driver, database=database, prefix="a_")) as one,
        running(store_at(mongo_server.address, driver, database=database, prefix="b_")) as other,
    ):
        await one.tasks.put([task("p", "t")])
        assert await one.tasks.count("p") == 1
        assert await other.tasks.count("p") == 0


class _Moving:
    """Finds what was updated while it read: at its old place, and at its new one behind that."""

    async def find(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        """The same however it is asked."""
        return [_stored("a", 1), _stored("b", 2), _stored("a", 3)]


def _stored(name: str, offset: int) -> dict[str, Any]:
    said = annotation("p", "t", name, offset=offset)
    best = {key: value for key, value in asdict(said).items() if key != "annotation"}
    return {"_id": said.key, "best": best}


async def test_an_annotation_that_is_updated_while_it_is_read_comes_once() -> None:
    found = await _MongoExamples(_Moving()).annotations("p", limit=10)  # type: ignore[arg-type]
    assert [(one.annotation, one.offset) for one in found] == [("b", 2), ("a", 3)]
