"""Dead letters over HTTP: found, looked at, given back once, or discarded; what came of it is said."""

import base64
from typing import Any

import orjson
import pytest
from prelabel_contract import cloudevents, names
from prelabel_contract.events import DeadLetterDiscarded, DeadLetterReplayed, RunCreated, event
from prelabel_projection.letters import WHOLE_BYTES
from prelabel_runtime.bus.base import Message, Record
from prelabel_runtime.dead_letters import Aside, for_burial

from tests.rig.in_process import Here, Json, eventually

from .test_api_doors import problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

GROUP = "projection"


def aside(reason: str = "kills_its_process", **more: Any) -> Aside:
    return Aside(
        **{
            "reason": reason, "detail": "no more", "topic": names.RUNS, "partition": 0, "offset": 1, "timestamp_ms": 5,
            "attempts": 2, "at_ms": 1_000, **more,
        }
    )  # fmt: skip


def buried(key: bytes | None, value: bytes | None, *headers: tuple[str, bytes], **more: Any) -> Message:
    """A record as its group sets it aside for good."""
    record = Record(names.RUNS, 0, 1, key, value, headers, 5)
    return for_burial(record, GROUP, aside(**more))


async def good_letter(here: Here, project: str, run: str) -> Json:
    """A dead letter that can be handled now: a run that was created."""
    said = event(
        RunCreated(project=project, run=run), id=f"created-{run}", source="/t", time_ms=here.runtime.clock.now_ms()
    )
    headers, value = cloudevents.encode(said)
    return await letter(here, buried(said.key.encode(), value, *headers))


async def letter(here: Here, message: Message) -> Json:
    """Publish it; what the API says about it."""
    end = (await here.runtime.bus.offsets([message.topic], "end")).values()
    before = max(end)
    await here.runtime.bus.publish([message])
    name = names.letter_id(GROUP, 0, before)
    found: Json = await eventually(lambda: look(here, name), lambda seen: seen is not None)
    return found


async def look(here: Here, name: str) -> Json | None:
    answer = await here.client.get(f"/v1/deadletters/{name}")
    found: Json | None = answer.json() if answer.status_code == 200 else None
    return found


async def listed(here: Here, **query: Any) -> list[str]:
    ids: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await here.client.get(
            "/v1/deadletters", params={**query, "limit": 2, **({"cursor": cursor} if cursor else {})}
        )
        assert answer.status_code == 200, answer.text
        ids += [one["id"] for one in answer.json()["deadletters"]]
        cursor = answer.json()["next"]
    return ids


async def test_what_a_sender_may_not_write_to_a_project_is_no_letter_of_that_project(here: Here) -> None:
    project = await here.project()
    value = orjson.dumps({"project": project, "run": "r"})
    assert (await letter(here, buried(b"k", value)))["project"] == project
    assert (await letter(here, buried(b"k", value, reason="forbidden_project")))["project"] is None


async def test_a_record_that_cannot_be_read_is_found_with_its_bytes(here: Here) -> None:
    value, kind = b'\xff{"broken": ', "prelabel.task.accepted.v1"
    before = max((await here.runtime.bus.offsets([names.dead_letters(GROUP)], "end")).values())
    await here.runtime.bus.publish([Message(names.TASKS, b"a key", value, (("ce_type", kind.encode()),))])
    name = names.letter_id(GROUP, 0, before)
    shown: Json = await eventually(lambda: look(here, name), lambda seen: seen is not None)
    assert shown["reason"] == "not_a_cloudevent"
    assert (await listed(here, group=GROUP))[0] == name
    assert (shown["state"], shown["type"], shown["result"]) == ("open", kind, None)
    assert shown["original"]["topic"] == names.TASKS
    assert base64.b64decode(shown["record"]["value"]) == value
    assert (shown["record"]["text"], shown["record"]["json"], shown["record"]["whole"]) == (None, None, True)
    assert shown["record"]["key"]["text"] == "a key"
    coded = base64.b64encode(kind.encode()).decode()
    assert shown["record"]["headers"] == [{"name": "ce_type", "base64": coded, "text": kind}]


async def test_a_replayed_letter_succeeds_once_and_says_so(here: Here) -> None:
    project = await here.project(models=[])
    run = f"run-of-{project}"
    dead = await good_letter(here, project, run)
    assert (dead["project"], dead["type"], dead["record"]["json"]["run"]) == (project, RunCreated.TYPE, run)
    assert (await here.client.get(f"/v1/projects/{project}/runs/{run}")).status_code == 404
    answer = await here.client.post(f"/v1/deadletters/{dead['id']}/replay")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["state"], answer.json()["decided_by"]) == ("replayed", "bootstrap")
    await here.until(f"{project}/runs/{run}", lambda seen: seen["state"] == "open")
    ended = await eventually(lambda: look(here, dead["id"]), lambda seen: seen["result"] is not None)
    assert (ended["result"], ended["again"]) == ("succeeded", None)
    assert ended["resolved_ms"] > 0
    # Only the group that failed got it.
    retried = [
        r for r in await here.records(names.retry(GROUP)) if r.value == base64.b64decode(dead["record"]["value"])
    ]
    assert len(retried) == 1
    (said,) = await here.events(names.AUDIT, DeadLetterReplayed, letter=dead["id"])
    assert (said.group, said.offset, said.replay) == (GROUP, dead["position"]["offset"], ended["replay"])
    again = await here.client.post(f"/v1/deadletters/{dead['id']}/replay")
    assert "replayed by bootstrap" in problem(again, "already_replayed", 409)["detail"]
    gone = await here.client.post(f"/v1/deadletters/{dead['id']}/discard", json={"reason": "late"})
    problem(gone, "already_replayed", 409)
    assert len(await here.events(names.AUDIT, DeadLetterReplayed, letter=dead["id"])) == 1


async def test_a_letter_that_fails_again_is_another_letter_that_follows_it(here: Here) -> None:
    dead = await letter(here, buried(b"k", b"never json", ("ce_type", b"x")))
    await here.client.post(f"/v1/deadletters/{dead['id']}/replay")
    ended = await eventually(lambda: look(here, dead["id"]), lambda seen: seen["result"] is not None)
    assert ended["result"] == "dead_lettered_again"
    second = await look(here, ended["again"])
    assert second is not None
    assert (second["replay_of"], second["state"], second["original"]) == (dead["id"], "open", dead["original"])
    # That one can be decided about anew.
    assert (await here.client.post(f"/v1/deadletters/{second['id']}/replay")).status_code == 200
    third = await eventually(lambda: look(here, second["id"]), lambda seen: seen["again"] is not None)
    assert third["again"] not in (dead["id"], second["id"])


async def test_a_discarded_letter_stays_with_the_reason(here: Here) -> None:
    dead = await letter(here, buried(None, None, reason="tombstone"))
    assert dead["record"] == {
        "whole": True,
        "key": {"base64": None, "text": None},
        "headers": [],
        "value": None,
        "text": None,
        "json": None,
    }
    bodies: list[Json] = [{}, {"reason": ""}, {"reason": "x", "more": 1}]
    for wrong in bodies:
        problem(await here.client.post(f"/v1/deadletters/{dead['id']}/discard", json=wrong), "invalid", 422)
    answer = await here.client.post(f"/v1/deadletters/{dead['id']}/discard", json={"reason": "a test"})
    assert (answer.json()["state"], answer.json()["discard_reason"]) == ("discarded", "a test")
    problem(
        await here.client.post(f"/v1/deadletters/{dead['id']}/discard", json={"reason": "2"}), "already_discarded", 409
    )
    problem(await here.client.post(f"/v1/deadletters/{dead['id']}/replay"), "already_discarded", 409)
    (said,) = await here.events(names.AUDIT, DeadLetterDiscarded, letter=dead["id"])
    assert said.reason == "a test"


async def test_letters_are_filtered_by_group_reason_and_state(here: Here) -> None:
    reason = f"only here {here.projects}"
    dead = [await letter(here, buried(b"k", b"%d" % n, reason=reason, at_ms=2_000 + n)) for n in range(5)]
    ids = [one["id"] for one in dead]
    assert await listed(here, reason=reason) == list(reversed(ids))
    await here.client.post(f"/v1/deadletters/{ids[0]}/discard", json={"reason": "a test"})
    assert await listed(here, reason=reason, state="discarded") == [ids[0]]
    assert await listed(here, reason=reason, state="open", group=GROUP) == list(reversed(ids[1:]))
    assert await listed(here, reason=reason, group="dispatcher") == []
    problem(await here.client.get("/v1/deadletters", params={"state": "lost"}), "invalid", 422)
    problem(await here.client.get("/v1/deadletters/none"), "unknown_dead_letter", 404)


async def test_many_are_replayed_by_filter_or_by_id_each_once(here: Here) -> None:
    project = await here.project(models=[])
    reason = f"many of {project}"
    runs = [f"{project}-{n}" for n in range(30)]
    dead = []
    for run in runs:
        headers, value = cloudevents.encode(
            event(RunCreated(project=project, run=run), id=run, source="/t", time_ms=here.runtime.clock.now_ms())
        )
        dead.append(await letter(here, buried(run.encode(), value, *headers, reason=reason)))
    ids = [one["id"] for one in dead]
    await here.client.post(f"/v1/deadletters/{ids[0]}/discard", json={"reason": "a test"})
    some = await here.client.post("/v1/replays", json={"ids": [*ids[:5], "none"], "rate": 1000})
    assert some.status_code == 202
    assert some.headers["Location"] == f"/v1/replays/{some.json()['replay']}"
    ended = await over(here, some.json()["replay"], waiting=0)
    assert (ended["done"], ended["total"], ended["replayed"], ended["skipped"], ended["failed"]) == (6, 6, 4, 1, 1)
    assert ended["failures"] == [{"letter": "none", "reason": "there is no such dead letter"}]
    key = {"Idempotency-Key": f"replay of {project}"}
    rest = await here.client.post("/v1/replays", json={"filter": {"reason": reason}, "rate": 1000}, headers=key)
    twice = await here.client.post("/v1/replays", json={"filter": {"reason": reason}, "rate": 1000}, headers=key)
    assert rest.json()["replay"] == twice.json()["replay"]
    problem(await here.client.post("/v1/replays", json={"filter": {}}, headers=key), "key_reused", 409)
    ended = await over(here, rest.json()["replay"], waiting=0)
    assert (ended["total"], ended["replayed"], ended["succeeded"], ended["failed"]) == (25, 25, 25, 0)
    for run in runs[1:]:
        await here.until(f"{project}/runs/{run}", lambda seen: seen["state"] == "open")
    assert (await here.client.get(f"/v1/projects/{project}/runs/{runs[0]}")).status_code == 404
    decided = [one.letter for one in await here.events(names.AUDIT, DeadLetterReplayed) if one.letter in ids]
    assert sorted(decided) == sorted(ids[1:])
    bodies: list[Json] = [
        {},
        {"ids": []},
        {"ids": ["a"], "filter": {}},
        {"filter": {"state": "open"}},
        {"ids": ["a"], "rate": 0},
    ]
    for wrong in bodies:
        problem(await here.client.post("/v1/replays", json=wrong), "invalid", 422)
    problem(await here.client.get("/v1/replays/none"), "unknown_replay", 404)


async def over(here: Here, replay: str, **fields: Any) -> Json:
    async def seen() -> Json:
        found: Json = (await here.client.get(f"/v1/replays/{replay}")).json()
        return found

    ended: Json = await eventually(
        seen, lambda now: now["state"] == "completed" and all(now[name] == value for name, value in fields.items())
    )
    return ended


async def test_a_large_letter_is_read_from_the_log_and_given_back_whole(here: Here) -> None:
    value = orjson.dumps({"project": "mails", "text": "x" * (2 * WHOLE_BYTES)})
    dead = await letter(here, buried(b"k", value, ("h", b"1")))
    kept = await here.runtime.store.dead_letters.get(dead["id"])
    assert kept is not None
    assert not kept.letter.whole
    assert len(kept.letter.record) < WHOLE_BYTES
    assert base64.b64decode(dead["record"]["value"]) == value
    assert (dead["record"]["whole"], dead["record"]["json"]["project"]) == (True, "mails")
    assert (await here.client.post(f"/v1/deadletters/{dead['id']}/replay")).status_code == 200
    again = await eventually(lambda: look(here, dead["id"]), lambda seen: seen["again"] is not None)
    second = await look(here, again["again"])
    assert second is not None
    assert base64.b64decode(second["record"]["value"]) == value


async def test_a_letter_that_had_to_be_cut_cannot_be_given_back(here: Here) -> None:
    record = Record(names.RUNS, 0, 10**9, b"k", b"x" * 999_990, (), 5)
    dead = await letter(here, for_burial(record, GROUP, aside(offset=10**9)))
    assert dead["original"]["size"] == 999_990
    assert not dead["record"]["whole"]
    refused = problem(await here.client.post(f"/v1/deadletters/{dead['id']}/replay"), "cannot_be_replayed", 409)
    assert "sent again" in refused["detail"]
    found = await look(here, dead["id"])
    assert found is not None
    assert found["state"] == "open", "it can still be discarded"
    assert (
        await here.client.post(f"/v1/deadletters/{dead['id']}/discard", json={"reason": "large"})
    ).status_code == 200


async def test_letters_of_a_deleted_task_are_gone(here: Here) -> None:
    project = await here.project()
    made = (await here.post(f"{project}/tasks", {"id": "t", "data": {"text": "Ada"}})).json()
    await here.predicted(project, "t")
    uid = names.task_uid(project, "t")
    dead = await letter(here, buried(uid.encode(), orjson.dumps({"project": project, "task": uid, "text": "secret"})))
    assert (dead["task"], made["task"]) == (uid, uid)
    (concerned,) = (await here.get(f"{project}/tasks/t/trace"))["dead_letters"]
    assert (concerned["id"], concerned["state"], concerned["reason"]) == (dead["id"], "open", "kills_its_process")
    await here.client.delete(f"/v1/projects/{project}/tasks/t")
    await eventually(lambda: look(here, dead["id"]), lambda seen: seen is None)
