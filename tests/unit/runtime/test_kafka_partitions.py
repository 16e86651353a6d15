"""A key goes where every other Kafka client would put it."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st
from prelabel_runtime.bus.kafka_partitions import partitions_of

_choose = DefaultPartitioner()


@given(st.lists(st.binary(max_size=70), max_size=40), st.integers(1, 100))
def test_keys_of_any_length_go_where_the_client_itself_would_put_them(keys: list[bytes], count: int) -> None:
    numbers = list(range(count))
    assert partitions_of(keys, count) == [_choose(key, numbers, numbers) for key in keys]


def test_many_keys_of_one_length_do_not_touch_each_other() -> None:
    keys = [number.to_bytes(36, "big") for number in range(1000)]
    numbers = list(range(12))
    assert partitions_of(keys, 12) == [_choose(key, numbers, numbers) for key in keys]


def test_high_bits_are_not_carried_into_the_next_key() -> None:
    keys = [bytes([255]) * 37, bytes(37), bytes([128]) * 37] * 100
    numbers = list(range(1000))
    assert partitions_of(keys, 1000) == [_choose(key, numbers, numbers) for key in keys]
