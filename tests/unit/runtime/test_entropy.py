"""Random bytes that were fetched together are still nobody else's."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from prelabel_runtime.entropy import Entropy


@pytest.mark.parametrize("size", [0, 1, 10, 16, 17, 32])
def test_as_many_bytes_come_as_are_asked_for(size: int) -> None:
    entropy = Entropy()
    assert {len(entropy(size)) for _ in range(600)} == {size}


def test_nothing_is_given_twice_also_to_threads() -> None:
    entropy = Entropy()
    with ThreadPoolExecutor(4) as threads:
        given = list(threads.map(lambda _: [entropy(10) for _ in range(1000)], range(8)))
    assert len({one for some in given for one in some}) == 8000


def test_a_fork_is_given_others_than_its_parent() -> None:
    entropy = Entropy()
    entropy(10)  # hundreds are there from now on
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, entropy(10))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) != entropy(10)
    os.close(reading)
    os.close(writing)
