"""Limits in a running process: told with every answer, kept per key, and no hindrance to an upload."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.rig.in_process import Here, prelabel_here, spec, task

from .test_api_doors import problem
from .test_api_keys import made, using

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def narrow(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Here]:
    """A Prelabel whose labelers may ask 20 times at once, and strangers 5 times."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PRELABEL_LIMITS_ROLES", '{"labeler": {"per_second": 0.001, "burst": 20}}')
        environment.setenv("PRELABEL_LIMITS_STRANGER_PER_SECOND", "0.001")
        environment.setenv("PRELABEL_LIMITS_STRANGER_BURST", "5")
        environment.setenv("PRELABEL_LIMITS_PAGE_ITEMS", "100")
        async with prelabel_here(tmp_path_factory.mktemp("narrow"), inbound={}) as here:
            yield here


async def test_one_key_reaches_its_limit_and_no_other_key_notices(narrow: Here) -> None:
    await narrow.client.put("/v1/projects/mails", json=spec())
    keys = [await made(narrow, role="labeler") for _ in range(2)]
    async with using(narrow, keys[0]["key"]) as first, using(narrow, keys[1]["key"]) as second:
        statuses = [(await first.get("/v1/projects/mails")).status_code for _ in range(25)]
        assert statuses == [200] * 20 + [429] * 5
        refused = await first.get("/v1/projects/mails")
        problem(refused, "quota-exceeded", 429)
        assert 500 <= int(refused.headers["retry-after"]) <= 1000
        assert refused.headers["ratelimit"].startswith('"key";r=0;')
        assert (await second.get("/v1/projects/mails")).status_code == 200
    assert (await narrow.client.get("/v1/projects/mails")).status_code == 200


async def test_an_upload_of_many_lines_is_one_request(narrow: Here) -> None:
    await narrow.client.put("/v1/projects/mails", json=spec())
    before = await narrow.client.get("/v1/me")
    receipt = await narrow.upload("mails", [task(f"text {number}") for number in range(3000)])
    assert receipt.json()["accepted"] == 3000
    assert before.headers["ratelimit-policy"] == receipt.headers["ratelimit-policy"] == '"key";q=5000;w=5'


async def test_a_stranger_reaches_the_limit_of_an_address_and_keys_work_on(narrow: Here) -> None:
    async with using(narrow, "a-wrong-key") as stranger:
        statuses = [(await stranger.get("/v1/me")).status_code for _ in range(8)]
    assert statuses[-1] == 429
    assert 401 in statuses
    assert (await narrow.client.get("/v1/me")).status_code == 200


async def test_pages_are_no_longer_than_is_set(narrow: Here) -> None:
    assert (await narrow.client.get("/v1/keys?limit=100")).status_code == 200
    problem(await narrow.client.get("/v1/keys?limit=101"), "invalid", 422)
