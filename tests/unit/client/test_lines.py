"""A body of tasks: constant memory, and the same from the start for a retry."""

import tracemalloc
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_client.lines import Lines, line_of
from prelabel_contract.tasks import Task

TASKS = st.lists(
    st.dictionaries(st.text(), st.text() | st.integers() | st.none()).map(lambda data: {"data": data}), max_size=50
)


@given(TASKS, st.integers(0, 5))
def test_a_source_that_can_be_read_once_is_sent_again_from_its_start(tasks: list[dict[str, Any]], broken: int) -> None:
    body = Lines(iter(tasks))
    list(islice(body.pieces(), broken))
    list(islice(body.pieces(), broken))
    assert b"".join(body.pieces()) == b"".join(line_of(task) for task in tasks)
    body.close()


def test_what_has_been_sent_before_a_break_is_sent_again_with_the_rest() -> None:
    tasks = [{"data": {"text": "x" * 1000, "n": n}} for n in range(1000)]
    body = Lines(iter(tasks))
    assert len(list(islice(body.pieces(), 3))) == 3
    assert b"".join(body.pieces()) == b"".join(line_of(task) for task in tasks)
    body.close()


async def test_an_asynchronous_source_is_sent_again_from_its_start() -> None:
    async def source() -> AsyncIterator[dict[str, Any]]:
        for n in range(500):
            yield {"data": {"text": "x" * 1000, "n": n}}

    body = Lines(source())
    async for _ in body.pieces_async():
        break
    whole = b"".join([piece async for piece in body.pieces_async()])
    assert whole == b"".join([line_of(task) async for task in source()])
    body.close()


def test_an_upload_of_any_length_takes_constant_memory() -> None:
    def source(count: int) -> Iterator[dict[str, Any]]:
        return ({"data": {"text": "x" * 2000}} for _ in range(count))

    def peak(count: int) -> int:
        body = Lines(source(count))
        tracemalloc.start()
        for _ in body.pieces():
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        body.close()
        return most

    assert peak(20_000) < 8 * 1024 * 1024  # 40 MB of lines


def test_a_blocking_client_refuses_an_asynchronous_source() -> None:
    async def source() -> AsyncIterator[dict[str, Any]]:
        yield {}

    with pytest.raises(TypeError, match="AsyncClient"):
        list(Lines(source()).pieces())


def test_a_line_is_one_line() -> None:
    assert line_of({"data": {"text": "a\nb"}}) == b'{"data":{"text":"a\\nb"}}\n'
    assert line_of(b'{"data": 1}\r\n') == b'{"data": 1}\n'
    assert line_of('{"data": 1}') == b'{"data": 1}\n'
    assert line_of(Task(data={"text": "ö"})) == '{"data":{"text":"ö"}}\n'.encode()


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        line_of({"data": {"n": float("nan")}})
