"""Reading versions: a page of them may hold hundreds of thousands of figures."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from prelabel_runtime.store.documents import Document
from prelabel_training.registry import versions
from prelabel_training.registry.versions import Judgement, VersionRecord, Versions

from .scene import MODEL, PROJECT, PROVIDER, Scene, scene


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


def version(number: int) -> VersionRecord:
    return VersionRecord(
        version=f"{number}-a",
        number=number,
        project=PROJECT,
        model=MODEL,
        provider=PROVIDER,
        training=f"{PROJECT}/{MODEL}/{number}",
        artifact="a",
        verdict=Judgement(outcome="refuse", reason="worse", text="."),
        judged_ms=0,
    )


async def test_others_have_their_turn_within_a_page_of_versions(here: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Versions(here.documents)
    for number in range(1, 21):
        await there.insert(version(number))
    at_once, longest, read = 0, 0, versions.read

    def counted(document: Document) -> VersionRecord:
        nonlocal at_once, longest
        at_once += 1
        longest = max(longest, at_once)
        return read(document)

    async def others() -> None:
        nonlocal at_once
        while True:
            at_once = 0
            await asyncio.sleep(0)

    monkeypatch.setattr(versions, "read", counted)
    other = asyncio.create_task(others())
    found = await there.page(PROJECT, MODEL, limit=20)
    other.cancel()
    assert [one.number for one in found] == list(range(20, 0, -1))
    assert 0 < longest <= 2
