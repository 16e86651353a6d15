"""From annotations to one current example per task.

Which annotation is the example, and how many examples there are, is derived from the stored annotations: each is kept
under its own id at its newest version, so a redelivery, or an old version that comes late, changes no count.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prelabel_contract.events import AnnotationDeleted, AnnotationSubmitted, Event, TaskDeleted
from prelabel_runtime.service import Reply
from prelabel_runtime.store.annotations import stored_annotation
from prelabel_runtime.store.base import Examples

from .examples.heard import Hearing
from .quality.verdicts import Verdicts

DONE: Reply = ()


@dataclass(frozen=True, slots=True)
class Learner:
    """Keeps what people said, for training."""

    examples: Examples
    verdicts: Verdicts
    hearing: Hearing
    """Told how far the annotations are, so that a training can name what it learned from."""
    wake: Callable[[Iterable[str]], None]
    """Told of which projects something was stored."""

    async def annotations(self, batch: Sequence[Event[AnnotationSubmitted | AnnotationDeleted]]) -> Sequence[Reply]:
        """Annotations, changed and withdrawn ones included."""
        last: dict[str, int] = {}
        for one in batch:
            last[one.data.project] = max(one.offset, last.get(one.data.project, -1))
        async with self.hearing.writing(last):
            await self.examples.put([stored_annotation(e) for e in batch])
        await self.verdicts.annotations(batch)
        self.wake(last)
        return [DONE] * len(batch)

    async def tasks_deleted(self, batch: Sequence[Event[TaskDeleted]]) -> Sequence[Reply]:
        """What is deleted is not learned from."""
        await self.examples.forget([e.data.task for e in batch])
        await self.verdicts.tasks_deleted(batch)
        projects = {e.data.project for e in batch}
        await self.hearing.changed(projects)
        self.wake(projects)
        return [DONE] * len(batch)
