"""Which tasks are shown without suggestions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.projects import Project
from prelabel_training.examples.blind import is_blind
from prelabel_training.examples.holdout import in_holdout

UIDS = [f"task {n}" for n in range(4000)]
LABELS = {"questions": [{"name": "names", "kind": "span", "field": "text", "labels": ["PERSON"]}]}


def project(**learning: Any) -> Project:
    """A project that says this of learning."""
    return Project.model_validate({"id": "mails", "label_set": LABELS, "learning": learning})


@given(st.text(max_size=40), st.floats(0, 0.99), st.floats(0, 1))
def test_every_held_out_task_is_blind_whatever_the_further_share(uid: str, holdout: float, blind: float) -> None:
    if in_holdout("mails", uid, holdout):
        assert is_blind(project(blind=blind), uid, holdout)


@given(st.text(max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_a_task_that_is_blind_at_a_share_is_blind_at_a_greater_one(uid: str, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert is_blind(project(blind=more), uid, 0.2) or not is_blind(project(blind=less), uid, 0.2)


def test_without_shares_nothing_is_blind_and_with_a_share_of_one_everything_is() -> None:
    assert not any(is_blind(project(), uid, 0.0) for uid in UIDS)
    assert all(is_blind(project(blind=1.0), uid, 0.0) for uid in UIDS)


@pytest.mark.parametrize(("holdout", "blind", "together"), [(0.2, 0.0, 0.2), (0.0, 0.3, 0.3), (0.2, 0.5, 0.6)])
def test_the_further_share_is_of_the_tasks_that_are_not_held_out(holdout: float, blind: float, together: float) -> None:
    found = sum(is_blind(project(blind=blind), uid, holdout) for uid in UIDS) / len(UIDS)
    assert found == pytest.approx(together, abs=0.03)  # 3.8 standard deviations


def test_two_projects_have_blind_tasks_of_their_own() -> None:
    one, other = project(blind=0.5), project(blind=0.5).model_copy(update={"id": "letters"})
    same = sum(is_blind(one, uid, 0.0) == is_blind(other, uid, 0.0) for uid in UIDS) / len(UIDS)
    assert 0.45 < same < 0.55
