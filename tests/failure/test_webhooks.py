"""Webhooks when they are killed, and when endpoints misbehave: every event at every healthy endpoint, at least once."""

import asyncio
import contextlib
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.ports import LOOPBACK, free_port
from deploy.local.process import ServerProcess
from tests.failure.load import seeds, until
from tests.rig.processes import ALL_IN_ONE, Prelabel
from tests.rig.servers import ServerHandle

TOTAL = 2_500
BATCH = 250
HEALTHY = ("/ok/1", "/ok/2")
KINDS = ["task.accepted"]
QUICK = {
    "PRELABEL_WEBHOOKS_RETRY_SECONDS": "[0.2, 0.5, 1, 2, 5, 10]",
    "PRELABEL_WEBHOOKS_LEASE_SECONDS": "3",
    "PRELABEL_WEBHOOKS_HOLD_SECONDS": "1",
    "PRELABEL_WEBHOOKS_SAVE_SECONDS": "0.2",
}
PROJECT: dict[str, Any] = {
    "label_set": {"questions": [{"name": "kind", "kind": "choice", "field": "text", "labels": ["a"]}]},
    "models": [],
}


@contextlib.contextmanager
def receiver(folder: Path) -> Iterator[tuple[str, Path]]:
    """A receiver that is a process of its own, with a ledger: its address and the ledger's file."""
    port, ledger = free_port(), folder / "received"
    ledger.touch()
    command = [sys.executable, "-m", "tests.rig.receiver", str(port), str(ledger)]
    process = ServerProcess.start(command, log=folder / "receiver.log", tied=True)
    try:
        _until_it_listens(port)
        yield f"http://127.0.0.1:{port}", ledger
    finally:
        process.signal(signal.SIGKILL)


def _until_it_listens(port: int) -> None:
    """What comes too early would be tried again only after seconds, or minutes."""
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection((LOOPBACK, port), timeout=60):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody listens on {port}")
        time.sleep(0.02)


def received(ledger: Path) -> Mapping[str, Counter[str]]:
    """Webhook-ids by path, each with how often it came."""
    found: dict[str, Counter[str]] = {}
    for line in _lines(ledger):
        path, name, _ = line.split(" ")
        found.setdefault(path, Counter())[name] += 1
    return found


@contextlib.asynccontextmanager
async def client(prelabel: Prelabel) -> AsyncIterator[httpx.AsyncClient]:
    """Talks to Prelabel."""
    headers = {"Authorization": f"Bearer {prelabel.key}"}
    async with httpx.AsyncClient(base_url=prelabel.address, headers=headers, timeout=60, trust_env=False) as client:
        yield client


async def subscribed(asking: httpx.AsyncClient, address: str, *paths: str) -> list[str]:
    """Ids of new subscriptions of some paths."""
    ids = []
    for path in paths:
        body = {"url": address + path, "types": KINDS}
        answer = await asking.post("/v1/subscriptions", json=body)
        assert answer.status_code == 201, answer.text
        ids.append(answer.json()["id"])
    return ids


async def submit(asking: httpx.AsyncClient, total: int) -> None:
    """So many tasks; each is repeated until it is acknowledged."""
    assert (await asking.put("/v1/projects/p", json=PROJECT)).is_success
    for first in range(0, total, BATCH):
        lines = b"".join(
            b'{"id": "t%d", "data": {"text": "word"}}\n' % n for n in range(first, min(first + BATCH, total))
        )
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": f"batch-{first}"}
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await asking.post("/v1/projects/p/tasks", content=lines, headers=headers)).is_success:
                    break
            await asyncio.sleep(0.1)


async def killed_at(prelabel: Prelabel, name: str, ledger: Path, moments: list[int]) -> None:
    """SIGKILL a process whenever so many deliveries have come, and start it again."""
    for moment in moments:
        await until(lambda moment=moment: _count(ledger) >= moment, f"{moment} deliveries", 240)  # type: ignore[misc]
        await asyncio.to_thread(prelabel.kill, name)
        await asyncio.to_thread(prelabel.restart, name)


def _count(ledger: Path) -> int:
    """Lines: each path is as long as any other."""
    return ledger.stat().st_size // (len(HEALTHY[0]) + 1 + 40 + 1 + 9 + 1)


def _all_came(ledger: Path, *paths: str) -> bool:
    """Whether each path has every event. The file is read once it is long enough: reading it takes the processor."""
    return _count(ledger) >= TOTAL * len(paths) and all(len(received(ledger).get(path, ())) >= TOTAL for path in paths)


async def _every_event_comes(prelabel: Prelabel, folder: Path, name: str, seed: int) -> None:
    rng = random.Random(seed)
    moments = sorted(rng.sample(range(TOTAL // 10, 2 * TOTAL * 8 // 10), 3))
    print(f"seed {seed}: {name} killed at {moments} deliveries of {2 * TOTAL}")
    with receiver(folder) as (address, ledger):
        async with client(prelabel) as asking:
            await subscribed(asking, address, *HEALTHY)
            began = time.monotonic()
            feeding = asyncio.create_task(submit(asking, TOTAL))
            await killed_at(prelabel, name, ledger, moments)
            await feeding
            await until(lambda: _all_came(ledger, *HEALTHY), "every delivery", 240)
        seconds = time.monotonic() - began
        came = received(ledger)
        for path in HEALTHY:
            assert len(came[path]) == TOTAL, "ids are stable: none but those of the events"
        again = sum(count - 1 for path in HEALTHY for count in came[path].values())
        print(f"{2 * TOTAL} deliveries and {again} repetitions in {seconds:.0f} s")
        assert again <= TOTAL, "repeated is what had not been written down, no more"


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds()[:1])
async def test_all_in_one_delivers_everything_when_it_is_killed(tmp_path: Path, seed: int) -> None:
    with Prelabel.all_in_one(tmp_path, providers=["echo"], environment=QUICK) as prelabel:
        await _every_event_comes(prelabel, tmp_path, ALL_IN_ONE, seed)


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds()[:1])
async def test_webhooks_deliver_everything_when_they_are_killed(
    tmp_path: Path, kafka_server: ServerHandle, mongo_server: ServerHandle, seed: int
) -> None:
    servers = {"kafka": kafka_server.address, "mongo": mongo_server.address}
    with Prelabel.separate(tmp_path, **servers, providers=["echo"], environment=QUICK) as prelabel:
        await _every_event_comes(prelabel, tmp_path, "webhooks", seed)


@pytest.mark.slow
async def test_a_recovery_survives_the_kill_of_whoever_does_it(tmp_path: Path) -> None:
    with (
        Prelabel.all_in_one(tmp_path, providers=["echo"], environment=QUICK) as prelabel,
        receiver(tmp_path) as (address, ledger),
    ):
        async with client(prelabel) as asking:
            (subscription,) = await subscribed(asking, address, HEALTHY[0])
            await submit(asking, TOTAL)
            await until(lambda: _all_came(ledger, HEALTHY[0]), "every delivery", 240)
            first = received(ledger)[HEALTHY[0]]
            answer = await asking.post(f"/v1/subscriptions/{subscription}/recoveries", json={"since_ms": 0})
            assert answer.status_code == 202
            before = sum(first.values())
            await until(lambda: _count(ledger) >= before + TOTAL // 4, "a part of it", 120)
            await asyncio.to_thread(prelabel.kill, ALL_IN_ONE)
            await asyncio.to_thread(prelabel.restart, ALL_IN_ONE)
            path = answer.headers["Location"]
            deadline = time.monotonic() + 240
            while (seen := (await asking.get(path)).json())["state"] == "running":
                assert time.monotonic() < deadline, seen
                await asyncio.sleep(0.2)
        assert seen["state"] == "completed"
        came = received(ledger)[HEALTHY[0]]
        assert set(came) == set(first), "the same ids"
        assert min(came.values()) >= 2, "each once more, at least"


# --------------------------------------------------------------------------------------------------- the zoo

GOOD = tuple(f"/ok/{number:02}" for number in range(46))
BAD = ("/hang", "/drip", "/huge", "/redirect")
EVENTS = 60
PATIENT = {"PRELABEL_WEBHOOKS_ATTEMPT_SECONDS": "60"}
"""Whoever hangs holds an attempt for about as long as the test takes."""
MIB = 1 << 20


@pytest.mark.slow
async def test_four_bad_endpoints_of_fifty_hold_up_no_other_and_take_little_memory(tmp_path: Path) -> None:
    with (
        Prelabel.all_in_one(tmp_path, providers=["echo"], environment=PATIENT) as prelabel,
        receiver(tmp_path) as (address, ledger),
    ):
        async with client(prelabel) as asking:
            assert (await asking.put("/v1/projects/p", json=PROJECT)).is_success
            await subscribed(asking, address, *GOOD)
            pid = prelabel.process(ALL_IN_ONE).pid
            before = await _phase(asking, ledger, "alone", pid)
            await subscribed(asking, address, *BAD)
            peak = await _phase(asking, ledger, "beside", pid)
            tried = _tried(ledger)
            await until(lambda: all(_tried(ledger)[path] for path in BAD), "an attempt at each of the bad ones", 120)
    grown = (peak - before) / MIB
    print(f"memory grew by {grown:.1f} MiB beside {[tried[path] for path in BAD]} attempts at the bad")
    assert tried["/hang"] < EVENTS, "it had not been through its events when all others had theirs"
    assert grown <= 32


async def _phase(asking: httpx.AsyncClient, ledger: Path, name: str, pid: int) -> int:
    """Send events one after the other until the good endpoints have them all; the most memory meanwhile, in bytes."""
    skipped = len(_lines(ledger))
    peak = 0

    def fresh() -> int:
        return sum(line.startswith("/ok/") for line in _lines(ledger)[skipped:])

    for number in range(EVENTS):
        body = {"id": f"{name}-{number}", "data": {"text": "word"}}
        assert (await asking.post("/v1/projects/p/tasks", json=body)).is_success
        peak = max(peak, _resident(pid))
    await until(lambda: fresh() >= EVENTS * len(GOOD), "every delivery to the good ones", 240)
    return max(peak, _resident(pid))


def _tried(ledger: Path) -> Counter[str]:
    """Attempts by path."""
    return Counter(line.split(" ")[0] for line in _lines(ledger))


def _lines(ledger: Path) -> list[str]:
    """Those that are whole: the last one may be just being written."""
    return ledger.read_text().split("\n")[:-1]


def _resident(pid: int) -> int:
    """What a process has in memory, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024
