"""The raw log of a Kafka cluster, read by its own client."""

from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tests.failure.log import LogRecord


async def read_kafka(servers: Sequence[str], prefix: str) -> Sequence[LogRecord]:
    """Everything in the topics of Prelabel whose names begin with `prefix`."""
    places = await _partitions(servers, prefix)
    if not places:
        return []
    consumer = AIOKafkaConsumer(bootstrap_servers=list(servers), enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        found: list[LogRecord] = []
        left = {place for place in places if ends[place] > 0}
        while left:
            for place, records in (await consumer.getmany(timeout_ms=500, max_records=5000)).items():
                found += [
                    LogRecord(
                        place.topic.removeprefix(prefix), place.partition, r.offset, r.key, r.value, tuple(r.headers)
                    )
                    for r in records
                    if r.offset < ends[place]
                ]
            left = {place for place in left if await consumer.position(place) < ends[place]}
        return found
    finally:
        await consumer.stop()


async def _partitions(servers: Sequence[str], prefix: str) -> Sequence[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=list(servers))
    await admin.start()
    try:
        topics = [topic for topic in await admin.list_topics() if topic.startswith(f"{prefix}prelabel.")]
        return [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in await admin.describe_topics(topics)
            for partition in topic["partitions"]
        ]
    finally:
        await admin.close()
