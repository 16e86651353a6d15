"""What a training is given, written down: its examples and hold-out as files, then its record, which settles it.

All of it may be done again after a crash, by anybody: files are replaced as long as there is no record; once there is
one it holds for good, whatever is stored meanwhile.
"""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from prelabel_contract.blobs import BlobRef
from prelabel_contract.events import ProjectChanged
from prelabel_contract.projects import ModelSpec, Project
from prelabel_provider.models.workspace import EXAMPLES, HOLDOUT, ExampleLine, Workspaces
from prelabel_provider.training.trainings import TrainingRecord, Trainings, TrainingState, training_id
from prelabel_runtime import log
from prelabel_runtime.blobs import BlobError, Blobs
from prelabel_runtime.clock import Clock
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.store.base import Store

from ..examples.fingerprint import fingerprint
from ..examples.heard import Hearing
from ..examples.holdout import in_holdout
from ..examples.lens import Left, Lens, Lesson
from ..examples.shares import Shares
from ..examples.survey import annotated_tasks
from ..registry.registry import Registry, serving
from .rules import training_of
from .triggers import Training

_log = log.get("prelabel.training")
_PAUSE_SECONDS: Final = 0.5
_TRIES: Final = 5
"""To read what was said without anybody of another process writing meanwhile."""


@dataclass(slots=True)
class _Written:
    """What went into a workspace."""

    examples: list[tuple[str, str]]
    holdout: int
    cut: int
    left_out: Counter[str]


StillOurs = Callable[[], Awaitable[bool]]
"""Whether it is still ours to prepare a training: asked before anything of it is put where others find it."""


class _NotOurs(Exception):
    """Another has taken it up."""


class Preparing:
    """Prepares trainings."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        workspaces: Workspaces,
        hearing: Hearing,
        shares: Shares,
        registry: Registry,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._workspaces = workspaces
        self._hearing = hearing
        self._shares = shares
        self._registry = registry
        self._clock = clock
        self._metrics = metrics
        self.trainings = Trainings(store.documents, clock)

    async def request(
        self, row: ProjectChanged, model: ModelSpec, training: Training, still_ours: StillOurs
    ) -> TrainingRecord | None:
        """The record of a training, written if there is none yet. None: it was taken from us meanwhile."""
        project = row.project
        found = await self.trainings.get(project.id, model.name, training.number)
        if found is not None:
            return found
        share = await self._shares.settle(project)
        try:
            written = await self._write(project, model, training, share, still_ours)
        except _NotOurs:
            return None
        record = await self._record(row, model, training, written)
        requested = await self.trainings.request(record)
        for reason, count in written.left_out.items():
            self._metrics.examples_left_out.labels(reason).inc(count)
        _log.info(
            "training prepared",
            project=project.id, model=model.name, number=training.number, examples=requested.examples,
            holdout=requested.holdout, left_out=written.left_out.total(), cut=requested.cut,
        )  # fmt: skip
        return requested

    async def cancel(self, row: ProjectChanged, model: ModelSpec, training: Training) -> TrainingRecord:
        """End a training's record; where there is none yet it is written as ended, so that nobody begins it."""
        name = training_id(row.project.id, model.name, training.number)
        nothing = _Written([], 0, training.cut, Counter())
        now = self._clock.now_ms()
        ended = (await self._record(row, model, training, nothing)).but(
            state=TrainingState.CANCELLED,
            cancel=True,
            fingerprint=training.fingerprint,
            reason="cancelled",
            detail="it was cancelled before it was asked for",
            ended_ms=now,
        )
        there = await self.trainings.request(ended)
        return await self.trainings.cancel(name) or there

    # -------------------------------------------------------------------------------------------------------- files

    async def _write(
        self, project: Project, model: ModelSpec, training: Training, share: float, still_ours: StillOurs
    ) -> _Written:
        """The files. Nobody of this process writes annotations meanwhile; if one of another does, again."""
        lens = Lens.of(project, model)
        tries = 1
        while True:
            async with self._hearing.still(project.id):
                before = await self._hearing.position(project.id)
                written = await self._files(project, lens, model.name, training.number, share, still_ours)
                after = await self._hearing.position(project.id)
            if before == after and before.settled:
                written.cut = max(written.cut, before.done)
                return written
            if tries == _TRIES:
                _log.warning("a training's cut is not exact: others kept writing", project=project.id, model=model.name)
                return written
            tries += 1
            await self._clock.sleep(_PAUSE_SECONDS)  # let go: who writes may be this process, in trouble

    async def _files(
        self, project: Project, lens: Lens, model: str, number: int, share: float, still_ours: StillOurs
    ) -> _Written:
        workspace = self._workspaces.of(project.id, model, number)
        examples = _Written([], 0, -1, Counter())
        lines = self._lines(project.id, lens, share, held_out=False, written=examples)
        await workspace.write(EXAMPLES, _ending(lines, still_ours))
        holdout = _Written([], 0, -1, Counter())
        lines = self._lines(project.id, lens, share, held_out=True, written=holdout)
        examples.holdout = await workspace.write(HOLDOUT, _ending(lines, still_ours))
        if not await still_ours():
            raise _NotOurs
        return examples

    async def _lines(
        self, project: str, lens: Lens, share: float, *, held_out: bool, written: _Written
    ) -> AsyncIterator[ExampleLine]:
        async for rows in annotated_tasks(self._store, project):
            for uid, task, said in rows:
                written.cut = max(written.cut, *(one.offset for one in said))
                if in_holdout(project, uid, share) is not held_out:
                    continue
                lesson = lens.lesson(said, task)
                line = lesson if isinstance(lesson, Left) else await self._line(project, lesson)
                if isinstance(line, ExampleLine):
                    yield line
                else:
                    written.left_out[str(line)] += 1
                if isinstance(lesson, Lesson):
                    written.examples.append((uid, lesson.seen.content))

    async def _line(self, project: str, lesson: Lesson) -> ExampleLine | str:
        refs = {name: BlobRef.model_validate(ref) for name, ref in lesson.blobs.items()}
        try:
            data = await self._blobs.whole(project, lesson.task, lesson.data, refs)
        except BlobError as error:
            return f"blob_{error.reason}"
        return ExampleLine(task=lesson.task, data=data, regions=lesson.regions)

    # ------------------------------------------------------------------------------------------------------- record

    async def _record(
        self, row: ProjectChanged, model: ModelSpec, training: Training, written: _Written
    ) -> TrainingRecord:
        said = training_of(model)
        serves = serving(await self._registry.pointer(row.project.id, model.name), model.provider)
        name = training_id(row.project.id, model.name, training.number)
        record = TrainingRecord(
            training=name,
            project=row.project.id,
            model=model.name,
            provider=model.provider,
            number=training.number,
            config=row.config,
            cut=max(0, written.cut),
            fingerprint=fingerprint(written.examples),
            examples=len(written.examples),
            holdout=written.holdout,
            seed=seed_of(name),
            start=said.start,
            base=(serves.artifact or None) if said.start == "serving" else None,
            serving_version=serves.version,
            serving_artifact=serves.artifact,
            serving_epoch=serves.epoch,
            settings=said.settings,
            time_seconds=said.time_seconds,
            memory_mib=said.memory_mib,
            requested_ms=training.requested_ms,
        )
        left = ", ".join(f"{count} {reason}" for reason, count in sorted(written.left_out.items()))
        lines = (
            f"asked for ({training.reason}): {record.examples} examples up to annotation {record.cut}",
            f"held out: {record.holdout}; left out: {left or 'none'}",
        )
        return record.told(training.requested_ms, *lines)


async def _ending(lines: AsyncIterator[ExampleLine], still_ours: StillOurs) -> AsyncIterator[ExampleLine]:
    """The lines, and then whether they may be put where the others' are. Raises `_NotOurs`."""
    async for line in lines:
        yield line
    if not await still_ours():
        raise _NotOurs


def seed_of(training: str) -> int:
    """The seed of a training, by its name: 0 to 2^32 - 1."""
    return int.from_bytes(hashlib.sha256(b"seed\0" + training.encode()).digest()[:4], "big")
