"""After a promotion open tasks are asked again: the most doubtful first, once, slowly, whoever dies meanwhile."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from prelabel_contract import cloudevents, names
from prelabel_contract.events import ModelLoaded, PredictionRequested, event
from prelabel_contract.names import Lane
from prelabel_runtime.bus.base import Committed, Partition
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.store.base import State
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import annotation, outcome, running
from prelabel_runtime.testing.store import task as stored
from prelabel_runtime.topics.spec import topic_spec
from prelabel_training.registry.registry import Target
from prelabel_training.registry.repredict import KIND, NOBODY, Pace, Repredicting, Wanting, Work, read, waits_for

from tests.rig.judged import MODEL, PROVIDER, Killed, Scene, SeamedDocuments, killing, scene

TOPIC = names.requests(PROVIDER, Lane.BULK)
PACE = Pace(queue=8, batch=4)
VERSION = "1-abc"


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(SqliteStore(tmp_path / "store.db")) as store, scene(tmp_path, store) as made:
        await made.bus.provision([topic_spec(TOPIC, 1), topic_spec(names.retry("g"), 1)])
        yield made


def asker(here: Scene) -> Repredicting:
    """A process that asks."""
    settings = RuntimeSettings(bus="sqlite:///none", store="sqlite:///none")
    runtime = Runtime(settings, here.bus, here.store, Metrics(), clock=here.clock)
    return Repredicting(runtime, here.registry(), here.projects, PACE)


async def promoted(here: Scene, project: str, name: str = VERSION) -> None:
    """A version serves, and has been loaded somewhere."""
    await here.registry().move(project, MODEL, Target(name, "a" * 64, PROVIDER, "", "promoted", "key-1"))
    await loaded(here, project)


async def loaded(here: Scene, project: str, state: str = "serving", host: str = "h") -> None:
    """A process that predicts says what it has loaded."""
    pointer = await here.pointer(project)
    assert pointer is not None
    said = ModelLoaded(
        project=project,
        model=MODEL,
        provider=PROVIDER,
        version=pointer.version,
        epoch=pointer.epoch,
        host=host,
        state=state,
    )
    wanting = Wanting(here.store.documents, here.registry(), here.projects)
    await wanting.loaded(event(said, id="x", source="/i", time_ms=1))


async def asked(here: Scene) -> list[PredictionRequested]:
    """Everything in the bulk lane, repetitions included."""
    found: list[PredictionRequested] = []
    for record in await here.bus.fetch(Partition(TOPIC, 0), 0, 1000):
        told = cloudevents.decode(record.headers, record.value, topic=TOPIC, key=record.key)
        assert told is not None
        assert isinstance(told.data, PredictionRequested)
        found.append(told.data)
    return found


async def answered(here: Scene, up_to: int) -> None:
    """The provider has answered so much of its lane."""
    group = names.inference_group(PROVIDER, Lane.BULK)
    consumer = here.bus.consumer((TOPIC,), group=group)

    async def nothing(_: object) -> None:
        return

    await consumer.start(on_assign=nothing, on_revoke=nothing)
    await consumer.poll(1, 0.1)
    await consumer.commit({Partition(TOPIC, 0): Committed(up_to)})
    await consumer.stop()


async def work(here: Scene, project: str) -> Work:
    """How far it is."""
    found = await here.store.documents.get(KIND, f"{project}/{MODEL}")
    assert found is not None
    return read(found)


async def doubts(here: Scene, project: str, doubts: dict[int, float | None]) -> None:
    """What the model said about tasks before, and how unsure it was."""
    await here.store.outcomes.put(
        [
            outcome(
                project,
                here.task(project, one),
                f"r-{one}",
                model=MODEL,
                state=State.CREATED,
                offset=one,
                uncertainty=doubt,
            )
            for one, doubt in doubts.items()
        ]
    )


async def test_open_tasks_are_asked_again_the_most_doubtful_first(here: Scene) -> None:
    project = await here.project(tasks=6)
    await doubts(here, project, {0: 0.2, 1: 0.9, 2: None, 3: 0.5, 4: 0.7})
    await here.store.annotations.put([annotation(project, here.task(project, 4), "a")])
    await promoted(here, project)
    process = asker(here)
    for _ in range(4):
        await process.look()
    found = await asked(here)
    # 5: nothing was said of it; 4 is annotated; 2: nothing to tell by.
    assert [one.task for one in found] == [here.task(project, one) for one in (5, 1, 3, 0, 2)]
    assert {(one.generation, one.lane, one.model) for one in found} == {(f"{MODEL}/1", Lane.BULK, MODEL)}
    ended = await work(here, project)
    assert (ended.state, ended.total, ended.asked) == ("done", 5, 5)
    assert not await here.store.documents.page("repredict_list", limit=10), "the list has gone"


async def test_requests_are_new_ones_of_the_same_input(here: Scene) -> None:
    project = await here.project(tasks=1)
    await promoted(here, project)
    process = asker(here)
    await process.look()
    await process.look()
    (found,) = await asked(here)
    row = here.projects.get(project)
    assert row is not None
    hashed = names.content_hash({"text": "words"})
    assert (found.data, found.input_hash, found.config) == ({"text": "words"}, hashed, row.config)
    ids = (found.task, found.input_hash, MODEL, row.config)
    assert found.request == names.request_id(*ids, found.generation) != names.request_id(*ids)


async def test_no_more_is_asked_than_the_lane_may_hold(here: Scene) -> None:
    project = await here.project(tasks=30)
    await promoted(here, project)
    process = asker(here)
    for _ in range(10):
        await process.look()
    assert len(await asked(here)) == PACE.queue
    await answered(here, 5)
    for _ in range(10):
        await process.look()
    assert len(await asked(here)) == PACE.queue + 5


async def test_a_task_that_is_annotated_meanwhile_is_not_asked(here: Scene) -> None:
    project = await here.project(tasks=6)
    await promoted(here, project)
    process = asker(here)
    await process.look()
    await process.look()
    assert len(await asked(here)) == 4
    await here.store.annotations.put([annotation(project, here.task(project, 5), "a")])
    for _ in range(3):
        await process.look()
    assert len(await asked(here)) == 5
    assert (await work(here, project)).asked == 5


async def test_whoever_dies_where_everything_is_asked_once(here: Scene) -> None:
    project = await here.project(tasks=7)
    await promoted(here, project)
    for number in range(1, 60):
        process = asker(here)
        process._documents = SeamedDocuments(here.store.documents, killing(number % 7 + 1))
        try:
            await process.look()
        except Killed:
            here.clock.advance(PACE.lease + 1)
        if (await work(here, project)).over:
            break
        await answered(here, len(await asked(here)))
    found = await asked(here)
    assert (await work(here, project)).state == "done"
    assert {one.task for one in found} == {here.task(project, one) for one in range(7)}
    assert len({one.request for one in found}) == 7, "asked twice, it is one request"


async def test_who_holds_it_is_not_disturbed(here: Scene) -> None:
    project = await here.project(tasks=20)
    await promoted(here, project)
    one, other = asker(here), asker(here)
    await one.look()
    await other.look()
    assert not await asked(here)
    await one.look()
    assert len(await asked(here)) == PACE.batch


async def test_a_newer_epoch_takes_the_place_of_an_older_one(here: Scene) -> None:
    project = await here.project(tasks=20)
    await promoted(here, project)
    process = asker(here)
    await process.look()
    await process.look()
    await promoted(here, project, "2-def")
    for _ in range(3):
        await process.look()
    assert [one.generation for one in await asked(here)] == [f"{MODEL}/1"] * 4 + [f"{MODEL}/2"] * 4
    lists = await here.store.documents.page("repredict_list", limit=10)
    assert [one.key for one in lists] == [f"{project}/{MODEL}/2/00000000"]


async def test_what_serves_no_more_is_not_asked(here: Scene) -> None:
    project = await here.project(tasks=20)
    await promoted(here, project)
    process = asker(here)
    await process.look()
    await here.registry().move(project, MODEL, Target("settings", "", PROVIDER, "", "rolled_back", "key-1"))
    await process.look()
    assert (await work(here, project)).state == "overtaken"
    assert not await asked(here)


async def test_a_project_may_want_nothing_asked_again(here: Scene) -> None:
    project = await here.project(tasks=20, repredict="none")
    await promoted(here, project)
    await asker(here).look()
    assert await here.store.documents.get(KIND, f"{project}/{MODEL}") is None


async def test_a_version_that_was_refused_is_asked_nothing(here: Scene) -> None:
    project = await here.project(tasks=2)
    await here.registry().move(project, MODEL, Target("1-a", "a" * 64, PROVIDER, "", "promoted", "key-1"))
    await loaded(here, project, "refused")
    await asker(here).look()
    assert await here.store.documents.get(KIND, f"{project}/{MODEL}") is None


async def test_the_same_process_that_says_it_again_begins_nothing_anew(here: Scene) -> None:
    project = await here.project(tasks=2)
    await promoted(here, project)
    process = asker(here)
    for _ in range(3):
        await process.look()
    before = await work(here, project)
    await loaded(here, project)
    await process.look()
    assert await work(here, project) == before


async def said_by(here: Scene, project: str, versions: dict[int, str | None]) -> None:
    """The versions that answered what was asked again about tasks; None: not yet."""
    requests = {one.task: one.request for one in await asked(here)}
    await here.store.outcomes.put(
        [
            outcome(
                project,
                here.task(project, one),
                requests[here.task(project, one)],
                model=MODEL,
                state=State.PENDING if version is None else State.CREATED,
                offset=100 + one,
                version=version,
            )
            for one, version in versions.items()
        ]
    )


async def asked_from(here: Scene, project: str, process: Repredicting, first: int) -> list[tuple[str, str]]:
    """Tasks and generations that are asked from the given request on, when all that can be is done."""
    done = -1
    for _ in range(6):
        await process.look()
        if (now := len(await asked(here))) != done:
            await answered(here, done := now)
    assert (await work(here, project)).state == "done"
    return sorted((one.task, one.generation) for one in (await asked(here))[first:])


@pytest.mark.parametrize("looks", [2, 4], ids=["meanwhile", "afterwards"])
async def test_what_processes_answered_before_they_had_the_version_is_asked_once_more(here: Scene, looks: int) -> None:
    project = await here.project(tasks=5)
    await promoted(here, project)
    process = asker(here)
    for _ in range(looks):
        await process.look()
    first = len(await asked(here))
    assert ((await work(here, project)).state, first) == (("asking", 4) if looks == 2 else ("done", 5))
    await said_by(here, project, {0: VERSION, 1: "0-old", 2: None, 3: VERSION})
    for host in ("late", "later", "late"):
        await loaded(here, project, host=host)
    await answered(here, first)
    rest = [(here.task(project, 4), f"{MODEL}/1")] if looks == 2 else []
    assert await asked_from(here, project, process, first) == rest, "the others are asked first"
    here.clock.advance(31)
    again = [(here.task(project, 1), f"{MODEL}/1/1")]
    assert await asked_from(here, project, process, 5) == again, "2 waits, and 4 has no other answer"
    await loaded(here, project, host="last")
    here.clock.advance(500)
    assert await asked_from(here, project, process, 6) == []
    here.clock.advance(101)
    assert await asked_from(here, project, process, 6) == [(here.task(project, 1), f"{MODEL}/1/2")]


async def test_a_version_that_is_tried_again_is_asked_only_what_it_has_not_answered(here: Scene) -> None:
    project = await here.project(tasks=3)
    await promoted(here, project)
    process = asker(here)
    assert len(await asked_from(here, project, process, 0)) == 3
    await said_by(here, project, {0: VERSION, 1: "0-old", 2: VERSION})
    again = Target(VERSION, "a" * 64, PROVIDER, "", "promoted", "key-1", refused_epoch=1)
    await here.registry().move(project, MODEL, again)
    await loaded(here, project)
    assert await asked_from(here, project, process, 3) == [(here.task(project, 1), f"{MODEL}/2/1")]


async def test_a_failed_answer_is_not_asked_for_in_later_rounds(here: Scene) -> None:
    project = await here.project(tasks=1)
    await promoted(here, project)
    process = asker(here)
    await asked_from(here, project, process, 0)
    (request,) = await asked(here)
    failed = outcome(project, request.task, request.request, model=MODEL, state=State.FAILED, offset=9, version=None)
    await here.store.outcomes.put([failed])
    await loaded(here, project, host="late")
    here.clock.advance(31)
    assert await asked_from(here, project, process, 1) == []


async def test_a_word_while_it_is_listed_does_not_make_it_list_anew(here: Scene) -> None:
    project = await here.project(tasks=1)
    await promoted(here, project)
    before = await here.store.documents.get(KIND, f"{project}/{MODEL}")
    await loaded(here, project, host="late")
    assert await here.store.documents.get(KIND, f"{project}/{MODEL}") == before


async def test_a_process_that_lost_the_version_for_a_while_came_late(here: Scene) -> None:
    project = await here.project(tasks=1)
    await promoted(here, project)
    process = asker(here)
    await asked_from(here, project, process, 0)
    await said_by(here, project, {0: "0-old"})
    await loaded(here, project)
    assert not (await work(here, project)).late
    await loaded(here, project, "refused")
    await loaded(here, project)
    here.clock.advance(31)
    assert len(await asked_from(here, project, process, 1)) == 1


async def test_of_records_that_do_not_say_who_has_it_the_first_word_begins_nothing(here: Scene) -> None:
    project = await here.project(tasks=1)
    await promoted(here, project)
    await asked_from(here, project, asker(here), 0)
    found = await here.store.documents.get(KIND, f"{project}/{MODEL}")
    assert found is not None
    body = read(found).but(hosts=None).model_dump_json(exclude_none=True)
    await here.store.documents.put(KIND, found.key, body, expected=found.revision)
    await loaded(here, project, host="h")
    assert (await work(here, project)).hosts == ("h",)
    assert not (await work(here, project)).late


async def test_where_the_settings_serve_nobody_is_asked_once_more(here: Scene) -> None:
    project = await here.project(tasks=2)
    await here.registry().move(project, MODEL, Target("settings", "", PROVIDER, "", "rolled_back", "key-1"))
    await loaded(here, project)
    process = asker(here)
    for _ in range(3):
        await process.look()
    await loaded(here, project, host="late")
    await process.look()
    assert ((await work(here, project)).state, len(await asked(here))) == ("done", 2)


async def test_a_deleted_task_is_not_asked(here: Scene) -> None:
    project = await here.project(tasks=3)
    await promoted(here, project)
    process = asker(here)
    await process.look()
    await here.store.tasks.delete([here.task(project, 1)])
    await process.look()
    assert {one.task for one in await asked(here)} == {here.task(project, 0), here.task(project, 2)}


async def test_where_nobody_predicts_yet_it_waits(here: Scene) -> None:
    project = await here.project(tasks=3)
    await promoted(here, project)
    process = asker(here)
    await process.look()
    assert await waits_for(here.bus, "nobody") >= NOBODY
    assert (await work(here, project)).state == "asking"


async def test_a_task_that_cannot_be_read_ends_its_own_models_work_only(here: Scene) -> None:
    broken, other = await here.project(tasks=2), await here.project(tasks=2)
    await here.store.tasks.put([stored(broken, here.task(broken, 0), revision=9, body="no JSON")])
    for project in (broken, other):
        await promoted(here, project)
    process = asker(here)
    for _ in range(4):
        await process.look()
    assert ((await work(here, broken)).state, (await work(here, other)).state) == ("failed", "done")
