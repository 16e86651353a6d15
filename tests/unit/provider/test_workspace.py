"""A training's files: what is read is what was written, on any file system, and it goes when it is told to."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prelabel_contract.regions import Choice, Span
from prelabel_provider.models.manifest import Rules
from prelabel_provider.models.store import Models, Origin
from prelabel_provider.models.workspace import (
    CANDIDATE,
    EXAMPLES,
    HOLDOUT,
    AnswerLine,
    ExampleLine,
    Workspaces,
    read_lines,
)
from prelabel_provider.trainer import Example
from prelabel_runtime.errors import Unavailable


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "models") if request.param == "folder" else f"memory://{tmp_path.name}"


def examples(count: int) -> list[ExampleLine]:
    regions = (Span(start=0, end=3, labels=("NAME",), text="Ada", field="text", question="q"), Choice(labels=("x",)))
    return [
        ExampleLine.of(Example(f"task-{n}", {"text": f"Ada {n} 😀\n", "none": None, "deep": [{"a": 1.5}]}, regions))
        for n in range(count)
    ]


async def test_what_is_read_is_what_was_written(url: str, tmp_path: Path) -> None:
    there = Workspaces(url).of("mails", "ner", 1)
    written = examples(700)
    assert await there.write(EXAMPLES, written) == 700
    assert [one async for one in there.read(EXAMPLES)] == written
    await there.download(EXAMPLES, tmp_path / "examples")
    assert [one.example for one in read_lines(tmp_path / "examples", ExampleLine)] == [one.example for one in written]


async def test_lines_may_come_from_elsewhere_one_by_one(url: str) -> None:
    async def coming() -> AsyncIterator[AnswerLine]:
        for n in range(300):
            yield AnswerLine(task=f"task-{n}", regions=None if n % 2 else (), uncertainty=0.5)

    there = Workspaces(url).of("mails", "ner", 1)
    assert await there.write(CANDIDATE, coming()) == 300
    read = [one async for one in there.read(CANDIDATE)]
    assert [one.regions for one in read[:3]] == [(), None, ()]
    assert len(read) == 300


async def test_the_same_lines_are_the_same_bytes(tmp_path: Path) -> None:
    spaces = Workspaces(str(tmp_path))
    for number in (1, 2):
        await spaces.of("mails", "ner", number).write(EXAMPLES, examples(3))
    first, second = (tmp_path / f"trainings/mails/ner/{n}/{EXAMPLES.name}" for n in (1, 2))
    assert first.read_bytes() == second.read_bytes()


async def test_a_workspace_goes_alone_and_a_second_time(url: str) -> None:
    spaces = Workspaces(url)
    mine, other = spaces.of("mails", "ner", 1), spaces.of("mails", "ner", 10)
    for there in (mine, other):
        await there.write(HOLDOUT, examples(1))
    await mine.remove()
    await mine.remove()
    with pytest.raises(FileNotFoundError):
        [one async for one in mine.read(HOLDOUT)]
    assert len([one async for one in other.read(HOLDOUT)]) == 1


async def test_the_model_store_takes_a_workspace_for_no_artifact(tmp_path: Path) -> None:
    url = str(tmp_path / "models")
    await Workspaces(url).of("mails", "ner", 1).write(HOLDOUT, examples(1))
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.json").write_text("{}")
    store = Models(url, tmp_path / "cache")
    artifact = await store.publish(
        tmp_path / "made", ["a.json"], Origin(seed=1, fingerprint="f"), Rules("ledger", frozenset({".json"}))
    )
    assert await store.published() == [artifact]
    assert not await store.retain({artifact}, 2**50)
    assert len([one async for one in Workspaces(url).of("mails", "ner", 1).read(HOLDOUT)]) == 1


async def test_a_place_that_fails_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(Unavailable):
        await Workspaces(str(tmp_path / "models")).of("mails", "ner", 1).write(HOLDOUT, examples(1))
