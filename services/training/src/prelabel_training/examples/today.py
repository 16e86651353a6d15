"""What is true of the hold-out's tasks today: their examples by the project's policy, as everything is now."""

from collections.abc import Collection, Mapping

from prelabel_contract.projects import ModelSpec, Project
from prelabel_contract.regions import Region
from prelabel_runtime.store.base import Store

from .lens import Lens, Lesson
from .survey import annotated_tasks


async def truths(
    store: Store, project: Project, model: ModelSpec, tasks: Collection[str]
) -> Mapping[str, tuple[Region, ...]]:
    """What is true of some tasks, as far as a model is asked about it.

    Nothing of a task that was deleted, has no example any more, or one that does not fit its data or the label set.
    """
    wanted, lens = frozenset(tasks), Lens.of(project, model)
    found: dict[str, tuple[Region, ...]] = {}
    async for rows in annotated_tasks(store, project.id):
        for uid, task, said in rows:
            if uid in wanted and isinstance(lesson := lens.lesson(said, task), Lesson):
                found[uid] = lesson.regions
    return found
