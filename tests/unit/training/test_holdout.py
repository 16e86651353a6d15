"""What is held out is held out for good."""

from itertools import pairwise

import pytest
from prelabel_training.examples.holdout import SHARE, in_holdout, settled

TASKS = [f"task-{number}" for number in range(4000)]


def held(project: str, share: float) -> set[str]:
    return {task for task in TASKS if in_holdout(project, task, share)}


def test_no_release_moves_a_task_in_or_out() -> None:
    pinned = {number for number in range(30) if in_holdout("reviews", f"task-{number}", SHARE)}
    assert pinned == PINNED


PINNED = {1, 5, 13, 16, 20, 23}
"""Written down once. If this differs, models have learned what they are judged by."""


def test_the_share_of_tasks_that_was_asked_for_is_held_out() -> None:
    assert held("p", 0) == set()
    assert 0.18 < len(held("p", 0.2)) / len(TASKS) < 0.22
    assert len(held("p", 0.999)) > 0.99 * len(TASKS)


def test_a_greater_share_keeps_all_that_were_in() -> None:
    shares = (0.05, 0.1, 0.2, 0.5, 0.9)
    for less, more in pairwise(shares):
        assert held("p", less) < held("p", more)


def test_projects_hold_out_different_tasks() -> None:
    both = held("p", 0.5) & held("q", 0.5)
    assert 0.2 < len(both) / len(TASKS) < 0.3


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan")])
def test_a_share_that_leaves_nothing_to_learn_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share of the hold-out"):
        in_holdout("p", "t", share)


def test_the_share_of_the_first_training_stays_whatever_is_wanted_later() -> None:
    assert settled(None, 0.3) == 0.3
    assert settled(0.3, 0.1) == 0.3
    assert settled(0.3, 0.5) == 0.3
    assert settled(0.0, 0.2) == 0.0
