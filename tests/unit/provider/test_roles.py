"""One command per provider, and a word for its role."""

import subprocess
import sys
from pathlib import Path

import pytest
from prelabel_provider.catalog import Catalog


def said(folder: Path, provider: str, *role: str) -> tuple[int, str]:
    """Exit code and what was written to standard error."""
    command = [sys.executable, "-m", f"prelabel_inference_{provider}", *role]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stderr + done.stdout


def test_a_provider_that_trains_nothing_says_so(tmp_path: Path) -> None:
    code, text = said(tmp_path, "echo", "trainer")
    assert code == 2
    assert "echo has no trainer" in text


def test_an_unknown_role_is_refused(tmp_path: Path) -> None:
    code, text = said(tmp_path, "echo", "teacher")
    assert code == 2
    assert "inference" in text
    assert "trainer" in text


@pytest.mark.parametrize(("provider", "trains"), [("ledger", True), ("echo", False), ("nobody", False)])
def test_who_trains_is_known_without_importing_anything_of_theirs(provider: str, *, trains: bool) -> None:
    assert Catalog({}).trains(provider) is trains
    assert Catalog({provider: sys.executable}).trains(provider) is trains


def test_an_interpreter_that_cannot_be_run_does_not_say_whether_it_trains(tmp_path: Path) -> None:
    assert Catalog({"ledger": str(tmp_path / "python")}).trains("ledger") is None
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert Catalog({"ledger": str(broken)}).trains("ledger") is None
