"""Folders for one training each: what a killed process left in one goes with the next that is made.

They hold tasks' data, which must not outlive a training by long. Whoever uses one holds a lock on it, which the kernel
lets go of however a process ends.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "prelabel-training-"
_NEW = "prelabel-new-"
_LOCK = "lock"


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder of ours alone, gone afterwards."""
    _clear()
    made = Path(tempfile.mkdtemp(prefix=_NEW))
    folder = made.with_name(_PREFIX + made.name.removeprefix(_NEW))
    lock = os.open(made / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.rename(folder)  # it has the name that others look for from the moment on that it is locked
        inside = folder / "work"
        inside.mkdir(mode=0o700)
        yield inside
    finally:
        shutil.rmtree(folder, ignore_errors=True)
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


def _clear() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody's, or gone meanwhile
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
