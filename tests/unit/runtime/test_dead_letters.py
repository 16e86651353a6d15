"""Records set aside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_runtime.bus.base import Message, Record
from prelabel_runtime.dead_letters import DEAD_LETTER_HEADER, MAX_BYTES, Aside, fits, for_burial, for_retry, read_aside

WHY = Aside(
    reason="invalid", detail="…", topic="prelabel.tasks", partition=3, offset=7, timestamp_ms=1, attempts=0, at_ms=2
)
HEADERS = st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=50)), max_size=5)


def record(value: bytes | None, headers: tuple[tuple[str, bytes], ...] = (), topic: str = "prelabel.tasks") -> Record:
    return Record(topic, 3, 7, b"key", value, headers, 1)


def read_back(message: Message) -> Record:
    return Record(message.topic, 0, 0, message.key, message.value, message.headers, 5)


@given(value=st.none() | st.binary(max_size=300), headers=HEADERS)
def test_key_value_and_headers_are_kept_byte_for_byte(value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    original = record(value, tuple(headers))
    buried = for_burial(original, "projection", WHY)
    assert (buried.key, buried.value) == (original.key, original.value)
    assert buried.headers[:-1] == tuple(h for h in headers if not h[0].startswith("prelabel-"))
    assert read_aside(read_back(buried), DEAD_LETTER_HEADER) == WHY


def test_nobody_but_us_says_where_a_record_stood() -> None:
    forged = for_burial(record(b"{}"), "projection", WHY).headers
    assert read_aside(record(b"{}", forged, topic="prelabel.inbound.crm"), DEAD_LETTER_HEADER) is None


@pytest.mark.parametrize("headers", [(), (("x", b"y" * 1_000_000),)], ids=["value", "headers"])
def test_a_record_too_large_for_a_header_more_is_cut_and_says_so(headers: tuple[tuple[str, bytes], ...]) -> None:
    large = record(b"v" * 1_048_000, headers)
    assert not fits(large)
    buried = for_burial(large, "inbound-crm", WHY)
    assert fits(read_back(buried)) or len(buried.value or b"") < MAX_BYTES
    assert sum(len(v) for _, v in buried.headers) + len(buried.value or b"") < 1_000_000
    aside = read_aside(read_back(buried), DEAD_LETTER_HEADER)
    assert aside is not None
    assert aside.cut_from == 1_048_000


def test_a_record_is_retried_whole() -> None:
    again = for_retry(record(b"value"), "projection", WHY)
    assert again.topic == "prelabel.retry.projection"
    assert again.value == b"value"
