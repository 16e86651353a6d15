"""`prelabel provider try` of a provider whose models are called."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rig.target import Answer, Target, answered

ROOT = Path(__file__).resolve().parents[2]
REMOTE = ROOT / "services" / "inference" / "remote"


async def tried(folder: Path, settings: dict[str, Any], *, code: int) -> subprocess.CompletedProcess[str]:
    words = ["provider", "try", str(folder), "Ada said", "--json", "--settings", json.dumps(settings)]
    done = await asyncio.to_thread(
        subprocess.run,
        [str(Path(sys.executable).with_name("prelabel")), *words],
        env={**os.environ, "PRELABEL_ADDRESS": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done
    return done


async def _throttling(target: Target, body: Any) -> Answer:
    return answered({}, 429)


async def test_a_provider_whose_models_are_called_says_what_its_service_answers() -> None:
    async with Target() as target:
        said = json.loads((await tried(REMOTE, {"url": target.url}, code=0)).stdout)
        assert target.calls == 1
    assert (said["version"], said["outcome"]) == ("words-1", "created")
    assert [(one["start"], one["end"], one["labels"]) for one in said["regions"]] == [(0, 3, ["WORD"])]


async def test_what_a_service_refuses_is_told_after_one_call() -> None:
    async with Target(behave=_throttling) as target:
        said = json.loads((await tried(REMOTE, {"url": target.url}, code=1)).stdout)
        assert target.calls == 1
    assert (said["outcome"], said["reason"]) == ("failed", "rate_limited")


@pytest.mark.parametrize("settings", [{}, {"url": "http://127.0.0.1:1/", "urll": 1}])
async def test_settings_that_a_called_provider_does_not_take_are_named(settings: dict[str, Any]) -> None:
    said = (await tried(REMOTE, settings, code=2)).stderr
    assert "/url" in said
    assert said.count("\n") == 1


async def test_a_folder_that_does_not_work_is_told_in_one_line(tmp_path: Path) -> None:
    folder = shutil.copytree(REMOTE, tmp_path / "remote", ignore=shutil.ignore_patterns("__pycache__"))
    pyproject = folder / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace(":RestProvider", ":Nobody"))
    said = (await tried(folder, {"url": "http://127.0.0.1:1/"}, code=2)).stderr
    assert "Nobody" in said
    assert said.count("\n") == 1
