"""The remote provider against targets on real sockets: from requests on a bus to predictions, whatever targets do."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract.events import PredictionCreated, PredictionFailed
from prelabel_contract.names import Lane
from prelabel_runtime.clock import SystemClock

from tests.rig.remote_hop import remote_hop
from tests.rig.target import Answer, Target, answered, said, well

TASKS = [f"t{number}" for number in range(40)]


def remote(target: Target, **settings: Any) -> tuple[str, dict[str, Any]]:
    return "remote", {"url": target.url, **settings}


@pytest.mark.parametrize("per_call", [1, 8])
async def test_every_request_gets_its_prediction_by_the_version_that_answered(tmp_path: Path, per_call: int) -> None:
    async with Target() as target, remote_hop(tmp_path, {"m": remote(target, tasks_per_call=per_call)}) as hop:
        replica = await hop.replica()
        await hop.ask(TASKS)
        await hop.until(lambda hop: len(hop.done) == len(TASKS))
        assert set(hop.done.values()) == {1}
        for outcome in hop.ended:
            assert isinstance(outcome, PredictionCreated)
            assert (outcome.version, outcome.regions[0].labels) == ("words-1", ("WORD",))
        assert set(target.tasks.values()) == {1}
        await replica.stop()


async def _flaky(target: Target, body: Any) -> Answer:
    """One by one: failures of every kind, then an answer."""
    match target.calls % 12:
        case 0:
            return answered({"error": "oops"}, 503)
        case 1:
            return 200, {}, b"<html>not json"
        case 2:
            return answered({"predictions": []})
        case 3:
            return answered({"predictions": [said({**body["tasks"][0], "id": "stranger"})]})
    return await well(target, body)


async def test_failures_garbage_and_missing_answers_are_mended_by_asking_again(tmp_path: Path) -> None:
    async with Target(behave=_flaky) as target, remote_hop(tmp_path, {"m": remote(target, tasks_per_call=2)}) as hop:
        replica = await hop.replica()
        await hop.ask(TASKS[:12])
        await hop.until(lambda hop: len(hop.done) == 12, 120)
        assert all(isinstance(outcome, PredictionCreated) for outcome in hop.ended)
        await replica.stop()


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_obeyed(tmp_path: Path, form: str) -> None:
    async def once_tired(target: Target, body: Any) -> Answer:
        if target.calls == 1:
            until = datetime.now(UTC) + timedelta(seconds=3)
            asked = "2" if form == "seconds" else format_datetime(until, usegmt=True)
            return answered({}, 429, retry_after=asked)
        return await well(target, body)

    settings = {"concurrency": 1}
    async with Target(behave=once_tired) as target, remote_hop(tmp_path, {"m": remote(target, **settings)}) as hop:
        await hop.replica()
        await hop.ask(TASKS[:5])
        await hop.until(lambda hop: len(hop.done) == 5)
        assert target.times[1] - target.times[0] >= 1.9


async def test_a_slow_start_is_waited_for_by_its_health(tmp_path: Path) -> None:
    async with Target() as target:
        url = target.url
        await target.stop()
        models = {"m": ("remote", {"url": url, "health_url": url.replace("predict", "health")})}
        async with remote_hop(tmp_path, models) as hop:
            await hop.replica()
            await hop.ask(TASKS[:5])
            await asyncio.sleep(2)
            async with target:
                await hop.until(lambda hop: len(hop.done) == 5)
                assert all(isinstance(outcome, PredictionCreated) for outcome in hop.ended)


async def _hangs(target: Target, body: Any) -> Answer:
    await asyncio.sleep(3600)
    return answered({})


async def _drips(target: Target, body: Any) -> Answer:
    return 200, {"content-length": "1000000"}, b"{"


@pytest.mark.parametrize("dead", [_hangs, _drips, None])
async def test_a_dead_target_is_known_before_anything_fails_for_it(tmp_path: Path, dead: Any) -> None:
    async with Target(behave=dead or well) as target:
        if dead is None:
            await target.stop()
        async with remote_hop(tmp_path, {"m": remote(target)}) as hop:
            replica = await hop.replica()
            await hop.ask(TASKS)
            async with asyncio.timeout(120):
                while not replica.metric("prelabel_remote_targets_down"):  # noqa: ASYNC110 - a metric calls nobody
                    await asyncio.sleep(0.05)
            assert not hop.done, "nothing fails for it yet"


async def test_a_killed_process_s_tasks_are_asked_about_once_more_and_no_others(tmp_path: Path) -> None:
    tasks = [f"t{number}" for number in range(120)]
    async with Target(latency=0.05) as target, remote_hop(tmp_path, {"m": remote(target, concurrency=8)}) as hop:
        for kill_at in (20, 50, 80):
            replica = await hop.replica()
            if kill_at == 20:
                await hop.ask(tasks)
            await hop.until(lambda hop, kill_at=kill_at: len(hop.done) >= kill_at)  # type: ignore[misc]
            await replica.kill()
        await hop.replica()
        await hop.until(lambda hop: len(hop.done) == len(tasks))
        assert max(target.tasks.values()) <= 1 + 3


async def test_a_secret_goes_where_it_may_go_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "hidden-as-can-be-0123456789"
    (tmp_path / "token").write_text(secret + "\n")
    monkeypatch.setenv("PRELABEL_SECRET_NER_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("PRELABEL_SECRET_NER_HOSTS", '["127.0.0.1"]')
    monkeypatch.setenv("PRELABEL_SECRET_OTHER", secret)
    monkeypatch.setenv("PRELABEL_SECRET_OTHER_HOSTS", '["ner.example.org"]')
    async with Target() as target:
        models = {
            name: remote(target, secret_headers={"Authorization": {"secret": which, "prefix": "Bearer "}})
            for name, which in (("m", "NER"), ("n", "OTHER"), ("o", "UNKNOWN"))
        }
        async with remote_hop(tmp_path, models) as hop:
            replica = await hop.replica()
            for model in models:
                await hop.ask([f"task-{model}"], model=model)
            await hop.until(lambda hop: len(hop.done) == 3)
            failed = {one.model: one for one in hop.ended if isinstance(one, PredictionFailed)}
            assert failed.keys() == {"n", "o"}
            assert {one.reason for one in failed.values()} == {"not_allowed"}
            assert "PRELABEL_SECRET_OTHER_HOSTS" in failed["n"].detail
            assert target.calls == 1
            assert f"Bearer {secret}" in target.heads[0]
            assert secret not in replica.metrics.expose().decode()
            assert not any(secret in outcome.model_dump_json() for outcome in hop.ended)
    said_ = capfd.readouterr()
    assert secret not in said_.out + said_.err


async def test_an_interactive_request_overtakes_a_bulk_backlog(tmp_path: Path) -> None:
    async with Target(latency=0.2) as target, remote_hop(tmp_path, {"m": remote(target, concurrency=2)}) as hop:
        await hop.replica()
        await hop.ask([f"t{number}" for number in range(400)])
        await hop.until(lambda hop: len(hop.done) >= 2)
        await hop.ask(["urgent"], lane=Lane.INTERACTIVE)
        await hop.until(lambda hop: any(outcome.task == "urgent" for outcome in hop.ended))
        assert len(hop.done) < 300


async def test_who_waits_longer_than_another_who_asks_the_same_is_answered(tmp_path: Path) -> None:
    async with Target(latency=1.0) as target, remote_hop(tmp_path, {"m": remote(target)}) as hop:
        await hop.replica()
        soon = SystemClock().now_ms() + 500
        await hop.ask(["hurried"], lane=Lane.INTERACTIVE, input_hash="same", deadline_ms=soon)
        await hop.ask(["patient"], lane=Lane.INTERACTIVE, input_hash="same")
        await hop.until(lambda hop: len(hop.done) == 2)
        ended = {outcome.task: outcome for outcome in hop.ended}
        assert isinstance(ended["hurried"], PredictionFailed)
        assert ended["hurried"].outcome == "expired"
        assert isinstance(ended["patient"], PredictionCreated)


async def test_two_models_in_one_batch_do_not_wait_for_each_other_s_target(tmp_path: Path) -> None:
    async with (
        Target() as target,
        Target(behave=_hangs) as dead,
        remote_hop(tmp_path, {"m": remote(target), "dead": remote(dead, attempt_seconds=300)}) as hop,
    ):
        await hop.replica()
        for number in range(8):
            await hop.ask([f"d{number}"], model="dead")
            await hop.ask([f"t{number}"])
        async with asyncio.timeout(60):  # less than an attempt may take
            while target.calls < 8:  # noqa: ASYNC110 - the target tells nobody
                await asyncio.sleep(0.05)
