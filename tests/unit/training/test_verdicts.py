"""What people made of suggestions is kept once, at its newest, and goes with what it was about."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from prelabel_contract.events import (
    AnnotationDeleted,
    Event,
    SuggestionAccepted,
    SuggestionCorrected,
    SuggestionRejected,
    TaskDeleted,
    event,
)
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_training.quality.verdicts import Became, Verdicts

WHOSE: dict[str, Any] = {"model": "ner", "provider": "spacy", "version": "1-abc"}


@pytest_asyncio.fixture
async def verdicts(tmp_path: Path) -> AsyncIterator[Verdicts]:
    store = SqliteStore(tmp_path / "results.db")
    await store.start()
    yield Verdicts(store.documents)
    await store.stop()


def told(
    kind: type[SuggestionAccepted] | type[SuggestionCorrected] | type[SuggestionRejected],
    at: int,
    annotation: str | None = "a",
    annotator: str = "eve",
) -> Event[Any]:
    data = kind(project="p", task="t", request="r", annotator=annotator, annotation=annotation, **WHOSE)
    return event(data, id=f"e{at}", source="/s", time_ms=at)._replace(offset=at)


def gone(at: int) -> Event[TaskDeleted]:
    return event(TaskDeleted(project="p", task="t"), id=f"d{at}", source="/s", time_ms=at)


async def kept(verdicts: Verdicts, project: str = "p") -> list[tuple[Became, str | None]]:
    return [(one.became, one.version) async for one in verdicts.of(project)]


async def test_the_newest_verdict_stays_in_whatever_order_and_however_often_they_are_told(verdicts: Verdicts) -> None:
    accepted, corrected = told(SuggestionAccepted, 1), told(SuggestionCorrected, 2)
    await verdicts.told([corrected, accepted, corrected])
    assert await kept(verdicts) == [(Became.CORRECTED, "1-abc")]
    assert await kept(verdicts, "another") == []


async def test_everybodys_verdict_is_kept(verdicts: Verdicts) -> None:
    await verdicts.told([told(SuggestionAccepted, 1), told(SuggestionAccepted, 2, "b")])
    await verdicts.told([told(SuggestionRejected, 3, None), told(SuggestionRejected, 4, None, "bob")])
    assert sorted(became for became, _ in await kept(verdicts)) == ["accepted"] * 2 + ["rejected"] * 2


async def test_a_verdict_goes_with_its_annotation_and_does_not_come_back(verdicts: Verdicts) -> None:
    await verdicts.told([told(SuggestionAccepted, 1), told(SuggestionAccepted, 2, "b")])
    withdrawn = AnnotationDeleted(project="p", task="t", annotation="a", annotator="eve")
    await verdicts.annotations([event(withdrawn, id="x", source="/s", time_ms=3)])
    await verdicts.told([told(SuggestionAccepted, 1)])
    assert len(await kept(verdicts)) == 1


async def test_nothing_is_known_of_a_deleted_task_also_not_later(verdicts: Verdicts) -> None:
    await verdicts.told([told(SuggestionAccepted, 1), told(SuggestionRejected, 2, None)])
    await verdicts.tasks_deleted([gone(3)])
    await verdicts.told([told(SuggestionAccepted, 1), told(SuggestionCorrected, 4, "new")])
    assert await kept(verdicts) == []
