"""A case that fails loses nobody else's figures, and is named."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from deploy.local.errors import ServerError
from tests.benchmarks.__main__ import chosen
from tests.benchmarks.case import TINY, Case, Figure, Lost, Sizes, Start, Turn, Values
from tests.benchmarks.cases import CASES
from tests.benchmarks.run import Found, measure
from tests.benchmarks.session import wanted
from tests.benchmarks.stage import Stage

SIZES = Sizes(**{**{name: getattr(TINY, name) for name in Sizes.__slots__}, "rounds": 3, "long_rounds": 2})


class Nobody:
    """Watches and says nothing."""

    def begins(self, case: Case, turn: str, number: int, rounds: int) -> None: ...

    def measured(self, case: Case, turn: str, number: int, values: Values, seconds: float) -> None: ...

    def warns(self, warning: str) -> None: ...

    def failed(self, what: str, reason: str, trace: str) -> None: ...

    def done(self, case: Case) -> None: ...


def case(name: str, *turns: Turn, rounds: int | None = None, long: bool = False, start: Start | None = None) -> Case:
    @contextmanager
    def give(_: Stage) -> Iterator[list[Turn]]:
        yield list(turns)

    return Case(name, tuple(Figure(turn.name, "/s", "") for turn in turns), start or give, rounds, long)


def turn(name: str, *, fails_in: int = 0, error: Exception | None = None) -> Turn:
    def go(number: int) -> Values:
        if number == fails_in:
            raise error or Lost("nothing came")
        return {name: float(number)}

    return Turn(name, go)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(SIZES, lambda _: True, kept=tmp_path, folder=tmp_path, stack=stack, say=lambda _: None)


def run(stage: Stage, *cases: Case) -> Found:
    found = Found()
    measure(cases, stage, found, Nobody())
    return found


def test_the_turns_of_a_case_are_taken_in_turns(stage: Stage) -> None:
    taken = []

    def noting(name: str) -> Turn:
        def go(number: int) -> Values:
            taken.append((number, name))
            return {name: 1.0}

        return Turn(name, go)

    run(stage, case("a", noting("a.x"), noting("a.y")))
    assert taken == [(1, "a.x"), (1, "a.y"), (2, "a.x"), (2, "a.y"), (3, "a.x"), (3, "a.y")]


def test_a_turn_that_fails_keeps_what_it_had_and_is_not_asked_again(stage: Stage) -> None:
    found = run(stage, case("a", turn("a.x", fails_in=2), turn("a.y")), case("b", turn("b")))
    assert found.rounds == [{"a.x": 1.0, "a.y": 1.0, "b": 1.0}, {"a.y": 2.0, "b": 2.0}, {"a.y": 3.0, "b": 3.0}]
    assert found.failed == {"a.x": "Lost: nothing came"}
    assert not found.without_server


def test_a_case_that_does_not_start_is_named_and_the_next_goes_on(stage: Stage) -> None:
    @contextmanager
    def breaks(_: Stage) -> Iterator[list[Turn]]:
        raise ServerError("no Java")
        yield []

    found = run(stage, case("a", turn("a"), start=breaks), case("b", turn("b")))
    assert found.failed == {"a": "ServerError: no Java"}
    assert found.without_server
    assert found.rounds[0] == {"b": 1.0}


def test_a_figure_that_no_case_promised_is_an_error_of_the_case(stage: Stage) -> None:
    other = Turn("a.x", lambda _: {"a.z": 1.0})
    assert run(stage, case("a", other)).failed == {"a.x": "Lost: a promises no a.z"}


def test_long_cases_are_measured_less_often(stage: Stage) -> None:
    found = run(stage, case("a", turn("a")), case("b", turn("b"), long=True), case("c", turn("c"), rounds=1))
    assert found.rounds == [{"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 2.0, "b": 2.0}, {"a": 3.0}]


@pytest.mark.parametrize(
    ("only", "name", "wants"),
    [
        ([], "ner.kafka", True),
        (["ner"], "ner.bare", True),
        (["ner.bare"], "ner.sqlite", False),
        (["ner.bare"], "ner", True),
        (["ner"], "nerve.bare", False),
    ],
)
def test_only_picks_figures_by_the_beginning_of_their_names(only: list[str], name: str, wants: bool) -> None:
    assert wanted(only)(name) is wants


@pytest.mark.parametrize(
    ("only", "name", "wants"),
    [([], "a.b.c", False), ([], "a.b", False), ([], "a", True), ([], "a.bc", True), (["a.b"], "a.b.c", True)],
)
def test_what_a_size_skips_is_measured_when_it_is_asked_for(only: list[str], name: str, wants: bool) -> None:
    assert wanted(only, ["a.b"])(name) is wants


def test_what_was_not_asked_for_is_not_promised() -> None:
    (one,) = chosen(wanted(["ner.bare"]), ["ner.bare"])
    assert [figure.name for figure in one.figures] == ["ner.bare"]


def test_every_figure_has_one_case_named_as_it_begins_and_is_compared_with_one_that_exists() -> None:
    figures = [figure for one in CASES for figure in one.figures]
    names = [figure.name for figure in figures]
    assert len(set(names)) == len(names)
    assert all(figure.name.partition(".")[0] == one.name for one in CASES for figure in one.figures)
    assert {figure.ratio_to for figure in figures} - {None} <= set(names)
