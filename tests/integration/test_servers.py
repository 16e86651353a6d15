"""What the servers of the tests promise: a failing test above them then tells of our code, not of the rig."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, PyMongoError, ServerSelectionTimeoutError

from tests.rig.fixtures import StartServer
from tests.rig.servers import ServerHandle

Client = MongoClient[dict[str, object]]

_TOPIC = "kept"
_PARTITIONS = 2
_ENOUGH = 200  # acknowledged before the kill


async def _create_topic(address: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(_TOPIC, _PARTITIONS, 1)])
    finally:
        await admin.close()


async def _send_on(address: str, acknowledged: list[bytes], enough: asyncio.Event, done: asyncio.Event) -> None:
    """Sends one record after the other until `done`, through failures; notes what the broker acknowledged."""
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        while not done.is_set():
            value = str(len(acknowledged)).encode()
            await producer.send_and_wait(_TOPIC, value, key=value)
            acknowledged.append(value)
            if len(acknowledged) == _ENOUGH:
                enough.set()
    finally:
        await producer.stop()


async def _read_all(address: str) -> list[bytes]:
    parts = [TopicPartition(_TOPIC, number) for number in range(_PARTITIONS)]
    consumer = AIOKafkaConsumer(bootstrap_servers=address)
    await consumer.start()
    try:
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        ends = await consumer.end_offsets(parts)
        values: list[bytes] = []
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                values += [record.value for record in records if record.value is not None]
        return values
    finally:
        await consumer.stop()


@pytest.mark.kafka
@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_broker_that_ends_under_load_comes_back_with_what_it_acknowledged(
    own_kafka: StartServer, end: str
) -> None:
    broker = await asyncio.to_thread(own_kafka)
    address = broker.address
    await _create_topic(address)
    acknowledged: list[bytes] = []
    enough, done = asyncio.Event(), asyncio.Event()
    sender = asyncio.create_task(_send_on(address, acknowledged, enough, done))
    await enough.wait()

    await asyncio.to_thread(broker.kill if end == "kill" else broker.stop)
    assert not broker.running
    await asyncio.to_thread(broker.restart)
    done.set()
    await sender

    assert broker.address == address
    assert len(acknowledged) >= _ENOUGH
    assert sorted(await _read_all(address)) == sorted(acknowledged)


@pytest.mark.kafka
async def test_a_broker_knows_no_topic_that_nobody_made(kafka_server: ServerHandle) -> None:
    # As long as it may take to connect, too.
    producer = AIOKafkaProducer(bootstrap_servers=kafka_server.address, request_timeout_ms=5_000)
    await producer.start()
    try:
        with pytest.raises(KafkaError):
            await producer.send_and_wait("misspelt", b"x")
    finally:
        await producer.stop()


@pytest.mark.kafka
async def test_two_brokers_run_side_by_side_and_share_nothing(
    kafka_server: ServerHandle, own_kafka: StartServer
) -> None:
    other = await asyncio.to_thread(own_kafka)
    await _create_topic(other.address)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.address)
    await admin.start()
    try:
        assert _TOPIC not in await admin.list_topics()
    finally:
        await admin.close()


@pytest.fixture
def durable(own_mongo: StartServer) -> Iterator[tuple[ServerHandle, Client]]:
    server = own_mongo()
    # journal: else the real MongoDB may answer before it has written its journal, and a kill takes it back.
    client = Client(server.address, serverSelectionTimeoutMS=10_000, retryWrites=False, journal=True)
    yield server, client
    client.close()


@pytest.mark.mongo
def test_a_single_acknowledged_document_survives_a_kill_right_after_it(
    durable: tuple[ServerHandle, Client],
) -> None:
    server, client = durable
    client["rig"]["kept"].insert_one({"_id": 1, "version": 1})
    client["rig"]["kept"].update_one({"_id": 1}, {"$set": {"version": 2}})
    server.kill()
    server.restart()
    assert client["rig"]["kept"].find_one() == {"_id": 1, "version": 2}


@pytest.mark.mongo
def test_a_store_killed_under_load_comes_back_with_what_it_acknowledged(
    durable: tuple[ServerHandle, Client],
) -> None:
    server, client = durable
    kept = client["rig"]["kept"]
    acknowledged: list[int] = []
    enough = threading.Event()

    def write_on() -> None:
        try:
            while True:
                number = len(acknowledged)
                kept.insert_one({"_id": number})
                acknowledged.append(number)
                if number == _ENOUGH:
                    enough.set()
        except PyMongoError:
            return

    writer = threading.Thread(target=write_on)
    writer.start()
    assert enough.wait(120)
    server.kill()
    writer.join()
    server.restart()

    found = {document["_id"] for document in kept.find()}
    assert set(acknowledged) <= found
    assert len(found) <= len(acknowledged) + 1  # the one that was under way


@pytest.mark.mongo
def test_a_store_that_is_down_refuses_and_takes_writes_again_when_it_is_back(
    durable: tuple[ServerHandle, Client],
) -> None:
    server, client = durable
    kept = client["rig"]["kept"]
    kept.insert_one({"_id": "before"})
    server.stop()
    refused = pytest.raises((ServerSelectionTimeoutError, AutoReconnect))
    with Client(server.address, serverSelectionTimeoutMS=300) as hasty, refused:
        hasty["rig"]["kept"].insert_one({"_id": "while down"})
    server.restart()
    with pytest.raises(PyMongoError, match="E11000"):
        kept.insert_one({"_id": "before"})
    kept.insert_one({"_id": "after"})
    assert {document["_id"] for document in kept.find()} == {"before", "after"}


@pytest.mark.mongo
def test_a_frozen_store_answers_nothing_and_goes_on_when_thawed(
    durable: tuple[ServerHandle, Client],
) -> None:
    server, client = durable
    kept = client["rig"]["kept"]
    kept.insert_one({"_id": 1})
    server.freeze()
    refused = pytest.raises(ServerSelectionTimeoutError)
    with Client(server.address, serverSelectionTimeoutMS=300) as hasty, refused:
        hasty["rig"]["kept"].find_one()
    server.thaw()
    assert kept.count_documents({}) == 1
