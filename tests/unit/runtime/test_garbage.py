"""How often a service looks for garbage."""

import gc
import weakref
from collections.abc import Iterator

import pytest
from prelabel_runtime import garbage


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


class _Circle:
    def __init__(self) -> None:
        self.me = self


def test_what_a_process_is_made_of_is_not_looked_at_again() -> None:
    garbage.look_seldom()
    found = gc.get_objects()  # without what is set apart
    assert not any(one is garbage.__dict__ for one in found)
    assert gc.get_freeze_count() > len(found)


def test_the_objects_of_a_batch_are_not_searched() -> None:
    garbage.look_seldom()
    before = gc.get_stats()[0]["collections"]
    batch = [[number] for number in range(garbage.OBJECTS // 2)]
    assert gc.get_stats()[0]["collections"] == before
    assert batch


def test_circles_are_found_all_the_same() -> None:
    garbage.look_seldom()
    lost = weakref.ref(_Circle())
    kept = [[number] for number in range(2 * garbage.OBJECTS)]
    assert lost() is None
    assert kept
