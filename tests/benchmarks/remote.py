"""Calling remote targets through the inference hop: a quota used to its end, a dead target, one replica and eight.

    python -m tests.benchmarks.remote [--seconds 20] [--kafka HOST:PORT]

Everything but Kafka is in one process and on one loop: the embedded bus and store, the replicas, and the target, which
waits and counts. What is measured is latency and quotas; figures are per second of real time.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.rig.remote_hop import Hop, Replica, remote_hop
from tests.rig.target import Answer, Target, answered

LATENCY = 0.3
"""Seconds that the target takes."""
QUOTA = 50
"""Calls per second that it takes."""
PER_REPLICA = 4
"""Calls at once of a replica, where replicas are compared."""
WARM = 5.0
"""Seconds before anything is counted: concurrency is being found."""


def measure(*, seconds: float = 20.0, kafka: str = "") -> dict[str, float]:
    """All figures; takes about four times `seconds` and half a minute. Replicas are compared where there is a Kafka."""
    with tempfile.TemporaryDirectory(prefix="prelabel-remote-") as folder:
        return asyncio.run(_measured(Path(folder), seconds, kafka))


async def _measured(folder: Path, seconds: float, kafka: str) -> dict[str, float]:
    figures = {**await quota(_new(folder, "quota"), seconds), **await dead(_new(folder, "dead"), seconds)}
    return {**figures, **await workers(_new(folder, "workers"), seconds, kafka)} if kafka else figures


def _new(folder: Path, name: str) -> Path:
    (new := folder / name).mkdir()
    return new


async def quota(folder: Path, seconds: float) -> dict[str, float]:
    """A target of 300 ms and 50 calls per second, which the settings tell: calls answered, and refused ones."""
    async with Target(latency=LATENCY, per_second=QUOTA) as target:
        model = ("remote", {"url": target.url, "rate": {"calls_per_second": QUOTA}})
        async with remote_hop(folder, {"m": model}) as hop:
            await hop.replica()
            await hop.ask(_tasks("t", QUOTA * (seconds + WARM) * 1.2))
            rate = await _rate(hop, seconds)
            return {"remote.calls": rate, "remote.429_share": target.refused / target.calls}


async def dead(folder: Path, seconds: float) -> dict[str, float]:
    """A target that hangs: when it is known to be dead, and what another provider does beside it and without it.

    Each has a hop of its own, as new as the other's: a log that has grown would count against who comes second.
    """
    async with Target(behave=_hangs) as target:
        models = {"dead": ("remote", {"url": target.url}), "other": ("rules", _RULES)}
        async with remote_hop(_new(folder, "alone"), models) as hop:
            await _warm_replica(hop)
            alone = await _batch(hop, seconds)
        async with remote_hop(_new(folder, "beside"), models) as hop:
            replica = await _warm_replica(hop)
            began = time.monotonic()
            await hop.ask(_tasks("d", 500), model="dead")
            await _down(replica)
            opened = time.monotonic() - began
            beside = await _batch(hop, seconds)
        return {"remote.breaker_s": opened, "remote.others.alone": alone, "remote.others.beside": beside}


async def workers(folder: Path, seconds: float, kafka: str) -> dict[str, float]:
    """One replica, then eight of one group, of which each calls a target of 300 ms four times at once."""
    figures = {}
    async with Target(latency=LATENCY) as target:
        for count in (1, 8):
            model = ("remote", {"url": target.url, "concurrency": PER_REPLICA})
            async with remote_hop(_new(folder, str(count)), {"m": model}, kafka=kafka, partitions=32) as hop:
                for _ in range(count):
                    await hop.replica()
                await asyncio.sleep(WARM)  # they share out the partitions
                await hop.ask(_tasks("t", 1.3 * (seconds + WARM) * count * PER_REPLICA / LATENCY))
                figures[f"workers.{count}"] = await _rate(hop, seconds)
    return figures


_RULES: Mapping[str, object] = {"rules": [{"label": "WORD", "words": ["words"]}]}


async def _hangs(target: Target, body: object) -> Answer:
    await asyncio.sleep(3600)
    return answered({})


def _tasks(stem: str, count: float) -> Sequence[str]:
    return [f"{stem}-{number}" for number in range(int(count))]


async def _rate(hop: Hop, seconds: float) -> float:
    """Predictions per second, once it is warm."""
    await asyncio.sleep(WARM)
    before, began = len(hop.done), time.monotonic()
    await asyncio.sleep(seconds)
    return (len(hop.done) - before) / (time.monotonic() - began)


async def _warm_replica(hop: Hop) -> Replica:
    """One of both providers, of which the other one has answered."""
    replica = await hop.replica("remote", "rules")
    await hop.ask(["warm"], model="other")
    await hop.until(lambda hop: len(hop.done) == 1)
    return replica


async def _batch(hop: Hop, seconds: float) -> float:
    """Predictions per second of the other provider, for batches that take it about half as long."""
    before, began = len(hop.done), time.monotonic()
    for number in range(1_000_000):
        await hop.ask(_tasks(f"b{number}-", 2000), model="other")
        wanted = before + 2000 * (number + 1)
        await hop.until(lambda hop, wanted=wanted: len(hop.done) >= wanted)  # type: ignore[misc]
        if time.monotonic() - began > seconds / 2:
            break
    return (len(hop.done) - before) / (time.monotonic() - began)


async def _down(replica: Replica) -> None:
    async with asyncio.timeout(60):
        while not replica.metric("prelabel_remote_targets_down"):  # noqa: ASYNC110 - a metric calls nobody
            await asyncio.sleep(0.05)


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long a rate is watched")
    parser.add_argument("--kafka", default="", metavar="HOST:PORT", help="where replicas are compared")
    given = parser.parse_args()
    print(json.dumps(measure(seconds=given.seconds, kafka=given.kafka), indent=2))


if __name__ == "__main__":
    main()
