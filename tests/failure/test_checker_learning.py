"""What the checker says of a log in which another version began to serve: what may be there twice, and what may not."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.failure.checker import Report, check
from tests.failure.log import LogRecord
from tests.failure.stored import StoredOutcome, StoredTask, StoreDump

FIRST, AGAIN = "request-1", "request-2"
BEFORE, AFTER = "settings-0", "1-abc"
"""What the model is by its settings, and what was promoted."""


def test_a_request_that_a_second_version_answers_too_is_counted_once_by_the_first() -> None:
    log = [*_accepted(), _outcome(FIRST, BEFORE), _serving(1, AFTER), _outcome(FIRST, AFTER)]
    report = _checked(log, _stored(FIRST, BEFORE))
    assert report.clean, report.json()
    assert (report.answered_across, report.repeated_records) == (1, 1)


def test_a_store_that_keeps_the_second_answer_is_caught() -> None:
    log = [*_accepted(), _outcome(FIRST, BEFORE), _serving(1, AFTER), _outcome(FIRST, AFTER)]
    assert _doubled(log, _stored(FIRST, AFTER)) == ["the store says other than the log"]


def test_two_answers_of_one_version_are_doubled() -> None:
    log = [*_accepted(), _serving(1, AFTER), _outcome(FIRST, AFTER), _outcome(FIRST, AFTER, dropped={"label": 1})]
    assert _doubled(log, _stored(FIRST, AFTER)) == ["outcomes that differ"]


def test_two_versions_none_of_which_was_promoted_are_doubled() -> None:
    log = [*_accepted(), _outcome(FIRST, BEFORE), _outcome(FIRST, "settings-1")]
    assert _doubled(log, _stored(FIRST, BEFORE)) == ["outcomes that differ"]


def test_two_answers_under_two_ids_are_doubled_whatever_was_promoted() -> None:
    log = [*_accepted(), _outcome(FIRST, BEFORE), _serving(1, AFTER), _outcome(FIRST, AFTER, named="another")]
    assert _doubled(log, _stored(FIRST, BEFORE)) == ["outcomes under several ids"]


def test_what_a_promotion_asks_again_is_asked_for_by_somebody() -> None:
    log = [*_learned(), _outcome(AGAIN, AFTER)]
    report = _checked(log, _stored(FIRST, BEFORE), _stored(AGAIN, AFTER))
    assert report.clean, report.json()
    assert report.asked_again == 1


def test_a_change_that_only_its_event_still_tells_is_known() -> None:
    """The topic of pointers keeps the last one."""
    told = _record("learning", "model.promoted", "promoted-1", model="names", epoch=1, version=AFTER)
    log = [
        *_accepted(),
        _outcome(FIRST, BEFORE),
        told,
        _serving(2, BEFORE),
        _again(AGAIN, "names/1"),
        _outcome(AGAIN, AFTER),
    ]
    report = _checked(log, _stored(FIRST, BEFORE), _stored(AGAIN, AFTER))
    assert report.clean, report.json()


def test_what_is_asked_again_and_has_no_outcome_is_lost() -> None:
    report = _checked(_learned(), _stored(FIRST, BEFORE))
    assert [one.what for one in report.lost] == ["no outcome in the log", "no outcome in the store"]


def test_asking_again_for_a_change_that_nobody_told_is_caught() -> None:
    log = [*_accepted(), _outcome(FIRST, BEFORE), _again(AGAIN, "names/1"), _outcome(AGAIN, AFTER)]
    assert _doubled(log, _stored(FIRST, BEFORE), _stored(AGAIN, AFTER)) == ["asked again, and nothing had changed"]


def test_asking_twice_for_one_change_is_caught() -> None:
    log = [*_learned(), _outcome(AGAIN, AFTER), _again("request-3", "names/1"), _outcome("request-3", AFTER)]
    stored = (_stored(FIRST, BEFORE), _stored(AGAIN, AFTER), _stored("request-3", AFTER))
    assert _doubled(log, *stored) == ["asked again several times"]


def test_asking_once_more_for_who_loaded_the_version_later_is_no_fault() -> None:
    log = [*_learned(), _outcome(AGAIN, AFTER), _loaded("late"), *_round("request-3", "1")]
    stored = (_stored(FIRST, BEFORE), _stored(AGAIN, AFTER), _stored("request-3", AFTER))
    report = _checked(log, *stored)
    assert report.clean, report.json()
    assert report.asked_again == 2


@pytest.mark.parametrize("named", ["0", "x", "-1", "1/1", ""])
def test_a_round_that_is_none_is_caught(named: str) -> None:
    log = [*_learned(), _outcome(AGAIN, AFTER), _loaded("late"), _loaded("later"), *_round("request-3", named)]
    stored = (_stored(FIRST, BEFORE), _stored(AGAIN, AFTER), _stored("request-3", AFTER))
    assert _doubled(log, *stored) == ["asked again in a round that is none"]


@pytest.mark.parametrize("told", [("late", "late"), ("late", "refused")])
def test_more_rounds_than_loads_are_caught(told: Sequence[str]) -> None:
    rounds = [*_round("request-3", "1"), *_round("request-4", "2")]
    log = [*_learned(), _outcome(AGAIN, AFTER), *(_loaded(one) for one in told), *rounds]
    stored = [_stored(FIRST, BEFORE), *(_stored(one, AFTER) for one in (AGAIN, "request-3", "request-4"))]
    assert _doubled(log, *stored) == ["asked again in more rounds than it was loaded"]
    assert _checked([*log, _loaded("later")], *stored).clean


def test_asking_again_about_a_task_that_was_never_accepted_is_caught() -> None:
    log = [*_learned(), _outcome(AGAIN, AFTER), _again("request-3", "names/1", task="nobody")]
    found = _doubled(log, _stored(FIRST, BEFORE), _stored(AGAIN, AFTER))
    assert found == ["requested, and by no accepted task"]


# --------------------------------------------------------------------------------------------------------- records


def _record(topic: str, kind: str, named: str, **data: Any) -> LogRecord:
    headers = (
        ("ce_type", f"prelabel.{kind}.v1".encode()),
        ("ce_id", named.encode()),
        ("ce_time", b"2026-01-01T00:00:00+00:00"),
    )
    return LogRecord(f"prelabel.{topic}", 0, 0, None, json.dumps({"project": "p", **data}).encode(), headers)


def _accepted() -> list[LogRecord]:
    """A task and its request."""
    project = {"models": [{"name": "names"}]}
    requests = [{"model": "names", "request": FIRST}]
    return [
        _record("configs", "config.published", "config", hash="c", project=project),
        _record("submitted", "task.submitted", "submitted", task="t", id="t"),
        _record("tasks", "task.accepted", "accepted", task="t", revision=0, config="c", requests=requests),
        _record("requests.x.bulk", "prediction.requested", FIRST, request=FIRST, task="t", model="names"),
    ]


def _learned() -> list[LogRecord]:
    """It was answered, another version was promoted, and is asked."""
    return [*_accepted(), _outcome(FIRST, BEFORE), _serving(1, AFTER), _again(AGAIN, "names/1")]


def _again(request: str, generation: str, task: str = "t") -> LogRecord:
    of = {"task": task, "model": "names", "generation": generation, "input_hash": "i", "config": "c"}
    return _record("requests.x.bulk", "prediction.requested", request, request=request, **of)


def _serving(epoch: int, version: str) -> LogRecord:
    return _record("models", "model.serving", f"serving-{epoch}", model="names", epoch=epoch, version=version)


def _loaded(host: str) -> LogRecord:
    """What a host says, however often, under one id; the one called "refused" does."""
    state = "refused" if host == "refused" else "serving"
    of = {"model": "names", "epoch": 1, "version": AFTER, "host": host, "state": state}
    return _record("learning", "model.loaded", f"loaded-{host}", **of)


def _round(request: str, named: str) -> list[LogRecord]:
    """The version is asked in one more round, and answers."""
    return [_again(request, f"names/1/{named}"), _outcome(request, AFTER)]


def _outcome(request: str, version: str, named: str = "", **more: Any) -> LogRecord:
    of = {"request": request, "task": "t", "model": "names", "version": version}
    return _record("predictions", "prediction.created", named or f"of {request}", **of, **more)


def _stored(request: str, version: str) -> StoredOutcome:
    return StoredOutcome(request, "p", "t", "names", "created", version)


def _checked(log: Sequence[LogRecord], *stored: StoredOutcome) -> Report:
    return check(log, StoreDump([StoredTask("t", "p", "t", 0)], stored, (), ()))


def _doubled(log: Sequence[LogRecord], *stored: StoredOutcome) -> list[str]:
    report = _checked(log, *stored)
    assert not report.lost, report.json()
    return [one.what for one in report.doubled]
