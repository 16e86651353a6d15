"""What the page reads of trainings and versions: leniently, and seldom where nothing is learned."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest_asyncio
from prelabel_projection.learning import LOG_LINES, STALE_SECONDS, TRAININGS, LearningSeen
from prelabel_runtime.store.documents import Documents
from prelabel_runtime.store.sqlite import SqliteStore
from prelabel_runtime.testing.doubles import ManualClock


@pytest_asyncio.fixture
async def documents(tmp_path: Path) -> AsyncIterator[Documents]:
    store = SqliteStore(tmp_path / "results.db")
    await store.start()
    yield store.documents
    await store.stop()


async def put(documents: Documents, kind: str, key: str, **body: Any) -> None:
    assert await documents.put(kind, key, orjson.dumps(body).decode(), expected=0) is not None


def report(value: float) -> dict[str, Any]:
    label = {"question": "q", "label": "a", "f1": {"value": value}}
    overall = {"value": value, "low": value - 0.1, "high": value + 0.1}
    return {"metric": "micro_f1", "overall": overall, "labels": [label], "tasks": round(100 * value)}


async def test_a_project_that_has_never_trained_is_looked_at_seldom(documents: Documents) -> None:
    clock = ManualClock()
    seen = LearningSeen(documents, clock)
    assert await seen.of("mails", ["ner"]) == ()
    await put(documents, "training", "mails/ner/00000001", number=1, state="requested")
    assert await seen.of("mails", ["ner"]) == ()
    clock.advance(STALE_SECONDS)
    [learning] = await seen.of("mails", ["ner"])
    assert (learning.serving, learning.versions) == ("settings", ())
    assert learning.training is not None
    assert learning.training.state == "requested"


async def test_the_curve_labels_and_acceptance_are_of_the_model(documents: Documents) -> None:
    await put(documents, "training", "mails/ner/00000002", number=2, state="trained")
    await put(documents, "version", "mails/ner/00000001", version="1-a", examples=10, report=report(0.4))
    await put(documents, "version", "mails/ner/00000002", version="2-b", examples=30, report=report(0.6))
    await put(documents, "version", "mails/ner/00000003", version="3-c", examples=31)
    await put(documents, "serving", "mails/ner", version="2-b", changes=[{"version": "2-b"}])
    for number, became in enumerate(("accepted", "accepted", "corrected")):
        verdict = {"model": "ner", "provider": "spacy", "version": "2-b", "became": became}
        await put(documents, "suggestion", f"mails/t/{number}", verdict=verdict)
    for number, version in enumerate(("3-c", "en-1")):
        verdict = {"model": "ner", "provider": "spacy", "version": version, "became": "rejected"}
        await put(documents, "suggestion", f"mails/u/{number}", verdict=verdict)
    await put(documents, "suggestion", "mails/t/gone", verdict=None)
    [learning] = await LearningSeen(documents, ManualClock()).of("mails", ["ner", "other"])
    assert [(one.version, one.score, one.served, one.tasks) for one in learning.versions] == [
        ("1-a", 0.4, False, 40),
        ("2-b", 0.6, True, 60),
        ("3-c", None, False, 0),
    ]
    assert [(one.label, one.f1, one.before) for one in learning.labels] == [("a", 0.6, 0.4)]
    assert [(one.version, one.accepted, one.corrected, one.rejected) for one in learning.acceptance] == [
        ("en-1", 0, 0, 1),
        ("2-b", 2, 1, 0),
        ("3-c", 0, 0, 1),
    ]
    taken = learning.acceptance[1]
    assert (taken.provider, taken.share, taken.edited, taken.refused) == ("spacy", 2 / 3, 1 / 3, 0)
    assert learning.training is None


async def test_the_latest_trainings_are_listed_and_the_newest_ones_log(documents: Documents) -> None:
    for number in range(1, TRAININGS + 2):
        ended = (
            {"state": "trained", "version": f"{number}-a"} if number % 2 else {"state": "failed", "detail": "no room"}
        )
        log = [[number, f"line {line} of {number}"] for line in range(LOG_LINES + 4)]
        log[-1] = [number]  # by who knows more, or less
        await put(documents, "training", f"mails/ner/{number:08}", number=number, examples=9, log=log, **ended)
    [learning] = await LearningSeen(documents, ManualClock()).of("mails", ["ner"])
    last = TRAININGS + 1
    assert [one.number for one in learning.trainings] == list(range(last, 1, -1))
    assert {(one.state, one.version is None, one.why) for one in learning.trainings} == {
        ("trained", False, ""),
        ("failed", True, "no room"),
    }
    assert learning.log == tuple(f"line {line} of {last}" for line in range(4, LOG_LINES + 3))
