"""The learning curve that the signal to stop looks at: scores of one hold-out where there are such."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from prelabel_contract.limits import SCORED_TASKS
from prelabel_contract.projects import Project
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.store import running
from prelabel_training.registry.curves import Curves
from prelabel_training.registry.versions import Compared, Figure, Figures, Judgement, VersionRecord, Versions

QUESTION = {"name": "topic", "kind": "choice", "field": "text", "labels": ["a", "b"], "multiple": False}
PROJECT = Project.model_validate({"id": "mails", "label_set": {"questions": [QUESTION]}, "models": []})
NONE = Figure()


@pytest_asyncio.fixture
async def versions(tmp_path: Path) -> AsyncIterator[Versions]:
    async with running(SqliteStore(tmp_path / "store.db")) as store:
        yield Versions(store.documents)


def version(
    number: int, score: float, *, against: int | None = None, then: float = 0.0, tasks: int = 40
) -> VersionRecord:
    """A version with its score; `then`: what the one that served scored on the same tasks."""
    overall = Figure(value=score, low=score - 0.05, high=score + 0.05)
    report = Figures(
        metric="micro_f1",
        overall=overall,
        tasks=tasks,
        tp=1,
        fp=1,
        fn=1,
        precision=NONE,
        recall=NONE,
        f1=NONE,
        macro_f1=NONE,
    )
    verdict = Judgement(outcome="promote", reason="better", text=".", metric="micro_f1")
    if against is not None:
        pair = Compared(tasks=tasks, serving=then, candidate=score, difference=score - then, lower=0.0, upper=0.1)
        served = {"against_version": f"{against}-a", "against_artifact": f"a{against}"}
        verdict = verdict.model_copy(update={"compared": pair, **served})
    return VersionRecord(
        version=f"{number}-a",
        number=number,
        project="mails",
        model="ner",
        provider="spacy",
        training="t",
        artifact=f"a{number}",
        examples=100 * number,
        report=report,
        verdict=verdict,
        judged_ms=number,
    )


async def test_what_the_newest_was_compared_with_counts_with_its_score_on_the_same_tasks(versions: Versions) -> None:
    made = (version(1, 0.5), version(2, 0.7, against=1, then=0.4), version(3, 0.8, against=2, then=0.6))
    for one in made:
        await versions.insert(one)
    found = await Curves(versions).points(PROJECT, "ner")
    assert [(one.examples, one.score, one.alike) for one in found] == [
        (100, 0.5, False),
        (200, 0.6, True),
        (300, 0.8, True),
    ]


async def test_where_the_newest_was_compared_with_none_of_them_each_has_its_own_score(versions: Versions) -> None:
    for one in (version(1, 0.5), version(2, 0.7), version(3, 0.9, tasks=SCORED_TASKS - 1)):
        await versions.insert(one)
    found = await Curves(versions).points(PROJECT, "ner")
    assert [(one.score, one.alike) for one in found] == [(0.5, False), (0.7, True)]
    assert await Curves(versions).points(PROJECT, "other") == []
