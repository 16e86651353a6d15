"""A folder with tasks' data is gone with its use, or with the next one, or at the next start, where it was killed."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prelabel_provider.models.workspace import EXAMPLES, Workspaces
from prelabel_provider.scratch import clear_left, scratch

from tests.rig import trainings as rig

PATIENCE = 60.0
_HOLDER = """
import asyncio
import sys
from prelabel_provider.scratch import scratch

async def hold():
    async with scratch() as folder:
        (folder / "data").write_text("somebody's")
        print(folder, flush=True)
        sys.stdin.read()

asyncio.run(hold())
"""

_WRITER = """
import asyncio
import sys
from prelabel_provider.models.workspace import EXAMPLES, ExampleLine, Workspaces

async def lines():
    for number in range(300):
        yield ExampleLine(task=f"t-{number}", data={"text": "somebody's"})
    print("begun", flush=True)
    await asyncio.Event().wait()

asyncio.run(Workspaces(sys.argv[1]).of("mails", "ner", 1).write(EXAMPLES, lines()))
"""


_LOOP = """
import asyncio
import sys
import tempfile
import threading
from pathlib import Path
from prelabel_provider.models.workspace import EXAMPLES, ExampleLine, Workspaces

left = Path(tempfile.gettempdir(), "prelabel-training-left")

def leave():
    left.mkdir()
    (left / "lock").touch()

def noted(event, values):
    if event == "shutil.rmtree" and "prelabel-training-" in str(values[0]):
        whose = "theirs" if str(values[0]) == str(left) else "ours"
        print(whose, "on the loop" if threading.current_thread() is threading.main_thread() else "in a thread")

async def use(there):
    leave()
    await there.write(EXAMPLES, [ExampleLine(task="t", data={})])
    leave()
    assert [one async for one in there.read(EXAMPLES)]

sys.addaudithook(noted)
asyncio.run(use(Workspaces(sys.argv[1]).of("mails", "ner", 1)))
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files, of this test alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def found(folder: Path) -> list[Path]:
    """What is in it."""
    return list(folder.iterdir())


def holder() -> tuple[subprocess.Popen[str], Path]:
    """A process with a folder."""
    command = [sys.executable, "-c", _HOLDER]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


async def test_it_is_empty_and_gone_afterwards(temporary: Path) -> None:
    with contextlib.suppress(KeyError):
        async with scratch() as folder:
            assert not list(folder.iterdir())
            (folder / "data").write_text("mine")
            raise KeyError
    assert not found(temporary)


async def test_it_goes_also_where_its_user_is_cancelled_while_it_goes(temporary: Path) -> None:
    busy, used = threading.Event(), asyncio.Event()

    async def use() -> None:
        async with scratch():
            used.set()

    with ThreadPoolExecutor(1) as only:
        asyncio.get_running_loop().set_default_executor(only)
        only.submit(busy.wait, PATIENCE)
        try:
            using = asyncio.create_task(use())
            await asyncio.wait_for(used.wait(), PATIENCE)
            await asyncio.sleep(0)
            using.cancel()
            with pytest.raises(asyncio.CancelledError):
                await using
            assert found(temporary)
        finally:
            busy.set()
    assert not found(temporary)


async def test_what_a_killed_process_left_is_cleared_and_what_is_used_stays() -> None:
    dead, left = holder()
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    living, used = holder()
    try:
        async with scratch() as folder:
            assert left.exists(), "a folder alone costs nothing"
            clear_left()
            assert not left.exists()
            assert (used / "data").exists()
            assert folder.exists()
    finally:
        living.communicate("")
    assert not used.exists()


def test_what_a_process_that_was_killed_was_writing_into_a_workspace_goes_with_the_next(temporary: Path) -> None:
    place = temporary / "models"
    command = [sys.executable, "-c", _WRITER, str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "begun\n"
            assert list(temporary.glob("prelabel-*/work/lines"))
        finally:
            writer.send_signal(signal.SIGKILL)
    there = Workspaces(str(place)).of("mails", "ner", 2)
    asyncio.run(there.write(EXAMPLES, rig.lines(1)))
    assert not list(temporary.glob("prelabel-*"))


def test_folders_are_removed_beside_the_event_loop_however_much_is_in_them(temporary: Path) -> None:
    command = [sys.executable, "-c", _LOOP, str(temporary / "models")]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ, check=True)
    assert said.stdout.splitlines() == ["theirs in a thread", "ours in a thread"] * 2


async def test_a_trainer_that_starts_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    dead, left = await asyncio.to_thread(holder)
    living, used = await asyncio.to_thread(holder)
    dead.send_signal(signal.SIGKILL)
    await asyncio.to_thread(dead.communicate)
    folder = tmp_path / "trainer"
    folder.mkdir()
    try:
        assert left.exists()
        async with rig.training(folder, rig.project()):
            assert not left.exists()
            assert (used / "data").exists()
    finally:
        await asyncio.to_thread(living.communicate, "")
