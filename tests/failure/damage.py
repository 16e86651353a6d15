"""Starting processes that are broken on purpose (see broken/sitecustomize.py)."""

from collections.abc import Mapping
from pathlib import Path

from tests.failure.load import VoidRun

_FOLDER = Path(__file__).parent / "broken"


def broken(folder: Path, *words: str) -> Mapping[str, str]:
    """Variables of a process that is broken in these ways."""
    return {
        "PYTHONPATH": str(_FOLDER),
        "PRELABEL_BROKEN": " ".join(words),
        "PRELABEL_FIRED": str(folder / "fired"),
    }


def times_fired(folder: Path, word: str) -> int:
    """How often a way of being broken has taken effect."""
    mark = folder / "fired" / word
    return mark.stat().st_size if mark.exists() else 0


def must_have_fired(folder: Path, word: str) -> None:
    """Raises VoidRun if a way of being broken never took effect: then the run proves nothing."""
    if not times_fired(folder, word):
        raise VoidRun(f"{word} never took effect")
