"""A checker that finds nothing proves nothing: it must catch builds that are broken on purpose."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from prelabel_contract.names import task_uid

from tests.failure.checker import Report, read_calls
from tests.failure.damage import broken, must_have_fired
from tests.failure.load import (
    PROJECT,
    Run,
    VoidRun,
    kill_and_restart,
    project,
    run_with_kills,
    submit_and_meet,
    tasks,
    until,
    variables,
)
from tests.rig.processes import ALL_IN_ONE, Prelabel

TOTAL = 600
DIES = "die_after_publish:inference-ledger-bulk"


def _run(folder: Path, damage: Mapping[str, str]) -> Run:
    prelabel = Prelabel.all_in_one(folder, environment=variables(folder, damage))
    return Run(prelabel, folder, random.Random(1))


async def _killed_amid_a_batch(run: Run, *, patience: float) -> Report:
    """The process is killed while its model is busy with a batch, and started again."""
    async with run.client() as client:
        await client.put_project(PROJECT, project(seconds_per_task=0.005))
        await submit_and_meet(run, client, 0, TOTAL)
        await kill_and_restart(run, ALL_IN_ONE)
    return await run.verdict(patience=patience)


async def _died_after_publishing(run: Run) -> Report:
    """The process dies between publishing a batch's outcomes and committing it, and is started again."""
    process = run.prelabel.process(ALL_IN_ONE)
    async with run.client() as client:
        await client.put_project(PROJECT, project())
        await client.submit_until_acknowledged(PROJECT, tasks(0, TOTAL))
        await until(lambda: not process.alive, "the process's end")
        run.crashes += 1
        run.prelabel.restart(ALL_IN_ONE)
        must_have_fired(run.folder, DIES)
        await client.submit_until_acknowledged(PROJECT, tasks(0, TOTAL))
        await client.until_ended(PROJECT, TOTAL, 1)
    return await run.verdict(patience=5)


async def test_a_sound_build_passes_where_the_broken_ones_fail(tmp_path: Path) -> None:
    run = _run(tmp_path, broken(tmp_path, DIES))
    with run.prelabel:
        report = await _died_after_publishing(run)
    assert report.clean, run.say(report)
    assert report.repeated_records > 0, "what was published before the death must have been published again"


async def test_a_build_that_commits_before_it_handles_is_caught(tmp_path: Path) -> None:
    run = _run(tmp_path, broken(tmp_path, "commit_first"))
    with run.prelabel:
        report = await _killed_amid_a_batch(run, patience=5)
    must_have_fired(tmp_path, "commit_first")
    assert any(finding.what == "no outcome in the log" for finding in report.lost), run.say(report)


async def test_a_sound_build_loses_nothing_in_the_same_place(tmp_path: Path) -> None:
    run = _run(tmp_path, {})
    with run.prelabel:
        report = await _killed_amid_a_batch(run, patience=60)
    assert report.clean, run.say(report)


async def test_a_build_with_random_ids_is_caught(tmp_path: Path) -> None:
    run = _run(tmp_path, broken(tmp_path, "random_ids", DIES))
    with run.prelabel:
        report = await _died_after_publishing(run)
    must_have_fired(tmp_path, "random_ids")
    assert any(finding.what == "outcomes under several ids" for finding in report.doubled), run.say(report)


async def test_a_build_that_drops_a_task_is_caught(tmp_path: Path) -> None:
    run = _run(tmp_path, broken(tmp_path, "drop:t7"))
    with run.prelabel:
        async with run.client() as client:
            await client.put_project(PROJECT, project())
            await client.submit_until_acknowledged(PROJECT, tasks(0, 100))
            await client.until_ended(PROJECT, 99, 1)
        report = await run.verdict(patience=3)
    must_have_fired(tmp_path, "drop:t7")
    assert [finding.what for finding in report.lost] == [
        "submitted, and neither accepted nor rejected",
    ], run.say(report)


def test_a_line_of_the_models_ledger_that_a_kill_cut_off_is_no_call(tmp_path: Path) -> None:
    uid = task_uid(PROJECT, "t1")
    (tmp_path / "calls").write_text(f"{uid}\n{uid[:7]}{uid}\n{uid[:20]}")
    assert read_calls(tmp_path / "calls") == [uid, uid]


async def test_a_fault_that_comes_when_all_is_done_voids_its_run(tmp_path: Path) -> None:
    run = _run(tmp_path, {})
    with run.prelabel:
        async with run.client() as client:
            await client.put_project(PROJECT, project())
            await client.submit_until_acknowledged(PROJECT, tasks(1_000_000, 2_000))
            await client.until_ended(PROJECT, 2_000, 1)
        with pytest.raises(VoidRun):  # the model has already seen as many tasks as the run will send
            await run_with_kills(run, [ALL_IN_ONE], total=100)
