"""What is sent again, when, and what an answer means: steps driven by hand."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from prelabel_client.errors import Defect, NoAccess, NotFound, PrelabelError, Refused, TryLater, Unreachable
from prelabel_client.retry import Retries, error_of, exchange
from prelabel_client.wire import Call, Lost, Reply, Request, Send, Wait

NOW = 1_800_000_000.0
GOOD = Reply(200, {}, b'"good"')
BUSY = Reply(503, {"retry-after": "3"}, b'{"type": "urn:prelabel:problem:unavailable", "detail": "later"}')
GONE = Lost("nobody there", sent=False)
BROKEN = Lost("broke off", sent=True)


def call(*, repeatable: bool) -> Call[Any]:
    return Call(Request("POST", "/v1/x", repeatable=repeatable), lambda reply: reply.json())


def retries(**changes: Any) -> Retries:
    return Retries(**{"rng": random.Random(1), "now": lambda: NOW, **changes})


def drive(what: Call[Any], answers: Sequence[Reply | Lost], patience: Retries) -> tuple[Any, list[float]]:
    """The result, or the error; and the seconds that were waited."""
    waited: list[float] = []
    steps = exchange(what, patience)
    rest = list(answers)
    try:
        step = next(steps)
        while True:
            if isinstance(step, Wait):
                waited.append(step.seconds)
                step = steps.send(None)
            else:
                assert isinstance(step, Send)
                step = steps.send(rest.pop(0))
    except StopIteration as done:
        return done.value, waited
    except PrelabelError as error:
        return error, waited
    finally:
        assert not rest, "it was not asked as often as it should be"


@pytest.mark.parametrize("lost", [GONE, BROKEN, BUSY, Reply(429, {}), Reply(502, {}), Reply(504, {})])
def test_a_repeatable_request_is_repeated(lost: Reply | Lost) -> None:
    result, waited = drive(call(repeatable=True), [lost, lost, GOOD], retries())
    assert result == "good"
    assert len(waited) == 2


def test_what_may_have_arrived_is_not_repeated_unless_that_is_harmless() -> None:
    result, waited = drive(call(repeatable=False), [BROKEN], retries())
    assert isinstance(result, Unreachable)
    assert not waited


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_was_refused_for_now_is_not_repeated_unless_that_is_harmless(status: int) -> None:
    result, waited = drive(call(repeatable=False), [Reply(status, {"retry-after": "3"})], retries())
    assert isinstance(result, TryLater)
    assert result.after == 3
    assert not waited


def test_what_never_left_is_always_repeated() -> None:
    result, _ = drive(call(repeatable=False), [GONE, GOOD], retries())
    assert result == "good"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 413, 415, 422, 500, 501])
def test_what_will_not_get_better_is_not_repeated(status: int) -> None:
    result, waited = drive(call(repeatable=True), [Reply(status, {})], retries())
    assert isinstance(result, PrelabelError)
    assert not waited


def test_retry_after_is_obeyed() -> None:
    _, (wait,) = drive(call(repeatable=True), [BUSY, GOOD], retries())
    assert 3.0 <= wait <= 4.0


def test_a_date_to_retry_after_is_obeyed() -> None:
    date = format_datetime(datetime.fromtimestamp(NOW + 7, UTC), usegmt=True)
    _, (wait,) = drive(call(repeatable=True), [Reply(503, {"retry-after": date}), GOOD], retries())
    assert 7.0 <= wait <= 8.0


def test_waits_grow_and_differ_between_callers() -> None:
    def waits(seed: int) -> list[float]:
        return drive(call(repeatable=True), [GONE] * 5 + [GOOD], retries(rng=random.Random(seed)))[1]

    assert waits(1) != waits(2)
    for number, wait in enumerate(waits(1)):
        assert 0.1 * 2**number <= wait <= 0.2 * 2**number


def test_it_gives_up_after_so_many_times() -> None:
    result, waited = drive(call(repeatable=True), [GONE] * 3, retries(times=3))
    assert isinstance(result, Unreachable)
    assert len(waited) == 2


def test_it_does_not_wait_longer_than_its_patience() -> None:
    result, waited = drive(call(repeatable=True), [Reply(503, {"retry-after": "3600"})], retries(patience=60))
    assert isinstance(result, TryLater)
    assert result.after == 3600
    assert not waited


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Refused) for status in (400, 409, 412, 413, 415, 422)),
        *((status, NoAccess) for status in (401, 403)),
        (404, NotFound),
        *((status, TryLater) for status in (429, 502, 503, 504)),
        (500, Defect),
    ],
)
def test_an_error_says_what_to_do_next(status: int, kind: type[PrelabelError]) -> None:
    body = b'{"type": "urn:prelabel:problem:some_word", "detail": "a sentence"}'
    error = error_of(Reply(status, {}, body))
    assert type(error) is kind
    assert (error.code, error.detail, error.status) == ("some_word", "a sentence", status)


def test_a_refusal_says_what_is_wrong_where() -> None:
    error = error_of(Reply(422, {}, b'{"detail": "no", "errors": [{"pointer": "/data", "detail": "is missing"}]}'))
    assert isinstance(error, Refused)
    assert [(one.pointer, one.detail) for one in error.fields] == [("/data", "is missing")]


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"[]", b"", b'{"errors": 7}'])
def test_an_answer_that_is_no_problem_document_is_an_error_all_the_same(body: bytes) -> None:
    assert isinstance(error_of(Reply(422, {}, body)), Refused)
    assert isinstance(error_of(Reply(502, {}, body)), TryLater)


def test_a_good_answer_that_is_no_json_is_told_as_somebody_elses() -> None:
    result, _ = drive(call(repeatable=True), [Reply(200, {"content-type": "text/html"}, b"<html>")], retries())
    assert isinstance(result, Defect)
    assert "no Prelabel" in result.detail
