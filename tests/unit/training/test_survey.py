"""What there is to learn from, counted from what is stored, cheaply."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from prelabel_training.examples.lens import Lens
from prelabel_training.examples.shares import Shares
from prelabel_training.examples.survey import PAGE, Survey, Surveyed, Wanted

from .scene import MODEL, PROJECT, Scene, model, project, scene


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


async def survey(here: Scene, by: Survey | None = None, since: int = -1) -> Surveyed:
    by = by or Survey(here.store, Shares(here.documents, here.clock))
    lens = Lens.of(here.project, here.project.models[0])
    return (await by.of(here.project, {MODEL: Wanted(lens, since)}))[MODEL]


async def test_a_project_of_several_pages_is_counted_whole(here: Scene) -> None:
    tasks = [f"t{number:05}" for number in range(2 * PAGE + 7)]
    await here.annotate(*tasks)
    found = await survey(here)
    assert found.facts.examples == len(tasks)
    assert found.facts.cut == len(tasks) - 1


async def test_what_was_seen_before_counts_as_if_it_was_seen_now(here: Scene) -> None:
    by = Survey(here.store, Shares(here.documents, here.clock), remembered=3)
    await here.annotate(*"abcde")
    assert await survey(here, by) == await survey(here)
    await here.learner.annotations([here.said("a", "ham"), here.withdrawn("b"), here.said("c", skipped=True)])
    await here.task("d", "another text", revision=2)
    await here.delete("e")
    for _ in range(2):
        assert await survey(here, by) == await survey(here)
    assert (await survey(here)).facts.examples == 2


async def test_nothing_is_parsed_again_that_has_not_changed(here: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    by = Survey(here.store, Shares(here.documents, here.clock))
    await here.annotate(*"abcde")
    await survey(here, by)
    await here.learner.annotations([here.said("c", "ham")])
    seen: list[str] = []
    lesson = Lens.lesson

    def watched(self: Lens, annotations, task):  # type: ignore[no-untyped-def]
        seen.append(annotations[0].task)
        return lesson(self, annotations, task)

    monkeypatch.setattr(Lens, "lesson", watched)
    await survey(here, by)
    assert seen == ["c"]


async def test_examples_after_the_cut_are_new(here: Scene) -> None:
    await here.annotate(*"abcde")
    assert (await survey(here, since=4)).facts.new == 0
    await here.annotate("a", "f")
    assert (await survey(here, since=4)).facts.new == 2


async def test_each_model_sees_with_its_own_eyes_and_policies_differ(here: Scene) -> None:
    await here.annotate(*"abc", label="spam")
    await here.learner.annotations([here.said("a", "ham", by="bob"), here.said("a", "ham", by="cyd")])
    latest = (await survey(here)).facts.fingerprint
    await here.learner.annotations([here.said("a", "spam", by="dan")])
    assert (await survey(here)).facts.fingerprint != latest
    here.change(project(learning={"holdout": 0.0, "policy": "majority"}))
    tie = (await survey(here)).facts.fingerprint
    here.change(project(learning={"holdout": 0.0, "policy": "reviewed"}))
    none = await survey(here)
    assert (none.facts.examples, none.left_out) == (0, {"skipped": 3})
    assert tie not in (latest, none.facts.fingerprint)


async def test_tasks_and_annotations_of_another_project_are_not_ours(here: Scene) -> None:
    await here.annotate(*"abc")
    other = project(id="others", models=[model()])
    lens = Lens.of(other, other.models[0])
    found = (await Survey(here.store, Shares(here.documents, here.clock)).of(other, {MODEL: Wanted(lens)}))[MODEL]
    assert found.facts.examples == 0
    assert other.id != PROJECT


async def test_what_a_rebuild_put_in_place_is_looked_at(here: Scene) -> None:
    await here.annotate(*"abc")
    beside = await here.store.generation(1)
    kept = await here.store.tasks.get_many(["a", "c"])
    await beside.tasks.put(list(kept.values()))
    assert await here.store.generations.switch(0, 1)
    found = await survey(here)
    assert (found.facts.examples, found.left_out) == (2, {"unknown_task": 1})


async def test_others_have_their_turn_within_a_page(here: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await here.annotate(*(f"t{number:05}" for number in range(100)))
    looks, longest, lesson = 0, 0, Lens.lesson

    def counted(self: Lens, annotations, task):  # type: ignore[no-untyped-def]
        nonlocal looks, longest
        looks += 1
        longest = max(longest, looks)
        return lesson(self, annotations, task)

    async def others() -> None:
        nonlocal looks
        while True:
            looks = 0
            await asyncio.sleep(0)

    monkeypatch.setattr(Lens, "lesson", counted)
    other = asyncio.create_task(others())
    await survey(here)
    other.cancel()
    assert 0 < longest <= 20
