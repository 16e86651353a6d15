"""The trainer role, with a real process that trains, a real bus and store: each end is clear, and told once."""

import asyncio
import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract.events import ModelTrained, TrainingFailed, TrainingProgressed
from prelabel_contract.projects import Project
from prelabel_provider.models.workspace import CANDIDATE, SERVING
from prelabel_provider.training.trainings import TrainingState

from tests.rig import trainings as rig


def trainer(folder: Path, config: Project, **settings: Any) -> AbstractAsyncContextManager[rig.Asking]:
    """A trainer that loses no training here because its machine or its disk stood still for some seconds."""
    return rig.training(folder, config, **{"lease_seconds": 120.0, **settings})


async def test_a_training_ends_in_a_version_that_knows_what_it_was_shown(tmp_path: Path) -> None:
    async with trainer(tmp_path, rig.project()) as here:
        training = await here.ask()
        ended = await here.ended(training)
        assert (ended.state, ended.reason, ended.attempt) == (TrainingState.TRAINED, "", 1)
        assert ended.artifact is not None
        assert ended.version == f"1-{ended.artifact[:12]}"
        assert ended.libraries.keys() == {"prelabel-inference-ledger"}
        assert ended.progress.step == ended.progress.steps == 4
        truth = {one.task: one.regions[0].labels[0] for one in rig.lines(6, first=1000)}
        assert await here.answers(1, CANDIDATE) == truth
        assert set((await here.answers(1, SERVING)).values()) == {"unknown"}
        (told,) = await here.told(ModelTrained)
        assert isinstance(told.data, ModelTrained)
        assert (told.data.training, told.data.version, told.data.artifact) == (training, ended.version, ended.artifact)
        assert await here.told(TrainingProgressed)
        assert await rig.models(tmp_path).store().published() == [ended.artifact]


async def test_the_same_job_gives_the_same_artifact(tmp_path: Path) -> None:
    async with trainer(tmp_path, rig.project()) as here:
        first = await here.ended(await here.ask(1))
        second = await here.ended(await here.ask(2))
        assert first.artifact == second.artifact is not None


HARM: dict[str, tuple[dict[str, Any], str]] = {
    "aborts": ({"settings": {"harm": "abort"}}, "crashed"),
    "reads address 0": ({"settings": {"harm": "crash"}}, "crashed"),
    "exits": ({"settings": {"harm": "exit"}}, "error"),
    "raises": ({"settings": {"harm": "raise"}}, "error"),
    "eats memory": ({"settings": {"harm": "eat"}, "memory_mib": 500}, "memory"),
    "never ends": ({"settings": {"harm": "hang"}, "time_seconds": 2.0}, "timeout"),
    "writes what it does not name": ({"settings": {"also_writes": {"more.json": "{}"}}}, "unknown_file"),
    "writes what nobody loads": ({"settings": {"also_writes": {"run.sh": "rm"}}}, "unknown_file"),
}


@pytest.mark.parametrize("what", HARM)
async def test_a_trainer_that_does_harm_ends_with_its_reason(tmp_path: Path, what: str) -> None:
    values, reason = HARM[what]
    async with trainer(tmp_path, rig.project(), attempts=2) as here:
        ended = await here.ended(await here.ask(**values))
        assert (ended.state, ended.reason) == (TrainingState.FAILED, reason)
        assert ended.detail
        assert ended.attempt == (2 if reason == "crashed" else 1)
        (told,) = await here.told(TrainingFailed, ModelTrained)
        assert isinstance(told.data, TrainingFailed)
        assert (told.data.reason, told.data.detail) == (reason, ended.detail)
        assert not await rig.models(tmp_path).store().published()


async def test_a_version_that_cannot_be_loaded_is_none_and_its_place_on_the_machine_is_not_told(tmp_path: Path) -> None:
    async with trainer(tmp_path, rig.project()) as here:
        ended = await here.ended(await here.ask(settings={"also_writes": {"ledger.json": '{"unknown": 1}'}}))
        assert (ended.state, ended.reason) == (TrainingState.FAILED, "unloadable")
        assert "cannot be loaded: path: 'its folder'" in ended.detail
        assert str(tmp_path) not in str(ended.log)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to learn from": ({"examples": 0}, "too_few"),
    "one class": ({"examples": 1, "settings": {"classes": 2}}, "single_class"),
    "a misspelt setting": ({"settings": {"second": 1}}, "settings"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_cannot_be_learned_is_refused_with_its_reason(tmp_path: Path, what: str) -> None:
    values, reason = REFUSED[what]
    async with trainer(tmp_path, rig.project()) as here:
        ended = await here.ended(await here.ask(**values))
        assert (ended.state, ended.reason, ended.attempt) == (TrainingState.REFUSED, reason, 1)
        (told,) = await here.told(TrainingFailed)
        assert told.data.reason == reason


async def test_a_process_that_crashes_once_is_begun_anew(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    async with trainer(tmp_path, rig.project()) as here:
        harm = {"harm": "abort", "harmless_from": 2, "ledger": str(ledger)}
        ended = await here.ended(await here.ask(settings=harm))
        assert (ended.state, ended.attempt) == (TrainingState.TRAINED, 2)
        assert any("SIGABRT" in line for _, line in ended.log)


async def test_a_training_is_cancelled_while_it_hangs(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    async with trainer(tmp_path, rig.project()) as here:
        training = await here.ask(settings={"harm": "hang", "ledger": str(ledger)})
        await here.until(training, lambda one: one.progress.step >= 1)
        pid = int(ledger.read_text().split()[1])
        await here.cancel(training)
        ended = await here.ended(training)
        assert (ended.state, ended.reason) == (TrainingState.CANCELLED, "cancelled")
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        (told,) = await here.told(TrainingFailed)
        assert told.data.reason == "cancelled"


async def test_what_is_cancelled_before_it_begins_is_told_all_the_same(tmp_path: Path) -> None:
    async with rig.asking(tmp_path, rig.project()) as here:
        training = await here.ask()
        await here.trainings.cancel(training)
    async with trainer(tmp_path, rig.project()) as here:
        ended = await here.ended(training)
        assert (ended.state, ended.attempt) == (TrainingState.CANCELLED, 0)
        (told,) = await here.told(TrainingFailed)
        assert told.data.reason == "cancelled"


async def test_a_stop_leaves_the_training_to_the_next_and_is_no_failure(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    # Who stops gives the store as long as a renewal, and else leaves the lease to end: here it is let go of.
    async with trainer(tmp_path, rig.project(), renew_seconds=3.0) as here:
        training = await here.ask(settings={"harm": "hang", "harmless_from": 2, "ledger": str(ledger)})
        await here.until(training, lambda one: one.progress.step >= 1)
    async with trainer(tmp_path, rig.project(), attempts=1, lease_seconds=3600) as here:
        ended = await here.ended(training)
        assert (ended.state, ended.attempt, ended.fence) == (TrainingState.TRAINED, 2, 2)
        assert len(await here.told(ModelTrained)) == 1


async def test_a_version_is_trained_further(tmp_path: Path) -> None:
    async with trainer(tmp_path, rig.project()) as here:
        first = await here.ended(await here.ask(1, examples=3))
        more: dict[str, Any] = {"start": "serving", "base": first.artifact, "serving_artifact": first.artifact}
        second = await here.ended(await here.ask(2, examples=1, **more))
        assert second.state is TrainingState.TRAINED
        assert second.artifact != first.artifact
        said = await here.answers(2, CANDIDATE)
        before = await here.answers(2, SERVING)
        assert before == await here.answers(1, CANDIDATE)
        assert set(said.values()) == set(rig.WORDS.values())


async def test_what_serves_and_cannot_be_loaded_answers_nothing(tmp_path: Path) -> None:
    async with trainer(tmp_path, rig.project(path=str(tmp_path / "nowhere"))) as here:
        ended = await here.ended(await here.ask())
        assert ended.state is TrainingState.TRAINED
        assert set((await here.answers(1, SERVING)).values()) == {None}
        assert any("cannot be loaded" in line for _, line in ended.log)


async def test_a_version_that_does_not_answer_the_hold_out_in_time_is_none_and_says_so(tmp_path: Path) -> None:
    async with trainer(tmp_path, rig.project(seconds_per_task=100.0), evaluate_seconds=3.0) as here:
        ended = await here.ended(await here.ask())
        assert (ended.state, ended.reason) == (TrainingState.FAILED, "timeout")
        assert ended.detail == "the version that was made did not answer the hold-out within 3 s"
        (told,) = await here.told(TrainingFailed, ModelTrained)
        assert isinstance(told.data, TrainingFailed)


async def test_what_serves_and_does_not_answer_in_time_makes_no_version_better(tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "ledger.json").write_text('{"seconds_per_task": 100.0}')
    async with trainer(tmp_path, rig.project(path=str(tmp_path / "slow")), evaluate_seconds=5.0) as here:
        ended = await here.ended(await here.ask())
        assert (ended.state, ended.reason) == (TrainingState.FAILED, "timeout")
        assert "which serves, did not answer" in ended.detail
        assert any("answered 6 held-out tasks" in line for _, line in ended.log)


async def test_a_training_of_a_model_that_is_gone_fails(tmp_path: Path) -> None:
    async with trainer(tmp_path, rig.project()) as here:
        ended = await here.ended(await here.ask(config="0" * 32))
        assert (ended.state, ended.reason) == (TrainingState.FAILED, "unknown_config")


async def test_a_compared_version_is_answered_anew_and_told_again(tmp_path: Path) -> None:
    async with trainer(tmp_path, rig.project()) as here:
        training = await here.ask()
        first = await here.ended(training)
        opened = first.but(state=TrainingState.EVALUATING, serving_epoch=3, fence=first.fence + 1, ended_ms=None)
        documents = here.runtime.store.documents
        found = await documents.get("training", "demo/m/00000001")
        assert found is not None
        await documents.put("training", found.key, opened.model_dump_json(), expected=found.revision)
        await here.announce(opened)
        await here.until(training, lambda one: one.fence == 3)
        again = await here.ended(training)
        assert (again.state, again.artifact) == (TrainingState.TRAINED, first.artifact)
        assert len({one.id for one in await here.told(ModelTrained)}) == 2


SLOWLY = {"seconds": 5.0, "steps": 50}
"""A training whose first step is soon done, and which goes on for long enough to have something happen meanwhile."""


async def test_what_is_gone_of_its_files_fails_it_with_a_word(tmp_path: Path) -> None:
    async with trainer(tmp_path, rig.project()) as here:
        training = await here.ask(settings={"ledger": str(tmp_path / "ledger"), **SLOWLY})
        await here.until(training, lambda one: one.progress.step >= 1)
        await here.workspaces.of("demo", "m", 1).remove()
        ended = await here.ended(training)
        assert (ended.state, ended.reason) == (TrainingState.FAILED, "no_holdout")


async def test_a_model_store_that_is_away_is_waited_for(tmp_path: Path) -> None:
    models = tmp_path / "models"
    async with trainer(tmp_path, rig.project()) as here:
        training = await here.ask(settings={"ledger": str(tmp_path / "ledger"), **SLOWLY})
        await here.until(training, lambda one: one.progress.step >= 1)
        models.rename(tmp_path / "away")
        models.write_text("no folder")
        before = await here.until(training, lambda one: one.progress.step == one.progress.steps)
        await here.until(training, lambda one: one.lease_until_ms > before.lease_until_ms + 2_000)
        models.unlink()
        (tmp_path / "away").rename(models)
        ended = await here.ended(training)
        assert (ended.state, ended.attempt) == (TrainingState.TRAINED, 1)


async def test_what_trainers_do_is_counted(tmp_path: Path) -> None:
    async with trainer(tmp_path, rig.project(), attempts=2) as here:
        await here.ended(await here.ask(1))
        await here.ended(await here.ask(2, settings={"harm": "abort"}))
        idle = b'prelabel_trainer_running{provider="ledger"} 0.0'
        async with asyncio.timeout(rig.PATIENCE):
            while idle not in here.runtime.metrics.expose():  # noqa: ASYNC110 - for a moment it is at what was told
                await asyncio.sleep(0.01)
        shown = here.runtime.metrics.expose().decode()
        assert 'prelabel_trainer_ended_total{provider="ledger",reason="trained"} 1.0' in shown
        assert 'prelabel_trainer_ended_total{provider="ledger",reason="crashed"} 1.0' in shown
        assert 'prelabel_trainer_attempts_total{provider="ledger"} 3.0' in shown
