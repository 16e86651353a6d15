"""Webhooks over real HTTP: from a submitted task to a signed request, verified by the reference library."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.rig.in_process import Here, prelabel_here, task
from tests.rig.receiver import Receiver, receiving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Here]:
    """A Prelabel of this module's own: its webhooks try again at once."""
    async with prelabel_here(tmp_path_factory.mktemp("prelabel"), inbound={}) as here:
        yield here


@pytest_asyncio.fixture(loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of each test's own."""
    async with receiving() as receiver:
        yield receiver


async def subscribe(here: Here, receiver: Receiver, path: str, **fields: Any) -> dict[str, Any]:
    """A subscription of a path of the receiver, which verifies what comes there."""
    answer = await here.client.post("/v1/subscriptions", json={"url": receiver.address + path, **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    receiver.secrets[path] = [made["secret"]]
    return made


async def test_a_prediction_is_told_signed_and_in_the_public_form(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    await subscribe(here, receiver, "/a", types=["prediction.created"], projects=[project])
    await here.post(f"{project}/tasks", task("Ada comes now", id="mail-1"))
    await receiver.until(lambda: len(receiver.at("/a")) == 2)
    assert not receiver.unverified
    one = receiver.at("/a")[0]
    assert one.signed_with == 0
    assert one.id.startswith("msg_")
    event = one.event
    assert set(event) == {"type", "timestamp", "data"}
    assert event["type"] == "prediction.created"
    assert event["data"]["project"] == project
    assert event["data"]["id"] == "mail-1"
    assert isinstance(event["data"]["sequence"], int)
    assert event["data"]["event"]
    assert {one.event["data"]["model"] for one in receiver.at("/a")} == {"finder", "parrot"}


async def test_what_fails_is_tried_again_under_the_same_id(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    receiver.answers["/b"] = [500, 302, 503]
    await subscribe(here, receiver, "/b", types=["task.accepted"], projects=[project])
    await here.post(f"{project}/tasks", task("Ada"))
    await receiver.until(lambda: len(receiver.at("/b")) == 4)
    assert len(receiver.ids("/b")) == 1
    assert not receiver.unverified
    assert len({one.body for one in receiver.at("/b")}) == 1
