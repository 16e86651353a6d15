"""Counting deaths: whatever happens in which order, a culprit is found in bounded time and nobody else is blamed."""

from hypothesis import given
from hypothesis import strategies as st
from prelabel_runtime.attempts import LIMIT, Attempts, Mark

BATCH = 8


@given(st.integers(0, 9), st.integers(0, 600), st.sampled_from(Mark))
def test_a_note_comes_back_as_it_was(count: int, alone: int, marked: Mark) -> None:
    attempts = Attempts(count, alone, marked)
    assert Attempts.read(attempts.note()) == (attempts if count else Attempts())


@given(st.text())
def test_a_note_that_is_not_ours_counts_as_none(note: str) -> None:
    assert isinstance(Attempts.read(note), Attempts)


def test_notes_of_other_shapes_count_as_none() -> None:
    for note in ("[1]", "{}", "null", '["x",0,0]', "[1,2,3,4]", "[3,2,9]", "\udcff", "[1,2"):
        assert Attempts.read(note) == Attempts()


@given(killers=st.frozensets(st.integers(0, 19)), cut=st.integers(1, BATCH))
def test_every_killer_is_found_and_nothing_else_is_dead_lettered(killers: frozenset[int], cut: int) -> None:
    """20 records, some of which end the process; `cut` is how many a process gets in one batch."""
    dead, done = _run_processes(killers, cut)
    assert dead == killers
    assert done == frozenset(range(20)) - killers


@given(st.lists(st.booleans(), max_size=30))
def test_waiting_for_a_dependency_never_adds_up_to_an_attempt(ends_while_waiting: list[bool]) -> None:
    note = ""
    for _ in ends_while_waiting:
        note = Attempts.read(note).begun(BATCH).withdrawn().note()
    assert not Attempts.read(note).begun(BATCH).one_by_one


def _run_processes(killers: frozenset[int], cut: int) -> tuple[frozenset[int], frozenset[int]]:
    committed, note = 0, ""
    dead: set[int] = set()
    done: set[int] = set()
    for _ in range((LIMIT + 1) * (len(killers) + 1)):
        attempts = Attempts.read(note).begun(BATCH)
        note = attempts.note()
        while committed < 20:
            batch = range(committed, committed + 1 if attempts.one_by_one else min(20, committed + cut))
            if attempts.culprit:
                dead.add(committed)
            else:
                if attempts.one_by_one:
                    note = attempts.mark(Mark.ALONE).note()
                if killers.intersection(batch):
                    break  # the process is gone; what it committed is all that is left
                done.update(batch)
            attempts = attempts.passed() if attempts.one_by_one else Attempts()
            committed, note = batch[-1] + 1, attempts.note()
        if committed == 20:
            break
    return frozenset(dead), frozenset(done)
