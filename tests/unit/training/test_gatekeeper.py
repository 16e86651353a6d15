"""The gate decides by today's truth, says why, and keeps what it refuses."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from prelabel_contract import cloudevents, names
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import (
    ModelPromoted,
    ModelRejected,
    ModelTrained,
    TrainingFailed,
    TrainingRequested,
    event,
)
from prelabel_contract.regions import Region
from prelabel_provider.models.workspace import SERVING, AnswerLine, Workspaces
from prelabel_provider.training.trainings import Trainings, TrainingState
from prelabel_runtime.bus.base import Partition
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import running
from prelabel_training.gate.judging import Case, judged
from prelabel_training.gate.overlooked import Overlooked
from prelabel_training.gate.reevaluation import MOST
from prelabel_training.registry.registry import Serving, Target
from prelabel_training.registry.versions import SETTINGS, VersionRecord, Versions

from tests.rig.judged import MODEL, PROVIDER, Scene, choice, said, scene


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(SqliteStore(tmp_path / "store.db")) as store, scene(tmp_path, store) as made:
        yield made


async def version(here: Scene, project: str, number: int) -> VersionRecord:
    """What was written down about a training's version."""
    found = await Versions(here.store.documents).get(project, MODEL, number)
    assert found is not None
    return found


async def moved(here: Scene, project: str, name: str = SETTINGS, artifact: str = "") -> None:
    """Somebody lets something else serve."""
    await here.registry().move(project, MODEL, Target(name, artifact, PROVIDER, "", "rolled_back", "key-1"))


async def test_the_first_version_serves_where_nothing_could_answer_before(here: Scene) -> None:
    project = await here.project()
    await here.deliver(await here.trained(project, right=20))
    pointer, known = await here.pointer(project), await version(here, project, 1)
    assert pointer is not None
    assert (pointer.version, pointer.epoch, pointer.by) == (known.version, 1, "gate")
    assert known.verdict.reason == "no_serving_version"
    assert known.report is not None
    assert known.report.overall.value == pytest.approx(20 / 30)
    assert known.report.overall.low < 20 / 30 < known.report.overall.high  # type: ignore[operator]
    assert {label.label for label in known.report.labels} == {"a", "b"}


async def test_the_model_as_its_settings_say_is_a_serving_version_if_it_could_answer(here: Scene) -> None:
    project = await here.project()
    trained = await here.trained(project, right=10)
    await here.serving_answers(project, right=29)
    await here.deliver(trained)
    known = await version(here, project, 1)
    assert await here.pointer(project) is None, "what serves goes on"
    assert (known.verdict.outcome, known.verdict.against_version) == ("refuse", SETTINGS)
    (rejected,) = here.told_of(project, ModelRejected)
    assert (rejected.version, rejected.reason, rejected.detail) == (known.version, "worse", known.verdict.text)


async def test_a_model_that_could_not_be_asked_is_no_serving_version(here: Scene) -> None:
    project = await here.project()
    trained = await here.trained(project, right=20)
    lines = [AnswerLine(task=here.task(project, one), regions=None) for one in range(30)]
    await Workspaces(str(here.folder)).of(project, MODEL, 1).write(SERVING, lines)
    await here.deliver(trained)
    assert (await version(here, project, 1)).verdict.reason == "no_serving_version"


async def test_what_is_true_today_decides_not_what_was_true_at_the_training(here: Scene) -> None:
    project = await here.project()
    trained = await here.trained(project, right=30)  # says a of every task
    await here.serving_answers(project, right=0)  # says b of every task
    uids = [here.task(project, one) for one in range(30)]
    await here.store.examples.put([said(project, uid, "b", 100 + place) for place, uid in enumerate(uids)])
    await here.deliver(trained)
    known = await version(here, project, 1)
    assert (known.verdict.outcome, known.verdict.score) == ("refuse", 0.0)


async def test_deleted_tasks_are_not_judged_by(here: Scene) -> None:
    project = await here.project(tasks=40)
    trained = await here.trained(project, right=30, tasks=40)
    gone = [here.task(project, one) for one in range(30, 40)]
    await here.store.tasks.delete(gone)
    await here.store.examples.forget(gone)
    await here.deliver(trained)
    known = await version(here, project, 1)
    assert known.report is not None
    assert (known.report.tasks, known.report.overall.value) == (30, 1.0)


async def test_only_tasks_that_both_answered_are_compared(here: Scene) -> None:
    project = await here.project(tasks=40)
    trained = await here.trained(project, right=40, tasks=40)
    await here.serving_answers(project, right=20, tasks=35)
    await here.deliver(trained)
    known = await version(here, project, 1)
    assert known.verdict.compared is not None
    assert (known.verdict.outcome, known.verdict.compared.tasks) == ("promote", 35)


async def test_the_same_case_is_judged_alike(here: Scene) -> None:
    project = await here.project()
    await here.deliver(await here.trained(project, right=25))
    trained = await here.trained(project, right=28)
    await here.serving_answers(project, right=25)
    await here.deliver(trained)
    known = await version(here, project, 2)
    row = here.projects.get(project)
    assert row is not None
    truth = {here.task(project, one): said_regions("a") for one in range(30)}
    answers = [{here.task(project, one): said_regions("ab"[one >= right]) for one in range(30)} for right in (28, 25)]
    against = Serving(known.verdict.against_version, known.verdict.against_artifact, known.verdict.against_epoch)
    questions = row.project.label_set.questions
    again = judged(Case(known.training, questions, truth, answers[0], answers[1], against, 0.01, {}, {}))
    assert again == (known.verdict, known.report)


def said_regions(label: str) -> tuple[Region, ...]:
    """One choice."""
    return (choice(label),)


async def test_below_the_minimum_the_trainers_own_figures_decide_and_that_is_said(here: Scene) -> None:
    project = await here.project(tasks=8)
    figures = {"accuracy": 0.9, "examples": 60.0}
    trained = await here.trained(project, right=7, tasks=8, metrics=figures)
    await here.serving_answers(project, right=4, tasks=8)
    await here.deliver(trained)
    known = await version(here, project, 1)
    assert known.provisional
    assert (known.verdict.outcome, known.verdict.basis) == ("provisional", "trainer")
    assert "8 hold-out tasks are too few" in known.verdict.text
    (promoted,) = here.told_of(project, ModelPromoted)
    assert promoted.provisional


@pytest.mark.parametrize(
    ("right", "before", "figures", "reason"),
    [
        (2, 7, {"accuracy": 0.9, "examples": 60.0}, "worse"),  # on the few tasks that there are
        (5, 5, {"accuracy": 0.5, "examples": 60.0}, "worse"),  # by its trainer's own figure
        (5, 5, {"accuracy": 0.9, "examples": 6.0}, "too_few"),
        (5, 5, {}, "too_few"),
    ],
)
async def test_below_the_minimum_what_serves_goes_on_unless_something_speaks_for_the_candidate(
    here: Scene, right: int, before: int, figures: dict[str, float], reason: str
) -> None:
    project = await here.project(tasks=8)
    trained = await here.trained(project, right=right, tasks=8, metrics=figures)
    await here.serving_answers(project, right=before, tasks=8)
    await here.deliver(trained)
    assert (await version(here, project, 1)).verdict.reason == reason
    assert await here.pointer(project) is None


async def test_a_version_compared_with_what_serves_no_more_is_compared_again(here: Scene) -> None:
    project = await here.project()
    await here.deliver(await here.trained(project, right=20))
    trained = await here.trained(project, right=28)
    await here.serving_answers(project, right=20)
    await moved(here, project)
    (asked,) = await here.deliver(trained)
    assert isinstance(asked.data, TrainingRequested)
    record = await Trainings(here.store.documents, here.clock).get(project, MODEL, 2)
    assert record is not None
    assert (record.state, record.serving_version, record.serving_epoch) == (TrainingState.EVALUATING, SETTINGS, 2)
    assert record.artifact == trained.data.artifact, "nothing is trained again"
    assert await Versions(here.store.documents).get(project, MODEL, 2) is None
    (again,) = await here.deliver(trained)
    assert again.id == asked.id, "it asks for the same once more"
    assert record in await Trainings(here.store.documents, here.clock).owed(PROVIDER)


async def test_a_version_that_cannot_be_compared_in_time_waits_for_people(here: Scene) -> None:
    project = await here.project()
    trained = await here.trained(project, right=28)
    trainings = Trainings(here.store.documents, here.clock)
    for number in range(MOST + 1):
        await moved(here, project, f"{number + 50}-abc", f"{number:064d}")
        replies = await here.deliver(trained)
        record = await trainings.take(trained.data.training, "holder", 60.0)
        if record is not None:
            await trainings.save(record.but(state=TrainingState.TRAINED))
    assert isinstance(replies[0].data, ModelRejected)
    assert (await version(here, project, 1)).verdict.reason == "overtaken"


async def test_a_rollback_to_the_same_artifact_asks_for_no_new_comparison(here: Scene) -> None:
    project = await here.project()
    await here.deliver(await here.trained(project, right=20))
    served = await version(here, project, 1)
    trained = await here.trained(project, right=30)
    await here.serving_answers(project, right=20)
    await moved(here, project)
    await moved(here, project, served.version, served.artifact)
    await here.deliver(trained)
    pointer = await here.pointer(project)
    assert pointer is not None
    assert (pointer.epoch, pointer.version) == (4, (await version(here, project, 2)).version)


async def test_a_version_of_a_model_that_is_gone_is_kept_with_the_reason(here: Scene) -> None:
    project = await here.project()
    await here.deliver(await here.trained(project, right=30, provider="spacy"))
    assert (await version(here, project, 1)).verdict.reason == "model_gone"
    assert await here.pointer(project) is None


async def test_a_version_without_answers_is_kept_with_the_reason(here: Scene) -> None:
    project = await here.project()
    trained = await here.trained(project, right=30)
    await Workspaces(str(here.folder)).of(project, MODEL, 1).remove()
    await here.deliver(trained)
    assert (await version(here, project, 1)).verdict.reason == "no_answers"


async def test_a_training_that_nobody_knows_is_no_ones_version(here: Scene) -> None:
    project = await here.project()
    trained = await here.trained(project, right=30)
    for name in ("nonsense", f"{project}/{MODEL}/77"):
        with pytest.raises(InvalidEvent):
            await here.gate().trained(trained._replace(data=trained.data.model_copy(update={"training": name})))


async def test_what_a_failed_training_had_of_tasks_goes(here: Scene) -> None:
    project = await here.project()
    trained = await here.trained(project, right=30, state=TrainingState.FAILED, artifact=None)
    folder = here.folder / "trainings" / project / MODEL / "1"
    assert list(folder.iterdir())
    failed = TrainingFailed(
        project=project, model=MODEL, provider=PROVIDER, training=trained.data.training, reason="crashed"
    )
    await here.gate().failed(event(failed, id="x", source="/t", time_ms=1))
    assert not folder.exists()


async def test_a_version_that_nobody_judged_is_told_of_again_a_few_times(here: Scene) -> None:
    project = await here.project()
    trained = await here.trained(project, right=30)
    overlooked = Overlooked(here.store.documents, here.bus, here.projects, here.clock, patience=60.0)

    async def heard() -> int:
        records = await here.bus.fetch(Partition(names.LEARNING, 0), 0, 100)
        told = [cloudevents.decode(one.headers, one.value, topic=one.topic, key=one.key) for one in records]
        return sum(one is not None and one.data == trained.data for one in told)

    await overlooked.look()
    assert await heard() == 0, "it may be on its way"
    for seconds, times in ((61, 1), (1, 1), (60, 2), (120, 3), (10_000, 3)):
        here.clock.advance(seconds)
        await overlooked.look()
        assert await heard() == times
    late = await here.project()
    trained = await here.trained(late, right=30)
    here.clock.advance(1_000_000)
    for seconds, times in ((0, 1), (15, 1), (15, 1), (29, 1), (1, 2), (60, 2), (60, 3)):  # as after a long outage
        here.clock.advance(seconds)
        await overlooked.look()
        assert await heard() == times
    other = await here.project()
    await here.deliver(await here.trained(other, right=30))
    here.clock.advance(1_000)
    await overlooked.look()
    assert await here.store.documents.get("overlooked", f"{other}/{MODEL}/00000001") is None


async def test_what_was_overlooked_is_told_of_in_the_order_in_which_it_was_trained(here: Scene) -> None:
    project = await here.project()
    for right in (20, 25, 30):
        await here.trained(project, right=right)
    here.clock.advance(61)
    await Overlooked(here.store.documents, here.bus, here.projects, here.clock, patience=60.0).look()
    records = await here.bus.fetch(Partition(names.LEARNING, 0), 0, 100)
    told = [cloudevents.decode(one.headers, one.value, topic=one.topic, key=one.key) for one in records]
    mine = [one.data for one in told if one is not None and isinstance(one.data, ModelTrained)]
    assert [one.version.split("-")[0] for one in mine if one.project == project] == ["1", "2", "3"]
