"""Keys and links over several processes on Kafka: good everywhere at once, gone everywhere soon."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import pytest_asyncio

from tests.rig.processes import Prelabel, PrelabelProcess
from tests.rig.servers import ServerHandle

pytestmark = [pytest.mark.kafka, pytest.mark.mongo, pytest.mark.asyncio(loop_scope="module")]

SERVICES = ("ingestion", "projection", "training")
PATIENCE = 60.0
SOON = 5.0
"""Seconds in which a service that knows of no key yet must have heard of it."""
ROUTES = {"ingestion": "/v1/projects", "projection": "/v1/overview", "training": "/openapi.json"}


@pytest.fixture(scope="module")
def prelabel(
    tmp_path_factory: pytest.TempPathFactory, kafka_server: ServerHandle, mongo_server: ServerHandle
) -> Iterator[Prelabel]:
    """Every service its own process."""
    folder = tmp_path_factory.mktemp("everywhere")
    with Prelabel.separate(folder, kafka=kafka_server.address, mongo=mongo_server.address, providers=[]) as running:
        yield running


@pytest.fixture(scope="module")
def second_door(prelabel: Prelabel) -> Iterator[PrelabelProcess]:
    """One more ingestion."""
    twin = prelabel.process("ingestion").twin("ingestion-2")
    twin.start()
    twin.ready()
    yield twin
    twin.signal(signal.SIGTERM)
    twin.wait(PATIENCE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        yield client


async def asked(prelabel: Prelabel, client: httpx.AsyncClient, key: str, patience: float = PATIENCE) -> dict[str, int]:
    """What each service answers to a key."""
    headers = {"Authorization": f"Bearer {key}"}
    answers = await asyncio.gather(
        *(said(client, prelabel.process(name).address + ROUTES[name], headers, patience) for name in SERVICES)
    )
    return dict(zip(SERVICES, answers, strict=True))


async def said(client: httpx.AsyncClient, url: str, headers: dict[str, str], patience: float = PATIENCE) -> int:
    """What a service answers once it can tell: a 503 says neither yes nor no."""
    deadline = time.monotonic() + patience
    while (answer := await client.get(url, headers=headers)).status_code == 503:
        assert time.monotonic() < deadline, f"{url} said 503 for {patience:g} s: {answer.text}"
        await asyncio.sleep(0.1)
    return answer.status_code


async def made(prelabel: Prelabel, client: httpx.AsyncClient) -> dict[str, str]:
    answer = await client.post(
        f"{prelabel.address}/v1/keys",
        json={"name": "x", "role": "admin"},
        headers={"Authorization": f"Bearer {prelabel.key}"},
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, str] = answer.json()
    return found


async def test_a_key_is_good_at_every_service_as_soon_as_it_is_shown(
    prelabel: Prelabel, client: httpx.AsyncClient
) -> None:
    for _ in range(5):
        key = (await made(prelabel, client))["key"]
        assert await asked(prelabel, client, key, SOON) == dict.fromkeys(SERVICES, 200)


async def test_a_revoked_key_is_refused_by_every_service_soon_and_from_then_on(
    prelabel: Prelabel, client: httpx.AsyncClient
) -> None:
    key = await made(prelabel, client)
    assert await asked(prelabel, client, key["key"]) == dict.fromkeys(SERVICES, 200)
    headers = {"Authorization": f"Bearer {prelabel.key}"}
    answer = await client.delete(f"{prelabel.address}/v1/keys/{key['id']}", headers=headers)
    assert answer.status_code == 200
    refused: set[str] = set()
    async with asyncio.timeout(PATIENCE):
        while len(refused) < len(SERVICES):
            now = await asked(prelabel, client, key["key"])
            assert all(now[name] == 401 for name in refused)
            refused |= {name for name, status in now.items() if status == 401}
    assert await asked(prelabel, client, key["key"]) == dict.fromkeys(SERVICES, 401)


async def test_a_link_that_many_follow_at_two_doors_at_once_lets_one_in(
    prelabel: Prelabel, second_door: PrelabelProcess, client: httpx.AsyncClient
) -> None:
    for _ in range(2):
        link = await client.post(
            f"{prelabel.address}/v1/links", json={}, headers={"Authorization": f"Bearer {prelabel.key}"}
        )
        doors = [prelabel.address, second_door.address]
        paths = [door + link.json()["url"] for door in doors * 6]
        with ThreadPoolExecutor(len(paths)) as pool:  # at once, with no cookies in common
            answers = list(pool.map(lambda path: httpx.get(path, trust_env=False, timeout=60), paths))
        assert sorted(answer.status_code for answer in answers) == [303] + [410] * (len(paths) - 1)
        (entered,) = [answer for answer in answers if answer.status_code == 303]
        cookie = entered.headers["set-cookie"].split(";")[0]
        for name in SERVICES:
            assert await said(client, prelabel.process(name).address + ROUTES[name], {"Cookie": cookie}) == 200, name
