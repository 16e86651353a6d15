"""A serving pointer that moves under load loses, doubles and fails nothing, whoever is killed meanwhile."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from prelabel_contract import names
from prelabel_contract.events import ModelLoaded, PredictionCreated, PredictionRequested
from prelabel_provider.models.store import Models
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock

from tests.failure.load import seeds, until
from tests.rig.processes import PrelabelProcess
from tests.rig.swapping import LANES, decoded, pointers, read
from tests.unit.provider.serving_rig import pointer, project, published

SOME = 30
"""Requests of each lane between two moments."""
VERSIONS = ("settings", "1-one", "2-two", "3-three")
LOAD_SECONDS = 0.5


class Swapping:
    """A run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = PrelabelProcess(
            "swapping",
            "tests.rig.swapping",
            {
                "FED": str(folder),
                "PRELABEL_BUS": f"sqlite:///{folder}/log.db",
                "PRELABEL_STORE": f"sqlite:///{folder}/results.db",
                "PRELABEL_LEDGER": str(folder / "calls"),
                "PRELABEL_MODELS": str(folder / "models"),
                "PRELABEL_MODELS_CACHE": str(folder / "cache"),
                "PRELABEL_INFERENCE_LINGER": "0",
            },
            folder,
        )

    async def prepare(self) -> list[str]:
        """A project, and versions of its model that nothing points to yet, and that wait to load; their artifacts."""
        config = project(seconds_per_task=0.002)
        (self.folder / "project.json").write_text(config.model_dump_json())
        models = Models(str(self.folder / "models"), self.folder / "made-cache")
        made = [
            await published(
                models,
                self.folder / "made",
                label=name,
                load_seconds=LOAD_SECONDS,
                load_after=str(self.folder / f"load-{name}"),
            )
            for name in VERSIONS[1:]
        ]
        models.stop()
        return made

    async def amid_a_swap(self, version: str) -> None:
        """Return while a version is being loaded beside what serves: it waits for this."""
        await until(lambda: len(self.process.workers()) > 1, "a second worker", 120.0)
        self.may_load(version)

    def may_load(self, version: str) -> None:
        """From now on a version loads to its end."""
        (self.folder / f"load-{version}").touch()

    async def some_work(self) -> None:
        """Return when some more requests of each lane have been given to the model."""
        before = self._calls()
        await until(lambda: all(now > before[lane] + SOME for lane, now in self._calls().items()), "work", 120.0)

    async def served(self, epoch: int) -> None:
        """Return when a version serves."""
        await until((self.folder / f"served-{epoch}").exists, f"epoch {epoch}", 120.0)

    def _calls(self) -> dict[str, int]:
        calls = self.folder / "calls"
        tasks = calls.read_text().splitlines() if calls.exists() else []
        return {lane: sum(task.startswith(f"{lane}-") for task in tasks) for lane in LANES}

    async def end(self) -> None:
        """Wait for all outcomes, then let the process end."""
        (self.folder / "enough").touch()
        await until((self.folder / "done").exists, f"all outcomes; {self.process.last_words()}", 240.0)
        self.process.signal(signal.SIGTERM)
        await asyncio.to_thread(self.process.wait, 60.0)


@asynccontextmanager
async def _log(folder: Path) -> AsyncIterator[SqliteBus]:
    bus = SqliteBus(folder / "log.db", clock=SystemClock())
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


async def _judge(folder: Path, *, killed: bool) -> Sequence[ModelLoaded]:
    """Each request has one outcome, a prediction; in the order of a lane versions never go back."""
    async with _log(folder) as bus:
        outcomes: dict[str, PredictionCreated] = {}
        for record in await read(bus, names.PREDICTIONS):
            data = decoded(record).data
            assert isinstance(data, PredictionCreated), data
            assert killed or data.request not in outcomes, f"{data.request} has two outcomes"
            outcomes.setdefault(data.request, data)  # what is told again after a kill has the same id
        for lane in LANES:
            order: dict[int, list[int]] = {}
            for record in await read(bus, names.requests("ledger", lane)):
                request = decoded(record).data
                assert isinstance(request, PredictionRequested)
                said = outcomes[request.request]
                version = "settings" if said.version.startswith("ledger-") else said.version
                label = said.regions[0].model_dump()["labels"][0]
                assert label == ("OWN" if version == "settings" else version)
                order.setdefault(record.partition, []).append(VERSIONS.index(version))
            for versions in order.values():
                assert all(one <= other for one, other in pairwise(versions)), versions
            assert {versions[-1] for versions in order.values()} == {len(VERSIONS) - 1}
        return [data for r in await read(bus, names.LEARNING) if isinstance(data := decoded(r).data, ModelLoaded)]


async def test_versions_that_change_under_load_lose_and_fail_nothing_and_never_go_back(tmp_path: Path) -> None:
    swapping = Swapping(tmp_path)
    artifacts = await swapping.prepare()
    swapping.process.start()
    try:
        for epoch, (version, artifact) in enumerate(zip(VERSIONS[1:], artifacts, strict=True), 1):
            await swapping.some_work()
            swapping.may_load(version)
            pointers(tmp_path, pointer(artifact, version, epoch))
            await swapping.served(epoch)
        await swapping.some_work()
        await swapping.end()
    finally:
        await asyncio.to_thread(_kill, swapping.process)
    told = await _judge(tmp_path, killed=False)
    assert {one.state for one in told} == {"serving"}
    assert told[-1].epoch == len(artifacts)


@pytest.mark.parametrize("seed", seeds())
async def test_a_kill_amid_a_swap_loses_and_fails_nothing_and_what_is_pointed_to_serves(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    swapping = Swapping(tmp_path)
    artifacts = await swapping.prepare()
    before: tuple[str, str] = ("", "settings")
    swapping.process.start()
    try:
        for epoch, (version, artifact) in enumerate(zip(VERSIONS[1:], artifacts, strict=True), 1):
            await swapping.some_work()
            pointers(tmp_path, pointer(artifact, version, epoch, previous=before[0], previous_version=before[1]))
            before = artifact, version
            await swapping.amid_a_swap(version)
            await asyncio.sleep(rng.random() * 2 * LOAD_SECONDS)
            await asyncio.to_thread(_kill, swapping.process)
            swapping.process.start()
            await swapping.served(epoch)
        await swapping.some_work()
        await swapping.end()
    finally:
        await asyncio.to_thread(_kill, swapping.process)
    told = await _judge(tmp_path, killed=True)
    assert {one.state for one in told} == {"serving"}
    assert told[-1].epoch == len(artifacts)


def _kill(process: PrelabelProcess) -> None:
    if process.alive:
        process.signal(signal.SIGKILL)
        process.wait(60.0)
