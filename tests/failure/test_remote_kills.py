"""A killed process's calls of a remote target are made once more, and no others: they may cost money."""

import asyncio
import json
from pathlib import Path

import httpx

from tests.failure.load import until
from tests.rig.processes import ALL_IN_ONE, Prelabel
from tests.rig.target import Target

TASKS = 400
KILLS = (60, 180)
"""Calls after which it is killed."""
WINDOW = 16 * 16
"""What is under way of a lane at most: PRELABEL_REMOTE_RECORDS times PRELABEL_REMOTE_AHEAD."""


async def test_kills_repeat_no_more_calls_than_were_under_way(tmp_path: Path) -> None:
    async with Target(latency=0.05) as target:
        with await asyncio.to_thread(_started, tmp_path) as prelabel:
            headers = {"Authorization": f"Bearer {prelabel.key}"}
            async with httpx.AsyncClient(
                base_url=prelabel.address, headers=headers, timeout=60, trust_env=False
            ) as http:
                (await http.put("/v1/projects/words", json=_project(target))).raise_for_status()
                lines = "\n".join(
                    json.dumps({"id": f"t{n}", "data": {"text": f"word{n} and more"}}) for n in range(TASKS)
                )
                kind = {"Content-Type": "application/x-ndjson"}
                (await http.post("/v1/projects/words/tasks", content=lines, headers=kind)).raise_for_status()
                for calls in KILLS:
                    await until(lambda calls=calls: target.calls >= calls, "calls to be killed amid of", 180)  # type: ignore[misc]
                    await asyncio.to_thread(prelabel.kill, ALL_IN_ONE)
                    await asyncio.to_thread(prelabel.restart, ALL_IN_ONE)
                await until(lambda: len(target.tasks) == TASKS, "every task to be asked about", 180)
                async with asyncio.timeout(180):
                    while await _created(http) < TASKS:  # noqa: ASYNC110 - another process writes them
                        await asyncio.sleep(0.2)
        repeated = target.calls - TASKS
        assert max(target.tasks.values()) <= 1 + len(KILLS)
        assert repeated <= len(KILLS) * WINDOW
        assert sum(target.tasks.values()) == target.calls


def _started(folder: Path) -> Prelabel:
    return Prelabel.all_in_one(folder, providers=("remote",))


async def _created(http: httpx.AsyncClient) -> int:
    counts = (await http.get("/v1/projects/words/tasks", params={"state": "created", "limit": 500})).json()
    return len(counts["tasks"])


def _project(target: Target) -> dict[str, object]:
    question = {"name": "first", "kind": "span", "field": "text", "labels": ["WORD"]}
    settings = {"url": target.url, "concurrency": 8}
    return {
        "title": "Words",
        "label_set": {"questions": [question]},
        "models": [{"name": "m", "provider": "remote", "settings": settings}],
    }
