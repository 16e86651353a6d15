"""Folders for tasks' data on this machine: what a killed process left in one goes with the next, or at the next start.

A training has one, and a workspace's file while it is written or read: tasks' data must not outlive its use by long.
Whoever uses a folder holds a lock on it, which the kernel lets go of however a process ends.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_PREFIX = "prelabel-training-"
_NEW = "prelabel-new-"
_LOCK = "lock"


@asynccontextmanager
async def scratch() -> AsyncIterator[Path]:
    """An empty folder of ours alone, gone afterwards, also where its user is cancelled while it goes.

    Call `clear_left` before, in a thread.
    """
    folder, lock = _made()
    try:
        yield folder / "work"
    finally:
        # No task of its own: a loop that ends cancels those, and waits for what its threads were handed.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, _removed, folder, lock))


def _made() -> tuple[Path, int]:
    made = Path(tempfile.mkdtemp(prefix=_NEW))
    folder = made.with_name(_PREFIX + made.name.removeprefix(_NEW))
    lock = os.open(made / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.rename(folder)  # it has the name that others look for from the moment on that it is locked
        (folder / "work").mkdir(mode=0o700)
    except OSError:
        _removed(folder, lock)
        raise
    return folder, lock


def _removed(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def clear_left() -> None:
    """Remove the folders whose users are gone, and no others. Blocks, for as long as that takes."""
    try:
        there = tempfile.gettempdir()
    except OSError:
        return  # this machine has no place for them: whoever needs one says so
    for folder in Path(there).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody's, or gone meanwhile
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def emptied(folder: Path, kept: str) -> None:
    """Make a folder that holds nothing, except for one folder of that name if it was there."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name == kept and path.is_dir() and not path.is_symlink():
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
