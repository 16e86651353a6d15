"""Processes that die around promotions: at each moment, how many versions serve?

The gate with everything around it on SQLite, killed at seams drawn at random: before and behind each call of the store,
of the folder and of the bus. Looked at each time one is passed. A process that really dies, at a moment that nobody
chooses, is in tests/failure/test_promotion_processes.py.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import running
from structlog.testing import capture_logs

from tests.benchmarks.case import Case, Figure, Turn, Values
from tests.benchmarks.learning.amounts import Amounts
from tests.benchmarks.stage import Stage
from tests.rig.judged import Scene, Seam, scene
from tests.rig.promotions import check, many_kills


def case(amounts: Amounts) -> Case:
    """So many kills in each round."""

    @contextmanager
    def start(stage: Stage) -> Iterator[list[Turn]]:
        def measure(seed: int) -> Values:
            folder = stage.folder / f"kills-{seed}"
            folder.mkdir()
            with capture_logs():  # thousands of lines about what is meant to happen
                return asyncio.run(_measure(folder, amounts.kills, seed))

        yield [Turn("kills", measure)]

    return Case("kills", FIGURES, start)


async def _measure(folder: Path, least: int, seed: int) -> Values:
    async with running(SqliteStore(folder / "store.db")) as store, scene(folder, store) as here:
        looks = _Looks(here)
        kills, trainings = await many_kills(here, Random(seed), least, looks.before)
    return {
        "kills.kills": kills,
        "kills.trainings": trainings,
        "kills.moments": looks.moments,
        "kills.wrong": looks.wrong,
    }


@dataclass(slots=True)
class _Looks:
    """Looks what serves, whenever something is about to happen or has just happened."""

    here: Scene
    moments: int = 0
    wrong: int = 0

    def before(self, seam: Seam) -> Seam:
        async def looked() -> None:
            self.moments += 1
            for project in self.here.numbers:
                try:
                    await check(self.here, project, done=False)
                except AssertionError:
                    self.wrong += 1
            await seam()

        return looked


FIGURES = (
    Figure("kills.kills", "kills", "of who judges and promotes, each at a seam drawn at random, until there are 100"),
    Figure("kills.trainings", "trainings", "on whose way they were: better ones, worse ones, some rolled back"),
    Figure("kills.moments", "moments", "at which somebody looked what serves, and what was told about it"),
    Figure("kills.wrong", "moments", "with no serving version, or two, or one that nobody knows", at_most=0),
)
