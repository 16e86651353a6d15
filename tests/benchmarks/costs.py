"""What something costs, step by step, in CPU microseconds: here, and in another checkout of this repository.

Each round runs in a process of its own, in turn with the code of each checkout, so that both see the same machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.processes import cpu_seconds

_HERE = Path(__file__).resolve().parents[2]
_CODE = ("libs/contract/src", "libs/runtime/src")
"""What is measured of a checkout; how it is measured is always this one's."""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds per piece of work."""

    loop: float
    """Of the thread that runs the event loop."""
    others: float
    """Of this process's other threads."""
    server: float
    """Of the broker, or of the store's server."""


async def cost(work: Callable[[], Awaitable[None]], pieces: int, server: int | None) -> Cost:
    """What so many pieces of work cost each; `server` is a process that serves it."""
    served = cpu_seconds(server) if server else 0.0
    thread, process = time.thread_time(), time.process_time()
    await work()
    thread, process = time.thread_time() - thread, time.process_time() - process
    served = cpu_seconds(server) - served if server else 0.0
    return Cost(*(round(part / pieces * 1e6, 2) for part in (thread, process - thread, served)))


def tell(costs: Mapping[str, Cost]) -> None:
    """One round's costs, to the process that asked for the round."""
    print(json.dumps({name: astuple(one) for name, one in costs.items()}))


def parser(module: str) -> argparse.ArgumentParser:
    """What every command of this kind takes."""
    made = argparse.ArgumentParser(prog=f"python -m {module}")
    made.add_argument("--against", type=Path, help="another checkout, measured in turn")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    return made


def compare(module: str, asked: argparse.Namespace, words: Callable[[str], Sequence[str]], server: str) -> None:
    """Measure and print. `words` makes a round's arguments of the address of a new embedded file."""
    checkouts = {"here": _HERE}
    if asked.against:
        checkouts["against"] = asked.against.resolve()
    rounds: dict[str, list[dict[str, Cost]]] = {name: [] for name in checkouts}
    for _ in range(asked.rounds):
        for name, checkout in checkouts.items():
            with tempfile.TemporaryDirectory(prefix="prelabel-costs-") as folder:
                rounds[name].append(_run(module, checkout, words(f"sqlite:///{folder}/file.db")))
    Console().print(_table(rounds, server))


def _run(module: str, checkout: Path, words: Sequence[str]) -> dict[str, Cost]:
    path = [*(str(checkout / part) for part in _CODE), str(_HERE)]
    done = subprocess.run(
        [sys.executable, "-m", module, "--once", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return {name: Cost(*one) for name, one in found.items()}


def _table(rounds: dict[str, list[dict[str, Cost]]], server: str) -> Table:
    shown = Table(title="CPU µs, medians", title_justify="left")
    for column in ("what", "code", "event loop", "other threads", server):
        shown.add_column(column, justify="left" if column in ("what", "code") else "right")
    for what in next(iter(rounds.values()))[0]:
        for name, some in rounds.items():
            parts = (statistics.median(part) for part in zip(*(astuple(one[what]) for one in some), strict=True))
            shown.add_row(what, name, *(f"{part:,.1f}" for part in parts))
    return shown
