"""Webhooks over real HTTP: from a submitted task to a signed request, verified by the reference library."""

import base64
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from prelabel_contract import names
from prelabel_contract.events import SubscriptionChanged, SubscriptionDisabled

from tests.rig.in_process import Here, eventually, prelabel_here, quick_webhooks, task
from tests.rig.receiver import Receiver, receiving

pytestmark = pytest.mark.asyncio(loop_scope="module")
Json = dict[str, Any]


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


async def subscribe(here: Here, receiver: Receiver, path: str, **fields: Any) -> Json:
    """A subscription of a path of the receiver, which verifies what comes there."""
    answer = await here.client.post("/v1/subscriptions", json={"url": receiver.address + path, **fields})
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    receiver.secrets[path] = [made["secret"]]
    return made


async def ask(here: Here, method: str, path: str, status: int = 200, **more: Any) -> Json:
    """An answer below /v1/subscriptions, of that status."""
    answer = await here.client.request(method, f"/v1/subscriptions{path}", **more)
    assert answer.status_code == status, answer.text
    said: Json = answer.json() if answer.content else {}
    return said


async def deliveries(here: Here, subscription: str, **query: Any) -> list[Json]:
    """What is known of a subscription's deliveries."""
    found: list[Json] = (await ask(here, "GET", f"/{subscription}/deliveries", params=query))["deliveries"]
    return found


# ------------------------------------------------------------------------------------------------------ what is sent


async def test_a_prediction_is_told_signed_and_in_the_public_form(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    await subscribe(here, receiver, "/a", types=["prediction.created"], projects=[project], headers={"X-Mine": "yes"})
    await here.post(f"{project}/tasks", task("Ada comes now", id="mail-1", meta={"batch": 7}))
    await receiver.until(lambda: len(receiver.at("/a")) == 2)
    assert not receiver.unverified
    one = receiver.at("/a")[0]
    assert one.signed_with == 0
    assert one.id.startswith("msg_")
    assert one.headers["content-type"] == "application/json"
    assert one.headers["x-mine"] == "yes"
    event = one.event
    assert set(event) == {"type", "timestamp", "data"}
    assert event["type"] == "prediction.created"
    assert event["data"]["project"] == project
    assert event["data"]["id"] == "mail-1"
    assert event["data"]["meta"] == {"batch": 7}
    assert isinstance(event["data"]["sequence"], int)
    assert event["data"]["event"]
    assert {one.event["data"]["model"] for one in receiver.at("/a")} == {"finder", "parrot"}


async def test_every_event_of_a_tasks_life_is_told_in_order_of_its_sequence(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    await subscribe(here, receiver, "/life", projects=[project])
    run = (await here.upload(project, [task("Ada", id="one"), {"data": {}}, task("Grace now", id="two")])).json()["run"]
    await here.until(f"{project}/runs/{run}", lambda seen: seen["state"] == "completed")
    uid = (await here.get(f"{project}/tasks/one"))["task"]
    await here.post(f"{project}/annotations", {"task": "one", "annotator": "ann", "regions": []})
    await here.post(f"{project}/tasks", task("Ada, changed", id="one"))
    wanted = {"task.accepted", "task.rejected", "prediction.created", "run.created", "run.completed"}
    wanted.add("annotation.submitted")

    def accepted() -> list[Any]:
        told = {one.id: one.event for one in receiver.at("/life")}  # once at least
        mine = [event["data"] for event in told.values() if event["type"] == "task.accepted"]
        return sorted((data for data in mine if data["task"] == uid), key=lambda data: data["sequence"])

    await receiver.until(lambda: {one.event["type"] for one in receiver.at("/life")} >= wanted and len(accepted()) == 2)
    assert not receiver.unverified
    revisions = [data["revision"] for data in accepted()]
    assert len({data["sequence"] for data in accepted()}) == 2
    assert revisions == sorted(revisions)
    rejected = next(one.event for one in receiver.at("/life") if one.event["type"] == "task.rejected")
    assert rejected["data"]["line"] == 2
    assert rejected["data"]["errors"]


async def test_a_thin_payload_says_what_it_is_about_and_no_more(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    await subscribe(here, receiver, "/thin", types=["prediction.*"], projects=[project], payload="thin")
    await here.post(f"{project}/tasks", task("Ada", id="mail-1"))
    await receiver.until(lambda: bool(receiver.at("/thin")))
    data = receiver.at("/thin")[0].event["data"]
    assert {"event", "sequence", "project", "task", "id", "request", "model", "version"} <= set(data)
    assert not {"regions", "meta", "config", "input_hash"} & set(data)


async def test_only_the_projects_and_types_that_were_asked_for_are_told(here: Here, receiver: Receiver) -> None:
    mine, other = await here.project(), await here.project()
    await subscribe(here, receiver, "/mine", types=["task.accepted"], projects=[mine])
    await subscribe(here, receiver, "/all", types=["task.accepted"])
    await here.post(f"{other}/tasks", task("Grace"))
    await here.post(f"{mine}/tasks", task("Ada"))
    await receiver.until(lambda: len(receiver.at("/all")) >= 2 and bool(receiver.at("/mine")))
    assert [one.event["data"]["project"] for one in receiver.at("/mine")] == [mine]


async def test_events_before_the_subscription_are_not_told(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    await here.post(f"{project}/tasks", task("Ada", id="before"))
    await here.predicted(project, "before")
    await subscribe(here, receiver, "/late", types=["task.accepted"], projects=[project])
    await here.post(f"{project}/tasks", task("Ada", id="after"))
    await receiver.until(lambda: bool(receiver.at("/late")))
    assert [one.event["data"]["id"] for one in receiver.at("/late")] == ["after"]


async def test_what_a_subscription_does_not_ask_for_any_more_is_neither_sent_nor_shown(
    here: Here, receiver: Receiver
) -> None:
    mine, theirs = await here.project(), await here.project()
    receiver.answers["/narrowed"] = [429]
    receiver.answer_headers["/narrowed"] = {"Retry-After": "3600"}
    made = await subscribe(here, receiver, "/narrowed", types=["task.accepted"], projects=[mine, theirs])
    await here.post(f"{theirs}/tasks", task("Ada", id="theirs"))
    (owed,) = await eventually(lambda: deliveries(here, made["id"]), lambda found: len(found) == 1)
    await ask(here, "PATCH", f"/{made['id']}", json={"projects": [mine]})
    assert await deliveries(here, made["id"]) == []
    await ask(here, "GET", f"/{made['id']}/deliveries/{owed['delivery']}", 404)
    await ask(here, "POST", f"/{made['id']}/deliveries/{owed['delivery']}/resend", 404)
    await here.post(f"{mine}/tasks", task("Grace", id="mine"))
    await ask(here, "PATCH", f"/{made['id']}", json={"state": "disabled"})
    await ask(here, "POST", f"/{made['id']}/resume")  # it waits for nothing any more
    await receiver.until(lambda: len(receiver.at("/narrowed")) == 2)
    assert [one.event["data"]["id"] for one in receiver.at("/narrowed")] == ["theirs", "mine"]


async def test_what_a_deleted_task_said_is_neither_sent_again_nor_shown(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    made = await subscribe(here, receiver, "/deleted", types=["task.*"], projects=[project])
    uid = (await here.post(f"{project}/tasks", task("Ada", id="gone"))).json()["task"]
    (one,) = await eventually(lambda: deliveries(here, made["id"], task=uid), lambda found: len(found) == 1)
    shown = await ask(here, "GET", f"/{made['id']}/deliveries/{one['delivery']}")
    assert shown["request"]["body"]["data"]["data"] == {"text": "Ada"}
    await here.client.delete(f"/v1/projects/{project}/tasks/gone")
    await receiver.until(lambda: len(receiver.at("/deleted")) == 2)
    shown = await ask(here, "GET", f"/{made['id']}/deliveries/{one['delivery']}")
    assert shown["request"]["body"] is None
    await ask(here, "POST", f"/{made['id']}/deliveries/{one['delivery']}/resend", 410)
    since = {"since_ms": one["event_ms"] - 1}
    recovery = (await ask(here, "POST", f"/{made['id']}/recoveries", 202, json=since))["recovery"]
    ended = lambda: ask(here, "GET", f"/{made['id']}/recoveries/{recovery}")  # noqa: E731
    await eventually(ended, lambda seen: seen["state"] == "completed")
    told = [received.event["type"] for received in receiver.at("/deleted")]
    assert told == ["task.accepted", "task.deleted", "task.deleted"]


# --------------------------------------------------------------------------------------------------------- failures


async def test_what_fails_is_tried_again_under_the_same_id(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    receiver.answers["/b"] = [500, 302, 503]
    made = await subscribe(here, receiver, "/b", types=["task.accepted"], projects=[project])
    await here.post(f"{project}/tasks", task("Ada"))
    await receiver.until(lambda: len(receiver.at("/b")) == 4)
    assert len(receiver.ids("/b")) == 1
    assert not receiver.unverified
    assert len({one.body for one in receiver.at("/b")}) == 1
    (one,) = await eventually(lambda: deliveries(here, made["id"], state="delivered"), lambda found: len(found) == 1)
    assert (one["attempts"], one["latest"]["status"]) == (4, 200)
    told = await ask(here, "GET", f"/{made['id']}/deliveries/{one['delivery']}")
    assert [attempt.get("status") for attempt in told["attempts_made"]] == [500, 302, 503, 200]
    assert told["request"]["body"] == receiver.at("/b")[0].event


async def test_a_delivery_that_always_fails_is_given_up_and_can_be_sent_again_by_hand(
    here: Here, receiver: Receiver
) -> None:
    project = await here.project()
    receiver.answers["/c"] = [500] * 4
    made = await subscribe(here, receiver, "/c", types=["task.accepted"], projects=[project])
    await here.post(f"{project}/tasks", task("Ada"))
    (one,) = await eventually(lambda: deliveries(here, made["id"], state="exhausted"), lambda found: len(found) == 1)
    assert one["attempts"] == 4
    sent = await ask(here, "POST", f"/{made['id']}/deliveries/{one['delivery']}/resend")
    assert sent["delivered"]
    assert len(receiver.at("/c")) == 5
    assert receiver.ids("/c") == {one["delivery"]}
    assert (await deliveries(here, made["id"]))[0]["state"] == "delivered"


async def test_retry_after_is_obeyed(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    receiver.answers["/slow"] = [429]
    receiver.answer_headers["/slow"] = {"Retry-After": "1"}
    await subscribe(here, receiver, "/slow", types=["task.accepted"], projects=[project])
    await here.post(f"{project}/tasks", task("Ada"))
    await receiver.until(lambda: len(receiver.at("/slow")) == 1)
    await here.post(f"{project}/tasks", task("Grace"))
    await receiver.until(lambda: len(receiver.at("/slow")) == 3)
    first, *others = receiver.at("/slow")
    assert min(one.at for one in others) - first.at >= 0.99, "nothing is sent meanwhile, neither the old nor a new one"


async def test_an_endpoint_that_is_gone_is_disabled_at_once_and_others_are_told(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    await subscribe(here, receiver, "/watch", types=["subscription.disabled"])
    receiver.answers["/gone"] = [410]
    made = await subscribe(here, receiver, "/gone?token=secret", types=["task.accepted"], projects=[project])
    receiver.secrets["/gone"] = receiver.secrets["/gone?token=secret"]
    await here.post(f"{project}/tasks", task("Ada"))
    await receiver.until(lambda: bool(receiver.at("/watch")))
    told = receiver.at("/watch")[0].event["data"]
    assert (told["subscription"], told["reason"]) == (made["id"], "gone")
    assert "secret" not in told["url"]
    shown = await ask(here, "GET", f"/{made['id']}")
    assert (shown["state"], shown["reason"]) == ("disabled", "gone")
    (audit,) = await here.events(names.AUDIT, SubscriptionDisabled, subscription=made["id"])
    assert audit.reason == "gone"

    await here.post(f"{project}/tasks", task("Grace"))
    await here.post(f"{project}/tasks", task("Ada now"))
    assert len(receiver.at("/gone")) == 1
    await ask(here, "POST", f"/{made['id']}/resume")
    await receiver.until(lambda: len(receiver.ids("/gone")) == 3)
    assert not receiver.unverified, "all that came meanwhile, and what had failed"


async def test_days_of_failure_disable_and_any_success_resets(tmp_path: Path) -> None:
    settings = quick_webhooks(disable_hours=8 / 3600, retry_seconds=(0.2,) * 100)
    async with prelabel_here(tmp_path, inbound={}, webhooks=settings) as here, receiving() as receiver:
        project = await here.project()
        receiver.answers["/sporadic"] = [500, 200] * 20
        sporadic = await subscribe(here, receiver, "/sporadic", types=["task.accepted"], projects=[project])
        failing = await subscribe(here, receiver, "/status/500", types=["task.accepted"], projects=[project])
        for number in range(8):
            await here.post(f"{project}/tasks", task(f"Ada {number}"))

        async def state(of: Json) -> Any:
            return (await ask(here, "GET", f"/{of['id']}"))["state"]

        await eventually(lambda: state(failing), lambda seen: seen == "disabled")
        assert await state(sporadic) == "active"
        await receiver.until(lambda: len(receiver.ids("/sporadic")) == 8)


async def test_in_order_what_follows_waits(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    receiver.answers["/ordered"] = [500, 500]
    made = await subscribe(here, receiver, "/ordered", types=["task.accepted"], projects=[project], ordered=True)
    assert made["ordered"]
    for number in range(5):
        await here.post(f"{project}/tasks", task(f"Ada {number}", id="one"))
    await receiver.until(lambda: len(receiver.ids("/ordered")) == 5)
    came = [one.event["data"]["revision"] for one in receiver.at("/ordered")]
    assert came == sorted(came)
    assert came.count(came[0]) == 3


async def test_an_endpoint_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    settings = quick_webhooks(attempt_seconds=60.0)
    async with prelabel_here(tmp_path, inbound={}, webhooks=settings) as here, receiving() as receiver:
        project = await here.project()
        await subscribe(here, receiver, "/hang", types=["task.accepted"], projects=[project])
        await subscribe(here, receiver, "/good", types=["task.accepted"], projects=[project])
        await here.upload(project, [task(f"Ada {number}") for number in range(100)])
        await receiver.until(lambda: len(receiver.ids("/good")) == 100)
        assert len(receiver.at("/hang")) <= 10


async def test_a_rate_is_kept(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    await subscribe(here, receiver, "/rated", types=["task.accepted"], projects=[project], rate=20)
    began = time.monotonic()
    await here.upload(project, [task(f"Ada {number}") for number in range(21)])
    await receiver.until(lambda: len(receiver.at("/rated")) == 21)
    assert receiver.at("/rated")[-1].at - began >= 0.9


# ---------------------------------------------------------------------------------------------------------- secrets


async def test_while_a_secret_is_changed_no_delivery_fails(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    made = await subscribe(here, receiver, "/old", types=["task.accepted"], projects=[project])
    receiver.secrets["/new"] = []
    old = made["secret"]
    new = (await ask(here, "POST", f"/{made['id']}/secrets", 201, json={"overlap_seconds": 3600}))["secret"]
    assert new != old
    for secret in (old, new):  # a receiver that has not changed yet, and one that has
        receiver.secrets["/old"] = [secret]
        seen = len(receiver.at("/old"))
        await here.post(f"{project}/tasks", task(f"Ada {secret}"))
        await receiver.until(lambda seen=seen: len(receiver.at("/old")) > seen)  # type: ignore[misc]
        assert receiver.at("/old")[-1].signed_with == 0
    assert not receiver.unverified
    newest = (await ask(here, "POST", f"/{made['id']}/secrets", 201, json={"overlap_seconds": 0}))["secret"]
    receiver.secrets["/old"] = [newest]
    await here.post(f"{project}/tasks", task("Grace"))
    await receiver.until(lambda: len(receiver.at("/old")) == 3)
    assert receiver.at("/old")[-1].signed_with == 0
    assert len(receiver.at("/old")[-1].headers["webhook-signature"].split()) == 1


async def test_ed25519_needs_no_secret_with_the_receiver(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    body = {"url": f"{receiver.address}/e", "types": ["task.accepted"], "projects": [project], "signing": "ed25519"}
    made = await ask(here, "POST", "", 201, json=body)
    assert "secret" not in made
    rotated = await ask(here, "POST", f"/{made['id']}/secrets", 201)
    await here.post(f"{project}/tasks", task("Ada"))
    await receiver.until(lambda: bool(receiver.at("/e")))
    one = receiver.at("/e")[0]
    signed = f"{one.id}.{one.headers['webhook-timestamp']}.".encode() + one.body
    newest, old = one.headers["webhook-signature"].split()
    for key, signature in ((rotated["public_key"], newest), (made["public_key"], old)):
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.removeprefix("whpk_")))
        public.verify(base64.b64decode(signature.removeprefix("v1a,")), signed)


async def test_at_most_ten_old_secrets_are_kept(here: Here, receiver: Receiver) -> None:
    made = await subscribe(here, receiver, "/many")
    for _ in range(13):
        await ask(here, "POST", f"/{made['id']}/secrets", 201)
    assert len((await ask(here, "GET", f"/{made['id']}"))["secrets"]) == 11


async def test_secrets_are_nowhere_but_with_who_was_shown_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    canary = "canary-4711-of-a-header"
    async with prelabel_here(tmp_path, inbound={}) as here, receiving() as receiver:
        project = await here.project()
        fields = {"headers": {"Authorization": f"Bearer {canary}"}, "types": ["task.accepted"]}
        made = await subscribe(here, receiver, "/echo?token=url-canary", **fields)
        secret = made["secret"]
        receiver.answer_bodies["/echo"] = f"you sent {canary} and {secret} and {secret.removeprefix('whsec_')}".encode()
        receiver.answers["/echo"] = [500]
        await here.post(f"{project}/tasks", task("Ada"))
        await receiver.until(lambda: len(receiver.at("/echo")) == 2)
        assert receiver.at("/echo")[0].headers["authorization"] == f"Bearer {canary}"
        (one,) = await eventually(
            lambda: deliveries(here, made["id"], state="delivered"), lambda found: len(found) == 1
        )
        told = await ask(here, "GET", f"/{made['id']}/deliveries/{one['delivery']}")
        assert "you sent …" in told["attempts_made"][0]["answer"]
        listed = (await here.client.get("/v1/subscriptions")).text
        shown = str(told) + listed + str(await deliveries(here, made["id"]))
        metrics = here.runtime.metrics.expose().decode()
    hidden = (canary, secret.removeprefix("whsec_"))
    raw = b"".join(tmp_path.joinpath(name).read_bytes() for name in ("log.db", "results.db"))
    printed = "".join(capfd.readouterr())
    for text in hidden:
        assert text not in shown
        assert text not in metrics
        assert text not in printed
        assert text.encode() not in raw, "neither the log nor the store holds it"
    assert "url-canary" not in printed + metrics
    with closing(sqlite3.connect(tmp_path / "results.db")) as connection:
        assert connection.execute("SELECT count(*) FROM deliveries").fetchone() == (1,)


async def test_the_key_of_the_secrets_is_changed_without_a_failed_delivery(tmp_path: Path) -> None:
    old, new = "A" * 43 + "=", "B" * 42 + "A="
    steps = [(old,), (old, new), (new, old), (new,)]
    async with receiving() as receiver:
        made: Json = {}
        project = ""
        for number, keys in enumerate(steps):
            async with prelabel_here(tmp_path, inbound={}, webhooks=quick_webhooks(keys=keys)) as here:
                if not made:
                    project = await here.project()
                    made = await subscribe(
                        here, receiver, "/k", types=["task.accepted"], projects=[project], headers={"X-Mine": "yes"}
                    )
                await here.post(f"{project}/tasks", task(f"Ada {number}"))
                await receiver.until(lambda number=number: len(receiver.at("/k")) == number + 1)  # type: ignore[misc]
                rows = await here.events(names.ACCESS, SubscriptionChanged, id=made["id"])
                sealed_with = {one.sealed_with for one in (*rows[-1].secrets, *rows[-1].headers.values())}
                assert len(sealed_with) == 1
        assert not receiver.unverified
        assert all(one.headers["x-mine"] == "yes" for one in receiver.at("/k"))


# --------------------------------------------------------------------------------------------------------- by hand


async def test_what_happened_since_a_moment_is_delivered_again_under_the_same_ids(
    here: Here, receiver: Receiver
) -> None:
    project = await here.project()
    made = await subscribe(here, receiver, "/r", types=["task.accepted"], projects=[project])
    await here.upload(project, [task(f"Ada {number}") for number in range(10)])
    await receiver.until(lambda: len(receiver.at("/r")) == 10)
    since_ms = time.time_ns() // 1_000_000 - 3_600_000
    answer = await here.client.post(f"/v1/subscriptions/{made['id']}/recoveries", json={"since_ms": since_ms})
    assert answer.status_code == 202, answer.text
    await receiver.until(lambda: len(receiver.at("/r")) == 20)

    async def look() -> Json:
        found: Json = (await here.client.get(answer.headers["Location"])).json()
        return found

    ended = await eventually(look, lambda seen: seen["state"] == "completed")
    assert (ended["done"], ended["total"], ended["error"]) == (10, 10, None)
    assert len(receiver.ids("/r")) == 10


async def test_what_was_given_up_is_recovered_alone(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    receiver.answers["/f"] = [500] * 4
    made = await subscribe(here, receiver, "/f", types=["task.accepted"], projects=[project], rate=1000)
    await here.post(f"{project}/tasks", task("Ada"))
    await eventually(lambda: deliveries(here, made["id"], state="exhausted"), lambda found: len(found) == 1)
    await here.post(f"{project}/tasks", task("Grace"))
    await receiver.until(lambda: len(receiver.at("/f")) == 5)
    body = {"since_ms": 0, "deliveries": "failed"}
    await ask(here, "POST", f"/{made['id']}/recoveries", 202, json=body)
    await receiver.until(lambda: len(receiver.at("/f")) == 6)
    assert receiver.at("/f")[-1].id == receiver.at("/f")[0].id


async def test_a_test_event_is_sent_at_once_and_its_answer_shown(here: Here, receiver: Receiver) -> None:
    made = await subscribe(here, receiver, "/t", types=["task.accepted"])
    receiver.answers["/t"] = [200, 418]
    sent = await ask(here, "POST", f"/{made['id']}/test")
    assert (sent["delivered"], sent["status"], sent["answer"]) == (True, 200, "ok")
    assert receiver.at("/t")[0].event["type"] == "webhook.test"
    assert receiver.at("/t")[0].signed_with == 0
    sent = await ask(here, "POST", f"/{made['id']}/test")
    assert (sent["delivered"], sent["status"]) == (False, 418)


async def test_a_subscription_is_changed_and_deleted(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    made = await subscribe(here, receiver, "/x", types=["task.accepted"], projects=[project])
    path = f"/{made['id']}"
    changed = await ask(here, "PATCH", path, json={"url": f"{receiver.address}/y", "types": ["prediction.*"]})
    assert changed["version"] == 2
    receiver.secrets["/y"] = receiver.secrets["/x"]
    await here.post(f"{project}/tasks", task("Ada"))
    await receiver.until(lambda: len(receiver.at("/y")) == 2)
    assert not receiver.at("/x")
    stale = {"If-Match": '"1"'}
    await ask(here, "PATCH", path, 412, json={"description": "x"}, headers=stale)
    assert (await ask(here, "PATCH", path, json={"state": "disabled"}))["reason"] == "asked"
    await ask(here, "DELETE", path, 204)
    await ask(here, "GET", path, 404)
    await ask(here, "DELETE", path, 404)
    assert made["id"] not in (await here.client.get("/v1/subscriptions", params={"limit": 1000})).text
    rows = await here.events(names.ACCESS, SubscriptionChanged, id=made["id"])
    assert rows[-1].deleted
    assert not rows[-1].secrets


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"url": "http://169.254.169.254/latest"}, "/url"),
        ({"url": "https://user:pw@hooks.example/"}, "/url"),
        ({"url": "ftp://hooks.example/"}, "/url"),
        ({"url": "http://10.0.0.1/"}, "/url"),
        ({"url": "https://2130706433/"}, "/url"),
        ({"url": 7}, "/url"),
        ({}, "/url"),
        ({"url": "https://hooks.example/", "types": ["prediction.made"]}, "/types"),
        ({"url": "https://hooks.example/", "projects": ["No Slug"]}, "/projects/0"),
        ({"url": "https://hooks.example/", "rate": 0}, "/rate"),
        ({"url": "https://hooks.example/", "payload": "fat"}, "/payload"),
        ({"url": "https://hooks.example/", "colour": "red"}, "/colour"),
        *(
            ({"url": "https://hooks.example/", "headers": headers}, "/headers")
            for headers in (
                {"Host": "x"},
                {"content-length": "1"},
                {"Transfer-Encoding": "chunked"},
                {"Connection": "close"},
                {"webhook-id": "x"},
                {"Webhook-Signature": "x"},
                {"Content-Type": "text/plain"},
                {"X A": "x"},
                {"X-A": "a\r\nX-B: b"},
                {"X-A": "a\x00"},
                {"X-A": "a" * 4097},
                {"X-A": "a", "x-a": "b"},
                {"": "x"},
            )
        ),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_place(here: Here, body: Json, pointer: str) -> None:
    answer = await here.client.post("/v1/subscriptions", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_a_key_for_some_projects_sees_and_makes_subscriptions_of_those_only(
    here: Here, receiver: Receiver
) -> None:
    mine, other = await here.project(), await here.project()
    theirs = await subscribe(here, receiver, "/theirs", projects=[other])
    everything = await subscribe(here, receiver, "/everything")
    key = {"name": "mine", "role": "admin", "projects": [mine]}
    made_key = (await here.client.post("/v1/keys", json=key)).json()["key"]
    headers = {"Authorization": f"Bearer {made_key}"}
    for hidden in (theirs, everything):
        for method, path in (
            ("GET", ""),
            ("PATCH", ""),
            ("DELETE", ""),
            ("POST", "/secrets"),
            ("POST", "/test"),
            ("POST", "/resume"),
            ("GET", "/deliveries"),
            ("GET", "/deliveries/msg_x"),
            ("POST", "/deliveries/msg_x/resend"),
            ("POST", "/recoveries"),
            ("GET", "/recoveries/x"),
        ):
            await ask(here, method, f"/{hidden['id']}{path}", 404, headers=headers, json={})
    url = f"{receiver.address}/m"
    await ask(here, "POST", "", 403, headers=headers, json={"url": url})
    await ask(here, "POST", "", 404, headers=headers, json={"url": url, "projects": [mine, other]})
    own = await ask(here, "POST", "", 201, headers=headers, json={"url": url, "projects": [mine]})
    assert [one["id"] for one in (await ask(here, "GET", "", headers=headers))["subscriptions"]] == [own["id"]]
    await ask(here, "PATCH", f"/{own['id']}", 403, headers=headers, json={"projects": []})
    labeler = (await here.client.post("/v1/keys", json={"name": "l", "role": "labeler", "projects": []})).json()["key"]
    await ask(here, "GET", "", 403, headers={"Authorization": f"Bearer {labeler}"})


async def test_pages_of_deliveries_and_subscriptions_end_where_the_next_begins(here: Here, receiver: Receiver) -> None:
    project = await here.project()
    made = await subscribe(here, receiver, "/p", types=["task.accepted"], projects=[project])
    await here.upload(project, [task(f"Ada {number}") for number in range(7)])
    await eventually(lambda: deliveries(here, made["id"]), lambda found: len(found) == 7)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = await ask(here, "GET", f"/{made['id']}/deliveries", params=query)
        seen += [one["delivery"] for one in page["deliveries"]]
        if (cursor := page["next"]) is None:
            break
    assert len(seen) == len(set(seen)) == 7
    assert set(seen) == receiver.ids("/p")
