"""What `prelabel tasks` and `prelabel predictions` show of what the API answers."""

import pytest
from prelabel_client.command.tasks import asked_for, data
from prelabel_client.models import Task

SAID = [
    {"model": "names", "outcome": "created"},
    {"model": "topics", "outcome": "failed", "reason": "timeout"},
    {"model": "topics", "outcome": "created"},
]
LARGE = {"sha256": "0" * 64, "bytes": 300_000}


def task(fields: dict[str, object], **more: object) -> Task:
    return Task.of({"task": "uid", "data": fields, **more})


@pytest.mark.parametrize(
    ("model", "state", "shown"),
    [
        (None, None, [0, 1, 2]),
        ("topics", None, [1, 2]),
        (None, "failed", [1]),
        ("topics", "created", [2]),
        ("names", "failed", []),
    ],
)
def test_of_a_task_with_many_outcomes_those_are_shown_that_were_asked_for(
    model: str | None, state: str | None, shown: list[int]
) -> None:
    found = asked_for(task({"text": "urgent"}, predictions=SAID), model, state)
    assert [(one.model, one.outcome) for one in found] == [(SAID[n]["model"], SAID[n]["outcome"]) for n in shown]


def test_of_a_field_that_is_too_large_its_beginning_is_shown() -> None:
    assert data(task({"text": None}, blobs={"text": {**LARGE, "preview": "Dear all"}})) == "Dear all…"
    assert data(task({"image": None}, blobs={"image": LARGE})) == "(300000 bytes)"
    assert data(task({"text": None})) == '{"text": null}'


def test_a_text_alone_is_shown_as_it_is_and_a_long_one_cut() -> None:
    assert data(task({"text": "urgent"})) == "urgent"
    assert data(task({"text": "urgent", "n": 1})) == '{"text": "urgent", "n": 1}'
    assert len(data(task({"text": "x" * 1000}))) == 200
