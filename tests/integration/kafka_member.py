"""A member of a consumer group as a process of its own, to be killed.

Arguments: address, prefix, topic, group, limit. Prints a line per record it was handed, commits every tenth, and stands
still after `limit` records.
"""

import asyncio
import sys
from collections.abc import Collection

from prelabel_runtime.bus.base import Committed, Partition
from prelabel_runtime.bus.kafka import KafkaBus, KafkaSettings

SETTINGS = KafkaSettings(
    session_timeout=10.0,
    heartbeat_interval=0.5,
    rebalance_timeout=15.0,
    revoke_margin=2.0,
    request_timeout=10.0,
    away_after=1.0,
    probe_timeout=5.0,
    stop_timeout=10.0,
)
"""What a group does in minutes, in seconds; more of them than a busy machine stands still."""


async def _main(address: str, prefix: str, topic: str, group: str, limit: str) -> None:
    bus = KafkaBus(address, prefix=prefix, settings=SETTINGS)
    await bus.start()
    consumer = bus.consumer([topic], group=group)

    async def ignore(_: Collection[Partition]) -> None:
        pass

    await consumer.start(on_assign=ignore, on_revoke=ignore)
    handed = 0
    while True:
        for record in await consumer.poll(1, 1.0):
            print((record.value or b"").decode(), flush=True)
            handed += 1
            if handed % 10 == 0:
                await consumer.commit({record.place: Committed(record.offset + 1)})
            if handed == int(limit):
                await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:6]))
