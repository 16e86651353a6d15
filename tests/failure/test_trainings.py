"""Wherever a trainer or its process dies: one artifact, one `model.trained`, never two processes at one training."""

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract.events import ModelTrained, TrainingFailed
from prelabel_provider.training.trainings import TrainingRecord, TrainingState

from deploy.local.process import ServerProcess
from tests.rig import trainings as rig

SLOW = {"seconds": 1.0, "steps": 10}
PROJECT = rig.project(seconds_per_task=0.15)
"""Who is to be killed amid its answers takes seconds for them."""
ALONE: dict[str, Any] = {"lease_seconds": 60.0}
"""Where nobody dies who holds a training: a machine that stands still does not take it from anybody."""
_LOOK_EVERY_S = 0.01


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def bus(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Settings of the bus."""
    if request.param == "sqlite":
        return {}
    server = request.getfixturevalue("kafka_server")
    return {"bus": f"kafka://{server.address}", "prefix": f"t{secrets.token_hex(5)}.", "session_seconds": "6"}


async def test_kills_of_the_trainer_leave_one_version(tmp_path: Path, bus: Mapping[str, str]) -> None:
    ledger = tmp_path / "ledger"
    async with rig.asking(tmp_path, PROJECT, **bus) as here:
        training = await here.ask(settings={**SLOW, "ledger": str(ledger)}, holdout=20)
    async with rig.watching(tmp_path, PROJECT) as here:
        moments: list[Callable[[], Awaitable[bool]]] = [
            lambda: _is(here.record(training), lambda one: one.fence >= 1),
            lambda: _count(ledger, "begin", 1),
            lambda: _count(ledger, "step", 5),
            lambda: _count(ledger, "end", 1),
            lambda: _is(here.record(training), lambda one: one.artifact is not None),
            lambda: _count(tmp_path / "predicted", "task-", 3),
            lambda: _count(tmp_path / "predicted", "task-", 60),
        ]
        if bus:  # who takes a training up is settled in the store: a few of them show that no bus changes that
            moments = [moments[0], moments[3], moments[5]]
        for moment in moments:
            with running(tmp_path, bus) as trainer:
                await until(moment)
                trainer.signal(signal.SIGKILL)
                assert await asyncio.to_thread(trainer.wait, 30)
        with running(tmp_path, bus):
            ended = await here.ended(training)
    assert ended.state is TrainingState.TRAINED
    assert ended.attempt > len(moments) - 2
    assert "double" not in ledger.read_text()
    assert await rig.models(tmp_path).store().published() == [ended.artifact]
    async with rig.asking(tmp_path, PROJECT, **bus) as here:
        told = await here.told(ModelTrained, TrainingFailed)
        assert {type(one.data) for one in told} == {ModelTrained}
        assert len({one.id for one in told}) == 1


async def test_kills_of_the_process_that_trains_leave_one_version(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    async with rig.training(tmp_path, PROJECT, attempts=5, **ALONE) as here:
        training = await here.ask(settings={**SLOW, "ledger": str(ledger)})
        for word, kills in (("begin", 1), ("step", 2), ("end", 3)):
            await until(lambda word=word, kills=kills: _count(ledger, "begin", kills))  # type: ignore[misc]
            seen = ledger.read_text().count(word)
            await until(lambda word=word, seen=seen: _count(ledger, word, seen))  # type: ignore[misc]
            with contextlib.suppress(ProcessLookupError):
                os.kill(_pid(ledger), signal.SIGKILL)
        ended = await here.ended(training)
        assert ended.state is TrainingState.TRAINED
        assert ended.attempt >= 3
        assert "double" not in ledger.read_text()
        assert await rig.models(tmp_path).store().published() == [ended.artifact]
        assert len({one.id for one in await here.told(ModelTrained)}) == 1


async def test_of_several_trainers_one_trains(tmp_path: Path) -> None:
    async with rig.training(tmp_path, PROJECT, trainers=3, **ALONE) as here:
        names = [await here.ask(n, settings={**SLOW, "ledger": str(tmp_path / f"ledger-{n}")}) for n in (1, 2, 3)]
        for number, training in enumerate(names, 1):
            ended = await here.ended(training)
            assert (ended.state, ended.fence, ended.attempt) == (TrainingState.TRAINED, 1, 1)
            assert (tmp_path / f"ledger-{number}").read_text().count("begin") == 1
        assert len({one.id for one in await here.told(ModelTrained)}) == 3


async def test_what_a_trainer_that_stands_still_began_goes_on_elsewhere(tmp_path: Path, bus: Mapping[str, str]) -> None:
    ledger = tmp_path / "ledger"
    settings = {"seconds": 1_000.0, "steps": 20_000, "ledger": str(ledger)}
    async with rig.asking(tmp_path, PROJECT, **bus) as here:
        training = await here.ask(settings=settings)
    async with rig.watching(tmp_path, PROJECT) as here:
        with running(tmp_path, bus) as still:
            await until(lambda: _count(ledger, "step", 5))
            still.signal(signal.SIGSTOP)
            try:
                await until(lambda: _free(ledger))  # its process ends though nobody can end it
                if bus:
                    with running(tmp_path, bus):
                        await until(lambda: _is(here.record(training), lambda one: one.fence >= 2))
                        await until(lambda: _count(ledger, "begin", 2))
                        still.signal(signal.SIGCONT)
                        await here.trainings.cancel(training)
                        ended = await here.ended(training)
                else:
                    still.signal(signal.SIGCONT)
                    await until(lambda: _count(ledger, "begin", 2))
                    await here.trainings.cancel(training)
                    ended = await here.ended(training)
            finally:
                still.signal(signal.SIGCONT)
    assert ended.state is TrainingState.CANCELLED
    assert ended.attempt >= 2, "somebody took it up"
    assert "double" not in ledger.read_text()
    async with rig.asking(tmp_path, PROJECT, **bus) as here:
        assert len({one.id for one in await here.told(ModelTrained, TrainingFailed)}) == 1


# ------------------------------------------------------------------------------------------------------------ helpers


@contextlib.contextmanager
def running(folder: Path, bus: Mapping[str, str]) -> Iterator[ServerProcess]:
    """A trainer, ended at the end."""
    trainer = rig.started(folder, **bus)
    try:
        yield trainer
    finally:
        trainer.signal(signal.SIGTERM)
        if not trainer.wait(30):
            trainer.signal(signal.SIGKILL)
            trainer.wait(30)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(rig.PATIENCE):
        while not await is_so():  # noqa: ASYNC110 - other processes make it so
            await asyncio.sleep(_LOOK_EVERY_S)


async def _is(record: Awaitable[TrainingRecord], is_so: Callable[[TrainingRecord], bool]) -> bool:
    return is_so(await record)


async def _count(path: Path, word: str, least: int) -> bool:
    return _text(path).count(word) >= least


async def _free(ledger: Path) -> bool:
    return _locked(ledger)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _locked(ledger: Path) -> bool:
    """Whether it can be locked: no process trains."""
    with open(ledger, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _pid(ledger: Path) -> int:
    """Of the process that began last."""
    return int([line.split()[1] for line in ledger.read_text().splitlines() if line.startswith("begin")][-1])
