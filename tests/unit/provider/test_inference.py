"""The one handler of every provider, on a real worker."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prelabel_contract import names
from prelabel_contract.events import ConfigPublished, Event, PredictionRequested, event
from prelabel_contract.names import Lane
from prelabel_contract.projects import Project
from prelabel_provider.inference import LOAD_ATTEMPTS, Inference
from prelabel_provider.lanes import LEAST
from prelabel_provider.predictor import LATE
from prelabel_provider.remote.gate import EXPIRED
from prelabel_provider.worker.worker import ModelWorker, WorkerLimits
from prelabel_runtime.blobs import NoBlobs
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.tables import Table
from prelabel_runtime.testing.doubles import ManualClock
from prelabel_runtime.topics.spec import topic_spec

from tests.unit.provider.conftest import MakeWorker


def project(settings: dict[str, Any]) -> Project:
    return Project.model_validate(
        {
            "id": "demo",
            "label_set": {"questions": [{"name": "word", "kind": "span", "field": "text", "labels": ["WORD"]}]},
            "models": [{"name": "m", "provider": "ledger", "settings": {"label": "WORD", **settings}}],
        }
    )


def requested(config: Project, text: str, **more: Any) -> Event[PredictionRequested]:
    data = PredictionRequested.model_validate(
        {
            "project": "demo",
            "task": text,
            "request": names.derived(text),
            "revision": 0,
            "model": "m",
            "provider": "ledger",
            "config": config.config_hash,
            "input_hash": names.content_hash({"text": text}),
            "data": {"text": text},
            **more,
        }
    )
    return event(data, id=data.request, source="/t", time_ms=1)


@pytest_asyncio.fixture
async def configs(tmp_path: Path) -> AsyncIterator[tuple[SqliteBus, Table[ConfigPublished]]]:
    bus = SqliteBus(tmp_path / "log.db", clock=SystemClock())
    await bus.start()
    await bus.provision([topic_spec(names.CONFIGS, 1)])
    table = Table(bus, names.CONFIGS, ConfigPublished, rng=random.Random(1))
    yield bus, table
    await table.stop()
    await bus.stop()


async def inference_of(
    configs: tuple[SqliteBus, Table[ConfigPublished]], config: Project, make_worker: MakeWorker
) -> Inference:
    bus, table = configs
    published = event(ConfigPublished(hash=config.config_hash, project=config), id="c", source="/t", time_ms=1)
    await bus.publish(messages([published]))
    await table.start()
    return Inference("ledger", make_worker(), table, NoBlobs(), SystemClock(), Metrics())


async def test_a_model_that_kills_its_process_by_being_loaded_fails_alone_after_some_tries(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker
) -> None:
    config = project({"die_on_load": True})
    inference = await inference_of(configs, config, make_worker)
    batch = [requested(config, "one"), requested(config, "two")]
    for _ in range(LOAD_ATTEMPTS - 1):
        with pytest.raises(Unavailable):
            await inference.predict(batch)
    replies = await inference.predict(batch)
    assert [[e.data.reason for e in reply] for reply in replies] == [["model_cannot_load"], ["model_cannot_load"]]  # type: ignore[union-attr]


async def test_work_that_nobody_waits_for_any_more_expires_before_it_costs(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker
) -> None:
    config = project({})
    inference = await inference_of(configs, config, make_worker)
    [[outcome]] = await inference.predict([requested(config, "late", deadline_ms=1)])  # type: ignore[misc]
    assert (outcome.data.outcome, outcome.data.reason) == ("expired", "deadline")
    assert isinstance(inference.predictor, ModelWorker)
    assert not inference.predictor.running


async def test_outcomes_carry_their_lineage_and_somebody_who_waits_gets_a_copy(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker
) -> None:
    config = project({})
    inference = await inference_of(configs, config, make_worker)
    [[told, copy]] = await inference.predict([requested(config, "hello world", correlation="me")])  # type: ignore[misc]
    assert told.data == copy.data
    assert (told.topic, copy.topic, copy.key) == (names.PREDICTIONS, names.REPLIES, "me")
    assert told.data.label_set == config.label_set_hash
    assert told.data.version.startswith("ledger")
    assert [r.text for r in told.data.regions] == ["hello"]


@pytest.mark.parametrize(("given", "told"), [(None, None), (0.125, 0.125), (0.0, 0.0), (7.0, None), (-0.1, None)])
async def test_an_outcome_has_the_uncertainty_that_its_provider_gives_if_it_is_one(
    configs: tuple[SqliteBus, Table[ConfigPublished]],
    make_worker: MakeWorker,
    given: float | None,
    told: float | None,
) -> None:
    config = project({"uncertainty": given})
    inference = await inference_of(configs, config, make_worker)
    [[outcome]] = await inference.predict([requested(config, "hello world")])  # type: ignore[misc]
    assert (outcome.data.score, outcome.data.uncertainty) == (None, told)


async def test_an_answer_that_cannot_be_read_fails_its_task_and_no_other(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker
) -> None:
    config = project({"garble_on": "GARBLE"})
    inference = await inference_of(configs, config, make_worker)
    replies = await inference.predict([requested(config, text) for text in ("one", "GARBLE", "two")])
    told = [reply[0].data for reply in replies]  # type: ignore[index]
    assert [getattr(data, "reason", None) for data in told] == [None, "output", None]
    assert told[1].version == told[0].version


async def test_requests_that_make_no_sense_fail_each_for_its_own_reason(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker
) -> None:
    config = project({})
    inference = await inference_of(configs, config, make_worker)
    other = requested(config, "a", model="nobody")
    good = requested(config, "good")
    replies = await inference.predict([other, good])
    assert [type(reply[0].data).__name__ for reply in replies] == ["PredictionFailed", "PredictionCreated"]  # type: ignore[index]
    assert replies[0][0].data.reason == "unknown_model"  # type: ignore[index]
    assert b"prelabel_predictions_total" in inference.metrics.expose()


async def test_a_request_that_comes_again_costs_no_second_call_and_is_answered_to_its_asker(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker, tmp_path: Path
) -> None:
    config = project({"ledger": str(tmp_path / "calls")})
    inference = await inference_of(configs, config, make_worker)
    twice = [requested(config, "a"), requested(config, "b"), requested(config, "a")]
    together = await asyncio.gather(inference.predict(twice), inference.predict([requested(config, "b")]))
    later = await inference.predict([requested(config, "a", correlation="me", revision=9)])
    told = [reply[0].data for replies in (*together, later) for reply in replies]  # type: ignore[index]
    assert [data.task for data in told] == ["a", "b", "a", "b", "a"]
    assert (told[-1].correlation, told[-1].revision) == ("me", 9)
    assert sorted((tmp_path / "calls").read_text().split()) == ["a", "b"]


async def test_what_failed_is_tried_again(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker, tmp_path: Path
) -> None:
    config = project({"ledger": str(tmp_path / "calls"), "fail_on": "bad"})
    inference = await inference_of(configs, config, make_worker)
    for _ in range(2):
        [[outcome]] = await inference.predict([requested(config, "bad")])  # type: ignore[misc]
        assert outcome.data.outcome == "failed"
    assert (tmp_path / "calls").read_text().split() == ["bad", "bad"]


async def test_who_waits_for_another_batch_gets_its_failure_too(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker, tmp_path: Path
) -> None:
    config = project({"ledger": str(tmp_path / "calls"), "fail_on": "bad"})
    inference = await inference_of(configs, config, make_worker)
    batches = ([requested(config, "bad")], [requested(config, "slow one"), requested(config, "bad")])
    first, second = await asyncio.gather(*(inference.predict(batch) for batch in batches))
    assert [reply[0].data.task for reply in (*first, *second)] == ["bad", "slow one", "bad"]  # type: ignore[index]
    assert (tmp_path / "calls").read_text().split() == ["bad", "slow", "one"]


async def test_equal_inputs_under_way_cost_one_call_whoever_asks_and_each_gets_an_outcome_of_its_own(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker, tmp_path: Path
) -> None:
    config = project({"ledger": str(tmp_path / "calls")})
    inference = await inference_of(configs, config, make_worker)
    same = [requested(config, "ada", task=f"t{n}", request=f"r{n}") for n in range(3)]
    other = [requested(config, "bob"), requested(config, "ada", task="t3", request="r3")]
    replies = [*await inference.predict(same), *await inference.predict(other)]
    told = [reply[0].data for reply in replies]  # type: ignore[index]
    assert [(data.task, data.request) for data in told[:3]] == [("t0", "r0"), ("t1", "r1"), ("t2", "r2")]
    assert [[region.text for region in data.regions] for data in told] == [["ada"], ["ada"], ["ada"], ["bob"], ["ada"]]
    assert (tmp_path / "calls").read_text().split() == ["t0", "bob", "t3"]
    assert b'prelabel_predictions_joined_total{provider="ledger"} 2.0' in inference.metrics.expose()


async def test_work_that_expires_while_it_waits_for_its_turn_is_not_given_to_the_model(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker, tmp_path: Path
) -> None:
    config = project({"ledger": str(tmp_path / "calls")})
    clock = ManualClock()
    inference = replace(await inference_of(configs, config, make_worker), clock=clock)
    async with contextlib.AsyncExitStack() as held:
        for _ in range(WorkerLimits().batches):
            await held.enter_async_context(inference.predictor.turn(Lane.BULK))
        batch = [requested(config, "late", deadline_ms=clock.now_ms() + 1_000), requested(config, "patient")]
        waiting = asyncio.create_task(inference.predict(batch))
        while not inference.prepared:  # noqa: ASYNC110 - what it waits for is its own
            await asyncio.sleep(0)
        clock.advance(2)
    late, patient = [reply[0].data for reply in await waiting]  # type: ignore[index]
    assert (late.outcome, late.reason) == ("expired", "deadline")
    assert patient.task == "patient"
    assert (tmp_path / "calls").read_text().split() == ["patient"]


async def test_who_waits_for_longer_than_the_one_that_asked_first_is_answered_when_that_one_gave_up(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker, tmp_path: Path
) -> None:
    config = project({"ledger": str(tmp_path / "calls")})
    clock = ManualClock()
    inference = replace(await inference_of(configs, config, make_worker), clock=clock)
    hurried, patient = requested(config, "ada", deadline_ms=clock.now_ms() + 1_000), requested(config, "ada", run="r1")
    async with contextlib.AsyncExitStack() as held:
        for _ in range(WorkerLimits().batches):
            await held.enter_async_context(inference.predictor.turn(Lane.BULK))
        batches = [[hurried, patient], [patient, requested(config, "bob")], [hurried]]
        waiting = [asyncio.create_task(inference.predict(batch)) for batch in batches]
        while not inference.prepared:  # noqa: ASYNC110 - what it waits for is its own
            await asyncio.sleep(0)
        clock.advance(2)
    told = [reply[0].data for replies in await asyncio.gather(*waiting) for reply in replies]  # type: ignore[index]
    assert [getattr(data, "outcome", "created") for data in told] == ["expired", *["created"] * 3, "expired"]
    assert [data.run for data in told[1:3]] == ["r1", "r1"]
    assert sorted((tmp_path / "calls").read_text().split()) == ["ada", "bob"]


async def test_a_model_that_says_deadline_itself_is_asked_once_and_has_failed(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker, tmp_path: Path
) -> None:
    config = project({"ledger": str(tmp_path / "calls"), "fail_on": "bad", "fail_as": LATE.reason})
    inference = await inference_of(configs, config, make_worker)
    [[outcome]] = await inference.predict([requested(config, "bad")])  # type: ignore[misc]
    assert (outcome.data.outcome, outcome.data.reason) == ("failed", "deadline")
    assert (tmp_path / "calls").read_text().split() == ["bad"]


def test_what_a_remote_target_is_not_asked_in_time_is_said_as_what_is_late() -> None:
    assert EXPIRED == LATE


async def test_a_portion_is_measured_by_the_models_own_time_and_not_by_what_it_waits_for(
    configs: tuple[SqliteBus, Table[ConfigPublished]], make_worker: MakeWorker
) -> None:
    config = project({})
    clock = ManualClock()
    inference = replace(await inference_of(configs, config, make_worker), clock=clock)
    await inference.predict([requested(config, "first")])
    assert isinstance(inference.predictor, ModelWorker)
    assert inference.predictor.pid is not None
    os.kill(inference.predictor.pid, signal.SIGSTOP)
    asked = asyncio.create_task(inference.predict([requested(config, str(n), lane=Lane.BACKFILL) for n in range(64)]))
    await asyncio.sleep(0)
    clock.advance(3600.0)
    os.kill(inference.predictor.pid, signal.SIGCONT)
    await asked
    [prepared] = inference.prepared.values()
    assert len(inference.portions.of(prepared.served.key, range(LEAST + 1))) == 1
