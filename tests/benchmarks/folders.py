"""A folder that goes with the run that made it: also where that was killed, at the start of the next."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "prelabel-bench-"
_LOCK = "run.lock"
_UNLOCKED_S = 86_400.0
"""A folder without a lock was made a moment ago, or by a form of this program that made none: it is left so long."""


@contextmanager
def own_folder(within: Path | None = None) -> Iterator[Path]:
    """A new one in `within`, else among the temporary files; its lock goes with this process, however that ends."""
    within = within or Path(tempfile.gettempdir())
    sweep(within)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=within))
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(within: Path) -> list[Path]:
    """Remove what runs have left behind that are over; what was removed. Folders of others are left alone."""
    left = [folder for folder in within.glob(f"{PREFIX}*") if _left_behind(folder)]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return left


def _left_behind(folder: Path) -> bool:
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return _age(folder) > _UNLOCKED_S
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(lock)


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:  # its run has just ended
        return 0.0
