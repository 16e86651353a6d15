"""A place in the log: whatever ends in whatever order, a new process begins where nothing is lost."""

from hypothesis import given
from hypothesis import strategies as st
from prelabel_runtime.bus.base import Partition
from prelabel_webhooks.cursor import Cursor, read, written

A, B = Partition("a", 0), Partition("b", 7)


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.booleans()), max_size=60), st.randoms())
def test_what_is_not_over_lies_behind_the_safe_place(steps: list[tuple[Partition, bool]], rng: object) -> None:
    cursor = Cursor({A: 0, B: 5})
    under_way: list[tuple[Partition, int]] = []
    for place, begins in steps:
        if begins or not under_way:
            offset = cursor.positions[place] + 1  # what lies between is not wanted
            cursor.begin(place, offset)
            under_way.append((place, offset))
        else:
            cursor.end(*under_way.pop(rng.randrange(len(under_way))))  # type: ignore[attr-defined]
        safe = cursor.safe()
        assert all(safe[where] <= offset for where, offset in under_way)
        assert cursor.idle == (not under_way)
    for where, offset in under_way:
        cursor.end(where, offset)
    assert cursor.safe() == cursor.positions


def test_a_place_is_read_as_it_was_written() -> None:
    places = {A: 3, B: 2**53, Partition("a", 11): 0}
    assert read(written(places)) == places
