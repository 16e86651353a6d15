"""The demo's verdict: how long it waits for what is asked again, and how it draws what says little."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from prelabel_contract.limits import SCORED_TASKS
from rich.console import Console

from deploy.demo import __main__ as demo
from deploy.demo import show
from deploy.demo.results import Learned, VersionPoint
from tests.failure.checker import Finding, Report
from tests.rig.processes import Prelabel

WRONG = [Finding("doubled", "t1")]
LOST = [Finding("lost", "t2")]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(demo, "ENDS_SECONDS", 5.0)
    monkeypatch.setattr(demo, "OUT", tmp_path)


def judged(monkeypatch: pytest.MonkeyPatch, *looks: Report) -> tuple[Report, list[Report]]:
    """The verdict of a checker that says so, one look after the other, and what it did not get to say."""
    left: Iterator[Report] = iter(looks)
    monkeypatch.setattr(demo, "_checked", lambda *_: next(left))
    return demo.judge_again(cast(Prelabel, None), Path(), Report()), list(left)


def test_what_is_wrong_and_stays_so_with_nothing_lost_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, left = judged(monkeypatch, *(Report(tasks=3, doubled=WRONG) for _ in range(3)))
    assert (verdict.doubled, len(left)) == (WRONG, 1)


@pytest.mark.parametrize("more", [{"lost": LOST}, {"doubled": WRONG}], ids=["lost", "doubled"])
def test_what_is_still_asked_again_may_end(monkeypatch: pytest.MonkeyPatch, more: dict[str, list[Finding]]) -> None:
    looks = [Report(tasks=n if "doubled" in more else 3, **more) for n in range(3)]  # type: ignore[arg-type]
    verdict, left = judged(monkeypatch, *looks, Report(tasks=3))
    assert (verdict.clean, left) == (True, [])


def test_a_version_that_was_scored_on_few_tasks_is_drawn_as_one_that_says_little() -> None:
    points = tuple(
        VersionPoint(f"{n}-a", 100 * n, 0.5, 0.4, 0.6, served=True, reason="better", tasks=tasks)
        for n, tasks in enumerate((SCORED_TASKS - 1, SCORED_TASKS), 1)
    )
    numbers = {"annotated": 2, "untouched": 1, "before": 0.4, "after": 0.5, "accepted": 1, "decided": 2}
    learned = Learned("2-a", "micro_f1", points, before_by_label={}, after_by_label={}, **numbers)  # type: ignore[arg-type]
    console = Console(file=io.StringIO(), width=100, record=True)
    show.curve(console, learned)
    said = console.export_text()
    assert (said.count("◌"), said.count("●")) == (1, 1)
