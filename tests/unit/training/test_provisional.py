"""With few hold-out tasks something else decides: in a stated order, and never without saying what."""

from random import Random

import pytest
from prelabel_training.gate.gate import Basis, Outcome, Reason, Rules
from prelabel_training.gate.provisional import Figure, Version, figure, judge
from prelabel_training.gate.scoring import Metric, Result

from tests.unit.training.versions import answered

RULES = Rules(metric=Metric.ACCURACY)


def results(right: int, tasks: int) -> list[Result]:
    """So many tasks, of which the first are right."""
    return [answered(f"task-{number:03}", right=number < right) for number in range(tasks)]


def judged(
    right: int, before: int, tasks: int, mine: Figure | None = None, theirs: Figure | None = None
) -> tuple[Outcome, Reason, Basis]:
    """What becomes of a version that is right on `right` of the tasks, where what serves is on `before`."""
    one = Version(results(before, tasks), theirs)
    decision = judge(one, Version(results(right, tasks), mine), RULES, Random(1))
    assert decision.text.endswith(".")
    assert f"{tasks} hold-out tasks" in decision.text
    return decision.outcome, decision.reason, decision.basis


@pytest.mark.parametrize(
    ("right", "before", "tasks", "mine", "theirs", "expected"),
    [
        (3, 5, 5, Figure(1.0, 100), None, (Outcome.REFUSE, Reason.WORSE, Basis.FEW_HOLDOUT)),
        (12, 2, 12, None, None, (Outcome.PROVISIONAL, Reason.BETTER, Basis.FEW_HOLDOUT)),
        (9, 2, 9, None, None, (Outcome.REFUSE, Reason.TOO_FEW, Basis.CROSS_VALIDATION)),
        (12, 12, 12, None, None, (Outcome.REFUSE, Reason.TOO_FEW, Basis.CROSS_VALIDATION)),
        (6, 6, 6, Figure(1.0, 20), None, (Outcome.PROVISIONAL, Reason.NOT_WORSE, Basis.TRAINER)),
        (6, 6, 6, Figure(0.98, 20), None, (Outcome.REFUSE, Reason.WORSE, Basis.TRAINER)),
        (0, 0, 0, Figure(0.8, 20), Figure(0.79, 20), (Outcome.PROVISIONAL, Reason.NOT_WORSE, Basis.TRAINER)),
        (0, 0, 0, Figure(0.8, 20), Figure(0.9, 20), (Outcome.REFUSE, Reason.WORSE, Basis.TRAINER)),
        (0, 0, 0, Figure(0.8, 19), Figure(0.1, 20), (Outcome.REFUSE, Reason.TOO_FEW, Basis.CROSS_VALIDATION)),
        (6, 6, 6, Figure(1.0, 20, "F1"), None, (Outcome.REFUSE, Reason.TOO_FEW, Basis.CROSS_VALIDATION)),
        (6, 6, 6, Figure(0.9, 20, "F1"), Figure(0.9, 20, "F1"), (Outcome.PROVISIONAL, Reason.NOT_WORSE, Basis.TRAINER)),
        (4, 0, 4, Figure(0.8, 20), None, (Outcome.REFUSE, Reason.TOO_FEW, Basis.CROSS_VALIDATION)),
    ],
)
def test_what_decides_is_decided_in_order(
    right: int, before: int, tasks: int, mine: Figure | None, theirs: Figure | None, expected: object
) -> None:
    assert judged(right, before, tasks, mine, theirs) == expected


def test_with_enough_hold_out_tasks_nothing_else_is_asked() -> None:
    worse = Version(results(10, 30), Figure(1.0, 1000))
    decision = judge(Version(results(25, 30), Figure(0.0, 1000)), worse, RULES, Random(1))
    assert (decision.outcome, decision.basis) == (Outcome.REFUSE, Basis.HOLDOUT)


def test_the_first_version_serves_provisionally_and_its_figures_are_told() -> None:
    decision = judge(None, Version(results(6, 7), Figure(0.91, 33)), RULES, Random(1))
    assert (decision.outcome, decision.reason) == (Outcome.PROVISIONAL, Reason.NO_SERVING_VERSION)
    assert "accuracy 0.857 on them, 0.910 on 33 that its trainer measured it on" in decision.text
    assert judge(None, Version([]), RULES, Random(1)).outcome is Outcome.PROVISIONAL


@pytest.mark.parametrize(
    ("metrics", "metric", "expected"),
    [
        ({"accuracy": 0.9, "examples": 60.0}, Metric.ACCURACY, Figure(0.9, 60)),
        ({"accuracy": 0.9, "micro_f1": 0.8, "examples": 60.0}, Metric.MICRO_F1, Figure(0.8, 60)),
        ({"accuracy": 0.9}, Metric.ACCURACY, None),
        ({"accuracy": 1.7, "examples": 60.0}, Metric.ACCURACY, None),
        (
            {"ner_f1": 0.8, "ner_scored": 30.0, "textcat_f1": 0.5, "textcat_scored": 10.0},
            Metric.MICRO_F1,
            Figure(0.725, 40),
        ),
        ({"f1": 0.8, "scored": 30.0, "shown": 90.0}, Metric.MICRO_F1, Figure(0.8, 30)),
        ({"textcat_f1": 0.8, "textcat_scored": 30.0}, Metric.ACCURACY, Figure(0.8, 30, "F1")),
        ({}, Metric.MICRO_F1, None),
    ],
)
def test_a_trainers_figure_is_found_among_its_metrics(
    metrics: dict[str, float], metric: Metric, expected: Figure | None
) -> None:
    assert figure(metrics, metric) == expected
