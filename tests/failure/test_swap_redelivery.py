"""A batch that one version answered, and nobody committed, is taken again when another serves: each request ends once.

The process dies between publishing a batch's outcomes and its commit; while it is down another version is promoted.
Then the same requests are answered again, under the same ids, by that version: nobody may be told both.
"""

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract import names
from prelabel_provider.models.store import Models
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.run import open_bus, open_store
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.topics.spec import topic_spec
from prelabel_training.registry.registry import Registry, Target

from tests.failure.damage import broken, must_have_fired
from tests.failure.load import MODEL, PROJECT, Run, project, tasks, until, variables
from tests.failure.log import LogRecord, read_log
from tests.rig.client import Client
from tests.rig.processes import ALL_IN_ONE, Prelabel
from tests.rig.servers import ServerHandle
from tests.unit.provider.serving_rig import published

TOTAL = 120
BATCH = 50
DIES = "die_after_publish:inference-ledger-bulk"
LABELS = {"1-one": "ONE", "2-two": "TWO"}
"""What each version says of a text's first word."""
FIRST, SECOND = LABELS
PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Told:
    """What the log says."""

    versions: Mapping[str, Sequence[str]]
    """By request: the versions that answered it, in the order of the log."""
    asked_again: Mapping[str, str]
    """By task: the request that came of the second promotion."""
    superseded: Mapping[str, set[str]]
    """By request: those that were told to replace it."""


def told(run: Run) -> Told:
    """Read the log."""
    versions: dict[str, list[str]] = defaultdict(list)
    again: dict[str, str] = {}
    superseded: dict[str, set[str]] = defaultdict(set)
    for record in read_log(run.prelabel.bus, run.prelabel.prefix):
        match record:
            case LogRecord(type="prelabel.prediction.created.v1", topic=names.PREDICTIONS, data=data):
                versions[data["request"]].append(data["version"])
            case LogRecord(type="prelabel.prediction.superseded.v1", topic=names.PREDICTIONS, data=data):
                superseded[data["request"]].add(data["by"])
            case LogRecord(type="prelabel.prediction.requested.v1", data=data) if (
                data.get("generation") == f"{MODEL}/2"
            ):
                again[data["task"]] = data["request"]
    return Told(versions, again, superseded)


async def promote(run: Run, version: str) -> None:
    """Let a version serve, as the registry does it. A bus and a store of SQLite must be nobody's meanwhile."""
    models = Models(str(run.folder / "models"), run.folder / "made-cache")
    artifact = await published(models, run.folder / "made", label=LABELS[version])
    models.stop()
    settings = RuntimeSettings(bus=run.prelabel.bus, store=run.prelabel.store, prefix=run.prelabel.prefix)
    clock = SystemClock()
    bus, store = open_bus(settings, clock), open_store(settings, clock)
    async with contextlib.AsyncExitStack() as stack:
        await bus.start()
        stack.push_async_callback(bus.stop)
        await bus.provision([topic_spec(name, 4) for name in (names.MODELS, names.LEARNING)])
        await store.start()
        stack.push_async_callback(store.stop)
        target = Target(version, artifact, "ledger", f"{PROJECT}/{MODEL}/{version[0]}", "promoted", "somebody")
        await Registry.of(store.documents, bus, clock).move(PROJECT, MODEL, target)


async def killed_across_a_promotion(run: Run, name: str, client: Client, repredict: str) -> Mapping[str, Sequence[str]]:
    """Return when the process that died is ready again: what it had published, by request, and not committed."""
    await client.put_project(PROJECT, learning(repredict))
    await client.submit(PROJECT, tasks(0, TOTAL))  # where it dies is not known yet: the answer may be lost
    process = run.prelabel.process(name)
    await until(lambda: not process.alive, "the process's end", PATIENCE)
    run.crashes += 1
    must_have_fired(run.folder, DIES)
    await promote(run, SECOND)
    before = await asyncio.to_thread(told, run)
    await asyncio.to_thread(run.prelabel.restart, name)
    await client.submit_until_acknowledged(PROJECT, tasks(0, TOTAL))
    return before.versions


def learning(repredict: str) -> dict[str, Any]:
    """A project whose model may say what the versions say."""
    said = project()
    said["label_set"]["questions"][0]["labels"] = [{"value": label} for label in LABELS.values()]
    return {**said, "learning": {"repredict": repredict}}


async def shown(client: Client) -> list[dict[str, Any]]:
    """All tasks with their predictions, as the API shows them."""
    page = await client.get(f"/v1/projects/{PROJECT}/tasks?predictions=true&limit=200")
    found: list[dict[str, Any]] = page["tasks"]
    return found


def current(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The predictions of a task that nothing has replaced."""
    return [one for one in task["predictions"] if one["superseded_by"] is None]


async def at_rest(run: Run, client: Client, repredict: str, twice: Collection[str]) -> list[dict[str, Any]]:
    """The tasks, once all that was asked has been answered, and replaced what was asked again; else as they are.

    `twice`: requests that are to be answered once more, for their own end was told before.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        report, log = await asyncio.to_thread(run.check), await asyncio.to_thread(told, run)
        found = await shown(client)
        again = TOTAL if repredict == "open" else 0
        answered = report.tasks == len(found) == TOTAL and not report.lost and len(log.asked_again) == again
        answered = answered and all(len(log.versions[request]) > 1 for request in twice)
        # What is shown comes after what was told: one may still stand that the log says is replaced.
        stand = {one["request"] for task in found for one in current(task)}
        if answered and len(stand) == TOTAL and stand >= set(log.asked_again.values()):
            return found
        await asyncio.sleep(0.2)
    return await shown(client)


async def one_outcome_each(run: Run, name: str, repredict: str) -> None:
    """All of it: what is promised of a redelivery across a promotion."""
    await promote(run, FIRST)
    with run.prelabel:
        async with run.client() as client:
            before = await killed_across_a_promotion(run, name, client, repredict)
            found = await at_rest(run, client, repredict, before)
            changes = (await client.get(f"/v1/projects/{PROJECT}/models/{MODEL}/changes"))["changes"]
        log, report = await asyncio.to_thread(told, run), await asyncio.to_thread(run.check)
    print(f"{len(before)} requests were answered before and after", report.json())
    assert before, "nothing was published before the death"
    assert {tuple(versions) for versions in before.values()} == {(FIRST,)}
    assert {tuple(log.versions[request]) for request in before} == {(FIRST, SECOND)}, "taken again by the other version"
    assert report.clean, run.say(report)
    assert not report.dead_letters, run.say(report)
    assert report.answered_across == len(before)
    assert [one["version"] for one in changes] == [SECOND, FIRST]
    assert len(found) == TOTAL
    for task in found:
        check(task, before, log)
    if repredict == "open":
        assert {one["request"] for task in found for one in current(task)} == set(log.asked_again.values())
        assert {one["version"] for task in found for one in current(task)} == {SECOND}


def check(task: Mapping[str, Any], before: Mapping[str, Sequence[str]], log: Told) -> None:
    """A task has one current prediction; each says the version that told it, and what replaced it."""
    predictions = task["predictions"]
    assert len(current(task)) == 1, task
    assert len({one["request"] for one in predictions}) == len(predictions), task
    for one in predictions:
        request = one["request"]
        assert one["outcome"] == "created", task
        assert one["version"] == log.versions[request][0], "the first in the log counts"
        assert one["version"] == (FIRST if request in before else SECOND), task
        assert [region["labels"] for region in one["regions"] if region["kind"] == "span"] == [[LABELS[one["version"]]]]
        by = one["superseded_by"]
        assert by in log.superseded[request] if by else request not in log.superseded, "shown as it was told"
        assert by in {None, *(other["request"] for other in predictions if other is not one)}, task


def damaged(folder: Path) -> Mapping[str, str]:
    """Variables of processes that die once, and where they find versions."""
    more = {"PRELABEL_MODELS_CACHE": str(folder / "models-cache"), "PRELABEL_INFERENCE_RECORDS": str(BATCH)}
    return variables(folder, {**broken(folder, DIES), "PRELABEL_MODELS": str(folder / "models"), **more})


@pytest.mark.parametrize("repredict", ["none", "open"])
async def test_a_batch_that_two_versions_answered_ends_once_and_says_by_which(tmp_path: Path, repredict: str) -> None:
    (tmp_path / "data").mkdir()
    prelabel = Prelabel.all_in_one(tmp_path, environment=damaged(tmp_path))
    await one_outcome_each(Run(prelabel, tmp_path, random.Random(1)), ALL_IN_ONE, repredict)


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.slow
async def test_a_batch_that_two_versions_answered_ends_once_where_services_are_apart(
    tmp_path: Path, kafka_server: ServerHandle, mongo_server: ServerHandle
) -> None:
    servers = {"kafka": kafka_server.address, "mongo": mongo_server.address}
    prelabel = Prelabel.separate(tmp_path, **servers, environment=damaged(tmp_path))
    await one_outcome_each(Run(prelabel, tmp_path, random.Random(1)), "ledger", "open")
