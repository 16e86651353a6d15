"""What every run does around its cases: which figures are wanted, and in the end JSON, Markdown and pictures."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks import plots, report
from tests.benchmarks.markdown import markdown
from tests.benchmarks.processes import machine
from tests.benchmarks.run import Found
from tests.benchmarks.stage import Stage

INTERRUPTED = 130


def wanted(only: Sequence[str], skipped: Sequence[str] = ()) -> Callable[[str], bool]:
    """Whether a figure, or one whose name goes on after this one, is to be measured."""

    def wants(name: str) -> bool:
        if not only and any(f"{name}.".startswith(f"{one}.") for one in skipped):
            return False
        return not only or any(f"{name}.".startswith(f"{one}.") or f"{one}.".startswith(f"{name}.") for one in only)

    return wants


def as_json(found: Found, stage: Stage, program: str) -> dict[str, Any]:
    """The whole report. `program`: what was called, without its arguments."""
    return report.as_json(
        report.results(found.figures, found.rounds),
        machine=machine(),
        command=program + "".join(f" {word}" for word in sys.argv[1:]),
        date=datetime.now(UTC).date().isoformat(),
        commit=_commit(),
        texts=stage.sizes.texts,
        warnings=found.warnings,
        failed=found.failed,
        rounds=found.rounds,
        cpu_us_per_task=stage.costs(),
        seconds=found.seconds,
        details=stage.details,
    )


def write(said: dict[str, Any], folder: Path, name: str, title: str, pictures: Sequence[plots.Plot]) -> None:
    """`<name>.json` and `<name>.md` in a folder, the pictures in a folder beside them."""
    drawn = plots.draw(said, folder / name, pictures)
    (folder / f"{name}.json").write_text(json.dumps(said, indent=2) + "\n")
    shown = markdown(said, [(picture, f"{name}/{file}") for picture, file in drawn])
    (folder / f"{name}.md").write_text(f"{title}\n\n{shown}")


def show(console: Console, found: Found, said: dict[str, Any], written: Path) -> None:
    """The table, what failed, and where all of it stands."""
    console.print(report.table(report.results(found.figures, found.rounds)))
    for name, reason in found.failed.items():
        console.print(f"[red]not measured: {name}[/red]: {reason}", highlight=False)
    console.print(f"{said['machine']}; {written} holds it all", highlight=False)


def exit_code(found: Found, *, interrupted: bool) -> int:
    """0 all was measured; 1 something could not be; 2 a server could not be started; 130 interrupted."""
    if interrupted:
        return INTERRUPTED
    return 2 if found.without_server else int(bool(found.failed))


def _commit() -> str:
    """Of the checkout, with a plus where something has changed since."""
    asked = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"
