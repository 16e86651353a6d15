"""What is wrong with one task or one record concerns that one only, and is accounted for with its reason."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.failure.damage import broken, times_fired
from tests.failure.load import PROJECT, Run, project, tasks, until, variables
from tests.failure.raw import Headers, Raw, write_raw
from tests.rig.processes import ALL_IN_ONE, Prelabel
from tests.rig.servers import ServerHandle

MakePrelabel = Callable[..., Prelabel]
INBOUND = {"PRELABEL_INGESTION_INBOUND": json.dumps({"crm": {"projects": [PROJECT]}})}
POISON = "the-poisoned-one"
ON_SERVERS = [pytest.mark.kafka, pytest.mark.mongo]


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=ON_SERVERS)])
def make_prelabel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakePrelabel]:
    """Makes a Prelabel on either bus, with variables added."""
    made: list[Prelabel] = []

    def make(**more: str) -> Prelabel:
        if request.param == "sqlite":
            made.append(Prelabel.all_in_one(tmp_path, environment=variables(tmp_path, more)))
        else:
            kafka: ServerHandle = request.getfixturevalue("kafka_server")
            mongo: ServerHandle = request.getfixturevalue("mongo_server")
            servers = {"kafka": kafka.address, "mongo": mongo.address}
            made.append(Prelabel.separate(tmp_path, **servers, environment=variables(tmp_path, more)))
        return made[-1]

    yield make
    for prelabel in made:
        prelabel.stop()


def _cloudevent(number: int, data: Any, kind: str = "prelabel.task.submitted.v1") -> Raw:
    headers: Headers = (
        ("ce_specversion", b"1.0"),
        ("ce_type", kind.encode()),
        ("ce_source", b"/crm"),
        ("ce_id", f"e{number}".encode()),
        ("content-type", b"application/json"),
    )
    return headers, data if isinstance(data, bytes) else json.dumps(data).encode()


def _batch(rng: random.Random) -> list[Raw]:
    """500 records of an upstream system, five of them bad, anywhere among the others."""
    good = [{"project": PROJECT, **task} for task in tasks(0, 495)]
    records = [_cloudevent(number, data) for number, data in enumerate(good)]
    poison = [
        _cloudevent(900, b"{this is not JSON"),
        ((), b"no CloudEvent at all"),
        _cloudevent(902, good[0], "prelabel.task.submitted.v7"),
        _cloudevent(903, {"project": PROJECT, "data": "a text where an object belongs"}),
        _cloudevent(904, {"project": "somebody-elses", "id": "t904", "data": {"text": "mine?"}}),
    ]
    for bad in poison:
        records.insert(rng.randrange(len(records)), bad)
    return records


async def test_five_poisoned_records_among_500_are_accounted_for_and_block_nothing(
    tmp_path: Path, make_prelabel: MakePrelabel
) -> None:
    with make_prelabel(**INBOUND) as prelabel:
        run = Run(prelabel, tmp_path, random.Random(5))
        async with run.client() as client:
            await client.put_project(PROJECT, project())
            await write_raw(prelabel, "prelabel.inbound.crm", _batch(run.rng))
            await client.until_ended(PROJECT, 495, 1)
        await run.until_set_aside(4, rejected=1)
        report = await run.verdict()
    assert report.clean, run.say(report)
    assert (report.tasks, report.outcomes) == (495, {"ledger": {"created": 495}}), run.say(report)
    assert {letter.group for letter in report.dead_letters} == {"inbound-crm"}
    reasons = sorted(letter.reason for letter in report.dead_letters)
    assert reasons == ["invalid", "invalid", "not_a_cloudevent", "unknown_major_version"], run.say(report)
    assert report.rejected == 1, run.say(report)


async def test_five_wrong_lines_of_500_are_told_with_reasons(tmp_path: Path, make_prelabel: MakePrelabel) -> None:
    with make_prelabel() as prelabel:
        run = Run(prelabel, tmp_path, random.Random(6))
        lines: list[dict[str, Any]] = list(tasks(0, 495))
        contents: list[Any] = ["", 1, [], {}, None]
        for number, wrong in enumerate(contents):
            lines.insert(run.rng.randrange(len(lines)), {"id": f"bad{number}", "data": wrong})
        async with run.client() as client:
            await client.put_project(PROJECT, project())
            sent = await client.upload(PROJECT, lines)
            assert (sent.status, sent.body["accepted"], sent.body["rejected"]) == (202, 495, 5)
            assert all(error["errors"][0]["detail"] for error in sent.body["errors"])
            await client.until_ended(PROJECT, 495, 1)
            link = sent.body["links"]["errors"]
            async with asyncio.timeout(60):
                while len((told := await client.get(link))["errors"]) < 5:  # noqa: ASYNC110 - others write them
                    await asyncio.sleep(0.1)
        report = await run.verdict()
    assert len(told["errors"]) == 5
    assert report.clean, run.say(report)
    assert (report.tasks, report.acknowledged, report.refused) == (495, 495, 5), run.say(report)
    assert not report.dead_letters


async def test_a_task_that_crashes_the_models_native_code_loses_only_itself(
    tmp_path: Path, make_prelabel: MakePrelabel
) -> None:
    with make_prelabel() as prelabel:
        run = Run(prelabel, tmp_path, random.Random(7))
        some = tasks(0, 300)
        some[40]["data"]["text"] = "this one aborts ABORT"
        some[200]["data"]["text"] = "this one reads address zero CRASH"
        async with run.client() as client:
            await client.put_project(PROJECT, project(abort_on="ABORT", crash_on="CRASH"))
            await client.submit_until_acknowledged(PROJECT, some)
            await client.until_ended(PROJECT, 300, 1)
            failed = await client.get(f"/v1/projects/{PROJECT}/tasks?state=failed&predictions=true")
        run.crashes = 100  # how often a batch is tried in parts is the worker's business, see its own tests
        report = await run.verdict()
    assert report.clean, run.say(report)
    assert report.outcomes == {"ledger": {"created": 298, "failed": 2}}, run.say(report)
    assert {task["id"] for task in failed["tasks"]} == {"t40", "t200"}
    assert {task["predictions"][0]["reason"] for task in failed["tasks"]} == {"worker_crashed"}


@pytest.mark.parametrize(
    ("make_prelabel", "group"),
    [
        ("sqlite", "dispatcher"),
        pytest.param("kafka", "inference-ledger-bulk", marks=ON_SERVERS),
    ],
    indirect=["make_prelabel"],
)
async def test_a_record_that_ends_its_process_three_times_is_singled_out(
    tmp_path: Path, make_prelabel: MakePrelabel, group: str
) -> None:
    word = f"poison_exit:{group}:{POISON}"
    with make_prelabel(**broken(tmp_path, word)) as prelabel:
        run = Run(prelabel, tmp_path, random.Random(8))
        victim = ALL_IN_ONE if ALL_IN_ONE in prelabel.names else _process_of(group)
        async with run.client() as client:
            await client.put_project(PROJECT, project())
            nursing = asyncio.create_task(_keep_alive(run, victim))
            try:
                await client.submit_until_acknowledged(PROJECT, _with_poison(300))
                await client.until_ended(PROJECT, 299, 1)
                await run.until_set_aside(1)
            finally:
                nursing.cancel()
        report = await run.verdict()
    assert times_fired(tmp_path, word) >= 3
    _only_the_poison_is_dead(run, report, group)


async def test_a_record_that_raises_three_times_is_singled_out_without_a_restart(tmp_path: Path) -> None:
    group = "dispatcher"
    word = f"poison_raise:{group}:{POISON}"
    damage = variables(tmp_path, broken(tmp_path, word))
    with Prelabel.all_in_one(tmp_path, environment=damage) as prelabel:
        run = Run(prelabel, tmp_path, random.Random(9))
        process = prelabel.process(ALL_IN_ONE).pid
        async with run.client() as client:
            await client.put_project(PROJECT, project())
            await client.submit_until_acknowledged(PROJECT, _with_poison(300))
            await client.until_ended(PROJECT, 299, 1)
            await run.until_set_aside(1)
        report = await run.verdict()
        assert prelabel.process(ALL_IN_ONE).alive
        assert prelabel.process(ALL_IN_ONE).pid == process
    assert times_fired(tmp_path, word) >= 3
    _only_the_poison_is_dead(run, report, group)


def _with_poison(count: int) -> list[dict[str, Any]]:
    some = tasks(0, count)
    some[count // 2]["data"]["text"] = POISON
    return some


def _process_of(group: str) -> str:
    return "ingestion" if group == "dispatcher" else "ledger"


def _only_the_poison_is_dead(run: Run, report: Any, group: str) -> None:
    assert report.clean, run.say(report)
    assert [(letter.group, letter.reason) for letter in report.dead_letters] == [(group, "kills_its_process")]
    states = report.outcomes["ledger"]
    assert states["created"] == 299, run.say(report)


async def _keep_alive(run: Run, name: str) -> None:
    """What a supervisor does: start a process again whenever it ends."""
    process = run.prelabel.process(name)
    while True:
        await until(lambda: not process.alive, f"the next end of {name}", 600)
        run.crashes += 1
        run.tell(f"{name} ended with {process.exit_code}")
        process.start()
