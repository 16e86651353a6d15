"""python -m deploy.pages [--check]: write the references in docs/, or compare them."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from . import command, events, settings, topics

FOLDER = Path(__file__).parents[2] / "docs"
PAGES: Mapping[str, Callable[[], str]] = {
    "command.md": command.page,
    "events.md": events.page,
    "settings.md": settings.page,
    "topics.md": topics.page,
}


def main() -> int:
    """Exit code 1 if a page differs."""
    parser = argparse.ArgumentParser(prog="python -m deploy.pages", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    differing = 0
    for name, page in PAGES.items():
        path, text = FOLDER / name, page()
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            differing += 1
            print(f"docs/{name} is not what the code says: run make golden", file=sys.stderr)
    return min(differing, 1)


if __name__ == "__main__":
    sys.exit(main())
