"""When to try again and when to give up, on numbers alone: days pass in no time."""

import random

import pytest
from prelabel_webhooks.schedule import Schedule, Standing
from prelabel_webhooks.settings import WebhooksSettings

HOUR = 3_600_000
PUBLISHED = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]


def test_the_default_schedule_is_the_published_one() -> None:
    assert list(WebhooksSettings().retry_seconds) == PUBLISHED


@pytest.mark.parametrize("seed", range(20))
def test_every_wait_is_within_a_fifth_of_the_schedule(seed: int) -> None:
    schedule, rng = Schedule(PUBLISHED), random.Random(seed)
    for attempts, wait in enumerate(PUBLISHED, start=1):
        next_ms = schedule.next_ms(attempts, 1_000_000, rng)
        assert next_ms is not None
        assert 0.8 * wait <= (next_ms - 1_000_000) / 1000 <= 1.2 * wait


def test_waits_are_jittered() -> None:
    rng = random.Random(1)
    assert len({Schedule(PUBLISHED).next_ms(3, 0, rng) for _ in range(50)}) > 40


def test_after_the_tenth_attempt_a_delivery_is_given_up() -> None:
    rng = random.Random(1)
    assert Schedule(PUBLISHED).next_ms(9, 0, rng) is not None
    assert Schedule(PUBLISHED).next_ms(10, 0, rng) is None


def test_retry_after_makes_a_wait_longer_and_never_shorter() -> None:
    rng = random.Random(1)
    assert Schedule([5]).next_ms(1, 0, rng, retry_after=3600) == 3_600_000
    shorter = Schedule([300]).next_ms(1, 0, rng, retry_after=1)
    assert shorter is not None
    assert shorter >= 240_000


def fail(standing: Standing, now_ms: int) -> None:
    standing.failed(now_ms, hold_after=3, longest_hold=60.0)


def test_days_of_nothing_but_failure_are_hopeless() -> None:
    standing = Standing()
    for hour in range(120):
        fail(standing, hour * HOUR)
        assert not standing.hopeless(hour * HOUR, 120)
    fail(standing, 120 * HOUR)
    assert standing.hopeless(120 * HOUR, 120)


def test_sporadic_failure_is_not_hopeless_however_long_it_goes_on() -> None:
    standing = Standing()
    for hour in range(1000):
        fail(standing, hour * HOUR)
        assert not standing.hopeless(hour * HOUR, 120)
        if hour % 100 == 99:
            standing.succeeded()


def test_an_endpoint_is_held_after_some_failures_in_a_row_and_tried_less_and_less_often() -> None:
    standing = Standing()
    fail(standing, 0)
    fail(standing, 0)
    assert not standing.held(3)
    waits = []
    now_ms = 0
    for _ in range(9):
        fail(standing, now_ms)
        assert standing.held(3)
        waits.append((standing.next_try_ms - now_ms) / 1000)
        now_ms = standing.next_try_ms
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_failures_that_were_under_way_together_count_as_one_try() -> None:
    standing = Standing()
    for _ in range(20):
        fail(standing, 0)
    assert standing.next_try_ms == 1000


def test_any_success_makes_all_good() -> None:
    standing = Standing()
    for _ in range(20):
        fail(standing, 0)
    standing.succeeded()
    assert standing == Standing()
