"""What a model says about the hold-out: in a process of its own, aligned as inference aligns it."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from prelabel_contract.names import Lane
from prelabel_contract.projects import ModelSpec, Project, Question
from pydantic import JsonValue

from ..align import Aligner, Unreadable, as_trained
from ..base import Failed, Input
from ..models.workspace import AnswerLine, ExampleLine
from ..predictor import Told, key_of
from ..uncertainty import uncertainty
from ..worker.worker import ModelWorker, WorkerLimits

RECORDS = 256
"""Tasks that are asked about at once."""


class TooSlow(Exception):
    """A model takes longer than it may."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Asks models of one project's configuration."""

    provider: str
    python: str
    limits: WorkerLimits
    nice: int
    project: Project
    model: ModelSpec
    seconds: float
    """From the first question to the last answer: a process that starts and loads has its own limits."""

    async def answers(
        self, settings: Mapping[str, JsonValue], tasks: AsyncIterator[ExampleLine]
    ) -> AsyncGenerator[AnswerLine, None]:
        """What the model with these settings says about tasks, in their order.

        Raises `BadSettings` and `CannotStart` before the first one, and `TooSlow`.
        """
        worker = ModelWorker(self.provider, python=self.python, limits=self.limits)
        try:
            await worker.start()
            with suppress(OSError):  # it stands back as the training did
                os.setpriority(os.PRIO_PROCESS, worker.pid or 0, self.nice)
            kinds = (await worker.load(settings)).kinds
            model = self.model if settings == self.model.settings else as_trained(self.model)
            aligner, field = Aligner(self.project, model), self._field(kinds)
            until: float | None = None
            async for some in _portions(tasks):
                until = asyncio.get_running_loop().time() + self.seconds if until is None else until
                inputs = [Input(one.task, one.data, field) for one in some]
                try:
                    async with asyncio.timeout_at(until):
                        said = await worker.predict_each(key_of(settings), inputs, Lane.BULK)
                except TimeoutError:
                    raise TooSlow(f"did not answer the hold-out within {self.seconds:g} s") from None
                for one, answer in zip(some, said, strict=True):
                    yield _line(aligner, one, answer)
        finally:
            await asyncio.shield(worker.stop(grace=1.0))

    async def nothing(self, tasks: AsyncIterator[ExampleLine]) -> AsyncIterator[AnswerLine]:
        """The answers of a model that is not to be had: none about any task."""
        async for one in tasks:
            yield AnswerLine(task=one.task, regions=None)

    def _field(self, kinds: frozenset[str]) -> str:
        asked: Sequence[Question] = self.project.questions_of(self.model)
        return next((question.field for question in asked if question.kind in kinds), asked[0].field)


def _line(aligner: Aligner, task: ExampleLine, said: bytes | Told | Failed) -> AnswerLine:
    if isinstance(said, Failed):
        return AnswerLine(task=task.task, regions=None)
    told = said if isinstance(said, Told) else Told(said)
    try:
        regions = aligner.align(task.data, told.regions).regions
    except Unreadable:
        return AnswerLine(task=task.task, regions=None)
    doubt = uncertainty(regions) if told.uncertainty is None else told.uncertainty
    return AnswerLine(task=task.task, regions=regions, uncertainty=doubt)


async def _portions(tasks: AsyncIterator[ExampleLine]) -> AsyncIterator[list[ExampleLine]]:
    some: list[ExampleLine] = []
    async for one in tasks:
        some.append(one)
        if len(some) >= RECORDS:
            yield some
            some = []
    if some:
        yield some
