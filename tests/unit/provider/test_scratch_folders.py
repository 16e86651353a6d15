"""A training's folder is gone with it, or with the next one where it was killed."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from prelabel_provider.training.scratch import scratch

_HOLDER = """
import sys
from prelabel_provider.training.scratch import scratch

with scratch() as folder:
    (folder / "data").write_text("somebody's")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files, of this test alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def holder() -> tuple[subprocess.Popen[str], Path]:
    """A process with a folder."""
    command = [sys.executable, "-c", _HOLDER]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_is_empty_and_gone_afterwards(temporary: Path) -> None:
    with contextlib.suppress(KeyError), scratch() as folder:
        assert not list(folder.iterdir())
        (folder / "data").write_text("mine")
        raise KeyError
    assert not list(temporary.iterdir())


def test_what_a_killed_process_left_goes_with_the_next_and_what_is_used_stays() -> None:
    dead, left = holder()
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    living, used = holder()
    try:
        assert not left.exists()
        with scratch() as folder:
            assert (used / "data").exists()
            assert folder.exists()
    finally:
        living.communicate("")
    assert not used.exists()
