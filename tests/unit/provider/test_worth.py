"""How many requests are worth a batch."""

from prelabel_provider.worth import LEAST, UNKNOWN, Worth
from prelabel_runtime.service import Batching


def test_a_batch_keeps_a_model_busy_for_half_a_second_however_fast_it_is() -> None:
    worth = Worth()
    assert worth() == UNKNOWN
    worth.took(1000, 1.4)
    assert worth() == 357
    for _ in range(10):
        worth.took(1000, 0.02)
    assert worth() > 20_000


def test_a_slow_model_gets_enough_to_batch_by_itself() -> None:
    worth = Worth()
    worth.took(10, 10.0)
    assert worth() == LEAST


def test_a_model_that_takes_no_time_is_given_as_much_as_the_settings_allow() -> None:
    worth = Worth()
    worth.took(10, 0.0)
    assert Batching(records=1000, worth=worth).full == 1000
    assert Batching(records=1000, worth=lambda: 0).full == 1
