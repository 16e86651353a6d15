"""The process that trains: it says what it is, goes on only while it may, and outlives nobody."""

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prelabel_provider.models.workspace import EXAMPLES, Workspaces
from prelabel_provider.training.process import Gone, Launch, TrainingProcess, introduced, trained
from prelabel_provider.training.trainings import LOG_LINES
from prelabel_provider.training.words import JobFile, Stepped

from tests.rig import trainings as rig

LEDGER = Launch(provider="ledger", python=sys.executable)


async def job(folder: Path, **settings: object) -> Path:
    """A job's file, of the ledger's trainer."""
    there = Workspaces(str(folder / "space")).of("demo", "m", 1)
    await there.write(EXAMPLES, rig.lines(9))
    await there.download(EXAMPLES, folder / "examples")
    (folder / "made").mkdir()
    said = JobFile.model_validate(
        {
            "examples": str(folder / "examples"),
            "label_set": rig.project().label_set.questions,
            "folder": str(folder / "made"),
            "seed": 1,
            "settings": settings,
        }
    )
    (folder / "job.json").write_text(said.model_dump_json())
    return folder / "job.json"


async def test_a_trainer_says_what_it_is() -> None:
    known = await introduced(LEDGER)
    assert (known.kinds, known.writes) == (["choice", "span"], [".json"])
    assert "path" in known.sources
    assert known.settings_schema["additionalProperties"] is False
    assert known.package


@pytest.mark.parametrize(
    ("launch", "word"),
    [
        (Launch(provider="nobody", python=sys.executable), "nobody"),
        (Launch(provider="ledger", python="/nowhere/python"), "/nowhere/python"),
        (Launch(provider="ledger", python=sys.executable, start_seconds=0.001), "0.001 s"),
    ],
    ids=["unknown", "no interpreter", "too slow"],
)
async def test_a_trainer_that_cannot_be_started_says_why(launch: Launch, word: str) -> None:
    with pytest.raises(Gone) as gone:
        await introduced(launch)
    assert gone.value.reason == "start"
    assert word in gone.value.detail


async def test_it_stands_back(tmp_path: Path) -> None:
    path = await job(tmp_path, seconds=1000.0, steps=10_000)
    launch = Launch(provider="ledger", python=sys.executable, nice=7)
    async with TrainingProcess.begun(launch, path, time.monotonic() + 600.0) as process:
        await process.known()
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 7)


async def test_it_ends_when_it_may_not_go_on(tmp_path: Path) -> None:
    path = await job(tmp_path, seconds=1000.0, steps=10_000)
    async with TrainingProcess.begun(LEDGER, path, time.monotonic() + 2.0) as process:
        await process.known()  # said before anything else, also where it took so long that it may not go on
        with pytest.raises(Gone, match="not told in time"):
            await trained(process, lambda step: None, 600.0)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux about processes")
async def test_what_it_leaves_behind_goes_with_its_job_and_short_memory_ends_it_before_who_serves(
    tmp_path: Path,
) -> None:
    path = await job(tmp_path, harm="hang", ledger=str(tmp_path / "ledger"))
    async with TrainingProcess.begun(LEDGER, path, time.monotonic() + 600.0) as process:
        await process.known()
        assert f"TMPDIR={tmp_path}".encode() in told(process.pid, "environ").split(b"\0")
        assert int(told(process.pid, "oom_score_adj")) == min(1000, int(told(os.getpid(), "oom_score_adj")) + 500)


async def test_it_goes_on_while_it_is_told_so(tmp_path: Path) -> None:
    path = await job(tmp_path, seconds=3.0, steps=30)
    steps: list[Stepped] = []
    async with TrainingProcess.begun(LEDGER, path, time.monotonic() + 60.0) as process:
        process.may_go_on(time.monotonic() + 600.0)
        await process.known()
        said = await trained(process, steps.append, 600.0)
        assert said.files == ["ledger.json"]  # type: ignore[union-attr]
    assert steps[-1].step == steps[-1].steps == 30
    assert len(steps) < LOG_LINES


async def test_nothing_is_left_of_it_however_the_block_is_left(tmp_path: Path) -> None:
    path = await job(tmp_path, harm="hang", ledger=str(tmp_path / "ledger"))
    with contextlib.suppress(KeyError):
        async with TrainingProcess.begun(LEDGER, path, time.monotonic() + 600.0) as process:
            async for _ in process.words():
                raise KeyError
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


_PARENT = """
    import asyncio, sys, time
    from pathlib import Path
    from prelabel_provider.training.process import Launch, TrainingProcess

    async def main():
        launch = Launch(provider="ledger", python=sys.executable)
        async with TrainingProcess.begun(launch, Path(sys.argv[1]), time.monotonic() + 3600) as process:
            async for said in process.words():
                print(process.pid, flush=True)

    asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux about processes")
@pytest.mark.parametrize("harm", [None, "hang"])
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
async def test_it_dies_with_its_parent(tmp_path: Path, harm: str | None, by: signal.Signals) -> None:
    ledger = tmp_path / "ledger"
    how = {"seconds": 1000.0, "steps": 1} if harm is None else {"steps": 2, "harm": harm}
    path = await job(tmp_path, ledger=str(ledger), **how)
    command = [sys.executable, "-c", textwrap.dedent(_PARENT), str(path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - it is to be killed
    try:
        assert parent.stdout is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        await until(lambda: ledger.exists() and ledger.read_text().count("step" if harm else "begin") == 1)
        watched = os.pidfd_open(pid)
        parent.send_signal(by)
        assert await asyncio.to_thread(select.select, [watched], [], [], 60) == ([watched], [], [])
        os.close(watched)
    finally:
        parent.kill()
        await asyncio.to_thread(parent.communicate)


def told(pid: int, what: str) -> bytes:
    """What Linux says about a process."""
    return Path(f"/proc/{pid}/{what}").read_bytes()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(rig.PATIENCE):
        while not is_so():  # noqa: ASYNC110 - another process makes it so
            await asyncio.sleep(0.01)
