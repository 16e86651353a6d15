"""What the demo says on its way, and its verdict at the end."""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from prelabel_client.command.plot import Point, drawn
from prelabel_contract.limits import SCORED_TASKS
from rich.console import Console

from deploy.demo.page import page
from deploy.demo.results import Learned, Numbers, Result
from deploy.demo.table import results_table, run_progress, throughput
from tests.failure.checker import Report
from tests.rig.client import Client, NotDone

LOOK_SECONDS = 0.2
STALLED_SECONDS = 120.0


def where(real: bool) -> str:
    """What it runs on, in words."""
    return "as processes of their own, on Kafka and a MongoDB-wire server" if real else "in one process, on SQLite"


def training(console: Console, report: Mapping[str, Any], *, examples: int | None) -> None:
    """How well the model does on modules that it never saw; `examples`: how few it was shown on purpose."""
    overall = report["overall"]
    by_label = ", ".join(f"{label} {score['f1']:.2f}" for label, score in report["by_label"].items())
    console.print(
        f"   {report['seconds']:.0f} s; F1 {overall['f1']:.2f} on {report['held_out_passages']:,} held-out passages "
        f"of {report['held_out_modules']} modules never trained on ({by_label})",
        highlight=False,
    )
    if examples is not None:
        console.print(f"   a beginner, shown {examples} examples: people teach it the rest below", highlight=False)


async def follow(console: Console, client: Client, run: str) -> None:
    """A bar until the run has completed. Raises NotDone if nothing moves for two minutes."""
    with run_progress(console) as progress:
        bar = progress.add_task("labelled", total=None)
        last, still = -1, 0.0
        while True:
            try:
                state = await client.get(run)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != HTTPStatus.NOT_FOUND or still > STALLED_SECONDS:
                    raise
                still += LOOK_SECONDS  # the projection has not heard of it yet
                await asyncio.sleep(LOOK_SECONDS)
                continue
            ended = sum(n for outcome, n in state["outcomes"].items() if outcome != "pending")
            total = sum(state["outcomes"].values())
            sealed = state["total"] is not None and state["accepted"] + state["rejected"] >= state["total"]
            progress.update(bar, completed=ended, total=total if sealed else None)
            if state["state"] == "completed":
                return
            still = 0.0 if ended > last else still + LOOK_SECONDS
            last = ended
            if state["state"] in ("failed", "cancelled") or still > STALLED_SECONDS:
                raise NotDone(f"the run is {state['state']}: {state}")
            await asyncio.sleep(LOOK_SECONDS)


def curve(console: Console, learned: Learned) -> None:
    """The learning curve, and what it meant for texts that nobody annotated."""
    points = [
        Point(
            one.examples,
            one.score,
            one.low or one.score,
            one.high or one.score,
            filled=one.served,
            few=one.tasks < SCORED_TASKS,
        )
        for one in learned.points
        if one.score is not None
    ]
    console.print(f"learning curve: {learned.metric.replace('_', ' ')} on the hold-out", highlight=False)
    for line in drawn(points, width=min(console.width - 12, 80), height=9, level=learned.beginner):
        console.print(line, highlight=False, markup=False)
    share = f"{learned.accepted / learned.decided:.0%} accepted as they were" if learned.decided else "none decided"
    console.print(
        f"people corrected {learned.annotated:,} texts ({share}); on {learned.untouched:,} others F1 went from "
        f"[bold]{learned.before:.2f}[/bold] to [bold]{learned.after:.2f}[/bold], in {learned.seconds:.0f} s",
        highlight=False,
    )


def verdict(
    console: Console,
    out: Path,
    checked: Report,
    results: Sequence[Result],
    report: Mapping[str, Any],
    *,
    seconds: float,
    real: bool,
    learned: Learned | None = None,
) -> int:
    """The table, the page, the checker's numbers. 0 if every task has every outcome once, and nothing went wrong."""
    numbers = Numbers(
        tasks=checked.tasks,
        outcomes=checked.outcomes,
        duplicates=len(checked.doubled),
        lost=len(checked.lost),
        dead_letters=len(checked.dead_letters),
        seconds=seconds,
        f1=report["overall"]["f1"],
        f1_by_label={label: score["f1"] for label, score in report["by_label"].items()},
        trained_seconds=report["seconds"],
        learned=learned,
        servers="Kafka and a MongoDB-wire server, a process per service" if real else "SQLite, one process",
    )
    (out / "demo.html").write_text(page(results, numbers))
    console.print(results_table(results))
    console.print(throughput(numbers))
    if learned is not None:
        curve(console, learned)
    console.print(f"open {out / 'demo.html'}; the numbers are in {out / 'demo.json'}", highlight=False)
    return 0 if checked.clean and not checked.dead_letters and checked.tasks == len(results) else 1
