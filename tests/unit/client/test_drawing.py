"""A learning curve on a terminal: which versions are points of it, and what it says above them."""

from typing import Any

import pytest
from prelabel_client.command.drawing import draw
from prelabel_client.command.models import few
from prelabel_client.command.output import Out
from prelabel_client.models_learning import Curve


def curve(*points: dict[str, Any]) -> Curve:
    """Of versions, as the API answers it."""
    shown = [
        {"version": f"{n}-a", "examples": 10 * n, "state": "kept", "metric": "micro_f1", **one}
        for n, one in enumerate(points, 1)
    ]
    return Curve.of({"model": "names", "metric": "micro_f1", "serving": "2-a", "points": shown})


def test_versions_of_the_curves_metric_are_drawn_and_what_serves_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    other = {"score": 0.9, "metric": "accuracy"}
    draw(
        Out(),
        curve({"score": 0.4, "low": 0.3, "high": 0.5}, {"score": 0.6, "state": "serving"}, {"score": None}, other),
    )
    first, *drawing = capsys.readouterr().out.splitlines()
    assert first == "names: micro f1 on the hold-out; 2-a serves"
    marks = "".join(drawing)
    assert [sum(marks.count(sign) for sign in signs) for signs in ("●@", "○o")] == [1, 1]
    assert drawing[-1].split() == ["10", "20", "examples"]


def test_nothing_is_drawn_of_versions_that_were_not_scored(capsys: pytest.CaptureFixture[str]) -> None:
    draw(Out(), curve({"score": None}))
    assert capsys.readouterr().out == ""


def test_scores_that_say_little_are_told_from_others(capsys: pytest.CaptureFixture[str]) -> None:
    draw(Out(), curve({"score": 1.0, "tasks": 3, "enough": False}, {"score": 0.6, "tasks": 30, "enough": True}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1][1:] == " few: scored on so few held-out tasks that it says little (3)"
    assert [sum("".join(lines[1:-1]).count(sign) for sign in signs) for signs in ("◌?", "○o")] == [1, 1]


def test_in_tables_a_score_that_says_little_stands_beside_the_word_few_and_the_number_of_tasks() -> None:
    little = curve({"score": 1.0, "tasks": 3, "enough": False}, {"score": 0.6, "tasks": 30, "enough": True}, {})
    assert [few(one) for one in little.points] == ["few (3)", "", ""]
