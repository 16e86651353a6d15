"""The learning curve in characters."""

from prelabel_client.command.plot import ASCII, Point, drawn


def at(x: float, value: float, *, filled: bool = False) -> Point:
    return Point(x, value, value - 0.05, value + 0.05, filled)


def test_more_examples_stand_farther_right_and_better_scores_higher() -> None:
    lines = drawn([at(10, 0.3), at(50, 0.6, filled=True), at(100, 0.8)], width=60, signs=ASCII)
    places = {sign: [(y, line.index(sign)) for y, line in enumerate(lines) if sign in line] for sign in "o@"}
    (best, right), (worst, left) = places["o"]
    [(middle, between)] = places["@"]
    assert best < middle < worst
    assert left < between < right


def test_no_line_is_wider_than_was_asked_for() -> None:
    for width in (20, 40, 80):
        lines = drawn([at(1, 0.1), at(100_000, 0.95)], width=width, level=0.5)
        assert max(map(len, lines[:-1])) <= width
        assert len(lines) == 14


def test_one_point_and_equal_scores_can_be_drawn() -> None:
    assert "o" in "".join(drawn([Point(5, 1.0, 1.0, 1.0)], width=40, signs=ASCII))
    assert "o" in "".join(drawn([Point(5, 0.0, 0.0, 0.0), Point(9, 0.0, 0.0, 0.0)], width=40, signs=ASCII))
    assert drawn([], width=40) == []


def test_what_served_before_is_a_line_across() -> None:
    lines = drawn([at(10, 0.3), at(50, 0.6)], width=60, level=0.2, signs=ASCII)
    assert any(line.count("-") > 40 for line in lines[:-2])


def test_what_found_nothing_before_is_a_line_at_the_bottom() -> None:
    lines = drawn([at(10, 0.5), at(50, 0.8)], width=60, level=0.0, signs=ASCII)
    assert lines[11].count("-") > 40
