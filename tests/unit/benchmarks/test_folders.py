"""What a killed run leaves behind goes with the next; what a running one has stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.folders import own_folder, sweep

_RUN = (
    "import sys; from pathlib import Path; from tests.benchmarks.folders import own_folder\n"
    "with own_folder(Path(sys.argv[1])) as folder: print(folder, flush=True); sys.stdin.read()"
)


def test_a_folder_goes_with_its_run(tmp_path: Path) -> None:
    with own_folder(tmp_path) as folder:
        (folder / "much").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_run_that_was_killed_is_removed_and_that_of_one_that_lives_is_not(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().strip())
        assert sweep(tmp_path) == []
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert folder.exists()
        assert sweep(tmp_path) == [folder]
        assert not folder.exists()


def test_a_folder_without_a_lock_is_removed_only_when_it_is_old(tmp_path: Path) -> None:
    for name, time in (("prelabel-bench-new", None), ("prelabel-bench-old", (1.0, 1.0)), ("else", (1.0, 1.0))):
        (folder := tmp_path / name).mkdir()
        os.utime(folder, time)
    assert sweep(tmp_path) == [tmp_path / "prelabel-bench-old"]
