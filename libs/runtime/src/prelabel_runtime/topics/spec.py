"""How each topic should be provisioned."""

from prelabel_contract import names

from prelabel_runtime.bus.base import TopicSpec

DAY_MS = 86_400_000


def topic_spec(name: str, partitions: int, *, keep_days: int | None = None) -> TopicSpec:
    """How a topic of Prelabel's should be. State and human-rate topics have one partition: one order.

    keep_days: of topics that are kept for ever unless told.
    """
    topic = names.parse_topic(name)
    retention = topic.retention_ms
    if topic.kept is names.Kept.LONG and keep_days is not None:
        retention = keep_days * DAY_MS
    return TopicSpec(
        name,
        partitions=1 if topic.single else partitions,
        compacted=topic.kept is names.Kept.COMPACTED,
        retention_ms=retention,
    )
