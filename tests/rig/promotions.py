"""A promotion on its way, killed where somebody likes, and what must hold whenever somebody looks.

On `judged.Scene`: the gate with everything around it, on a real store. Used by tests, and measured by the benchmarks.
"""

import random
from collections.abc import Awaitable, Callable

from prelabel_contract.events import Event as Told
from prelabel_contract.events import ModelPromoted, ModelRejected, ModelServing, ModelTrained, TrainingRequested
from prelabel_provider.training.trainings import Trainings, TrainingState
from prelabel_runtime.testing.store import fresh
from prelabel_training.registry.registry import Target, told
from prelabel_training.registry.versions import SETTINGS, Versions

from tests.rig.judged import MODEL, PROVIDER, Counting, Killed, Scene, Seam, killing


async def first(here: Scene) -> tuple[str, Told[ModelTrained]]:
    """The first version of a model that could say nothing before."""
    project = await here.project()
    return project, await here.trained(project, right=25)


def back(here: Scene, project: str) -> Callable[[], Awaitable[object]]:
    """Somebody rolls the model back to its settings."""
    target = Target(SETTINGS, "", PROVIDER, "", "rolled_back", "key-1", detail="by hand")
    return lambda: here.registry().move(project, MODEL, target)


async def many_kills(
    here: Scene, rng: random.Random, least: int, watched: Callable[[Seam], Seam] = lambda seam: seam
) -> tuple[int, int]:
    """Trainings come, better ones and worse ones, and now and then somebody rolls back, until so many processes died on
    their way; how many did, and how many trainings there were. `watched`: of each seam, what stands in its place.
    """
    kills, trainings = 0, 0
    project, trained = await first(here)
    while kills < least:
        kills += await killed_at_random(here, project, trained, lambda: watched(killing(rng.randint(1, 24))))
        trainings += 1
        if rng.random() < 0.2:
            await back(here, project)()
        trained = await here.trained(project, right=rng.choice((15, 24, 28, 30)))
        await here.serving_answers(project, right=rng.choice((15, 20, 25)))
        if rng.random() < 0.3:
            await back(here, project)()
    await to_the_end(here, project, trained)
    await check(here, project)
    return kills, trainings


async def killed_at_random(here: Scene, project: str, trained: Told[ModelTrained], seam: Callable[[], Seam]) -> int:
    """Kill each process that takes up the record on its way, until one comes through; how many were killed."""
    kills = 0
    while True:
        try:
            await to_the_end(here, project, trained, seam)
        except Killed:
            kills += 1
            await check(here, project, done=False)
        else:
            await check(here, project)
            return kills


async def to_the_end(
    here: Scene, project: str, trained: Told[ModelTrained], seam: Callable[[], Seam] = Counting
) -> None:
    """What the processes that come after do: the record is delivered again, and what was not announced is."""
    trainings = Trainings(here.store.documents, here.clock)
    for _ in range(5):
        replies = await here.deliver(trained, seam())
        await announce(here, project)
        if not any(isinstance(one.data, TrainingRequested) for one in replies):
            return
        record = await trainings.get(project, MODEL, here.numbers[project])
        assert record is not None
        assert record.state is TrainingState.EVALUATING
        taken = await trainings.take(record.training, fresh("holder"), 60.0)
        assert taken is not None, "the trainer role finds it"
        await here.serving_answers(project, right=0 if record.serving_artifact == "" else 20)
        assert await trainings.save(taken.but(state=TrainingState.TRAINED)) is not None
    raise AssertionError("compared again and again")


async def announce(here: Scene, project: str) -> None:
    """As `Announcer` does."""
    found = await here.store.documents.get("serving", f"{project}/{MODEL}")
    if found is not None:
        await here.registry().announce(found)


async def check(here: Scene, project: str, *, done: bool = True, compacted: bool = False) -> None:
    """One version serves, now and in each epoch there was; at the end everybody knows. `compacted`: of what serves
    only the newest word is still there. Raises AssertionError.
    """
    pointer = await here.pointer(project)
    versions = {one.version: one for one in await Versions(here.store.documents).page(project, MODEL, limit=1000)}
    if pointer is not None:
        assert [one.epoch for one in pointer.changes] == list(range(1, pointer.epoch + 1)), "each epoch once"
        assert all(one.version in versions or one.version == SETTINGS for one in pointer.changes)
        assert (pointer.version, pointer.artifact) == (pointer.changes[-1].version, pointer.changes[-1].artifact)
    by_epoch: dict[int, str] = {}
    for one in here.told:
        if isinstance(one.data, ModelServing) and one.data.project == project:
            assert by_epoch.setdefault(one.data.epoch, one.data.version) == one.data.version, "one version per epoch"
    assert all(pointer is not None and pointer.change(epoch) is not None for epoch in by_epoch), "told before it was so"
    if not done:
        return
    assert len(versions) == here.numbers[project], "each training has its verdict"
    changes = () if pointer is None else pointer.changes
    assert compacted or sorted(by_epoch) == [one.epoch for one in changes], "every change was told"
    if pointer is not None:
        assert {one.id for one in told(pointer)} <= {one.id for one in here.told}
    promoted = {one.version: one for one in here.told_of(project, ModelPromoted)}
    rejected = {one.version: one for one in here.told_of(project, ModelRejected)}
    assert not promoted.keys() & rejected.keys(), "one verdict"
    assert promoted.keys() | rejected.keys() == versions.keys(), "told of every version"
    assert promoted.keys() == {one.version for one in changes if one.how == "promoted"}
    assert not list((here.folder / "trainings" / project).glob("*/*/*")), "what tasks said is not kept"
