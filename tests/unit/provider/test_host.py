"""Inside the worker's process: calls of the shape that a model likes, the urgent between them, and nobody waits."""

import socket
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_provider.base import (
    BatchShape,
    Description,
    Failed,
    Input,
    Predicted,
    Prediction,
    Provider,
    ProviderSettings,
)
from prelabel_provider.worker.frames import (
    LENGTH_BYTES,
    Answer,
    Answers,
    Began,
    Forget,
    Item,
    Load,
    Loaded,
    Predict,
    Raised,
    Unload,
    Word,
    body_length,
    pack,
    unpack_word,
)
from prelabel_provider.worker.host import Host, Jobs, apart, by_size
from prelabel_provider.worker.main import Voice


class Pairs(Provider[ProviderSettings]):
    """Takes two at a time."""

    name = "pairs"
    kinds = frozenset({"span"})
    Settings = ProviderSettings
    batch: ClassVar[BatchShape] = BatchShape(records=2)
    said: ClassVar[list[str]] = []

    @classmethod
    def load(cls, settings: ProviderSettings) -> Self:
        cls.said.append("load")
        return cls()

    def describe(self) -> Description:
        return Description("1", self.kinds, runs_on="an abacus")

    def predict(self, batch: Sequence[Input]) -> Sequence[Prediction]:
        self.said.append(" ".join(one.text for one in batch))
        if any(one.text == "RAISE" for one in batch):
            raise RuntimeError("private")
        return [Predicted()] * len(batch)


def _host(provider: type[Provider[Any]] = Pairs, limit: int = 4) -> tuple[Host, Jobs, list[Answer]]:
    Pairs.said.clear()
    said: list[Answer] = []
    return Host(provider, limit, said.append), Jobs(), said


def _question(number: int, *texts: str, urgency: int = 1, key: str = "m", most: int = 0) -> Predict:
    items = [Item(text, {"text": text}, "text") for text in texts]
    return Predict(number, key, b"{}", items, urgency, most)


def _step(host: Host, jobs: Jobs) -> None:
    job = jobs.take()
    if host.work(job):
        jobs.put_back(job)


def test_an_urgent_question_waits_for_one_call_and_never_for_what_is_queued() -> None:
    host, jobs, _ = _host()
    jobs.put(Load(1, "m", b"{}"))
    _step(host, jobs)
    Pairs.said.clear()
    jobs.put(_question(2, "a", "b", "c", "d", "e"))
    jobs.put(_question(3, "f"))
    _step(host, jobs)
    jobs.put(_question(4, "urgent", urgency=0))
    for _ in range(4):
        _step(host, jobs)
    assert Pairs.said == ["a b", "urgent", "c d", "e", "f"]


def test_a_model_is_warm_before_it_counts_as_loaded() -> None:
    host, jobs, said = _host()
    jobs.put(Load(1, "m", b"{}"))
    _step(host, jobs)
    assert Pairs.said == ["load", "Ready?"]
    assert [type(word) for word in said] == [Began, Loaded]
    assert isinstance(said[1], Loaded)
    assert said[1].runs_on == "an abacus"


def test_a_model_that_others_pushed_out_is_loaded_by_the_question_that_needs_it() -> None:
    host, jobs, said = _host(limit=1)
    for number, key in enumerate(("one", "two", "one"), 1):
        jobs.put(_question(number, "a", key=key))
        _step(host, jobs)
    assert Pairs.said == ["load", "Ready?", "a"] * 3
    assert [type(word) for word in said] == [Began, Loaded, Began, Answers] * 3
    jobs.put(Unload(4, "one"))
    _step(host, jobs)
    assert said[-1].id == 4


def test_a_call_that_raises_loses_its_inputs_and_no_others() -> None:
    host, jobs, said = _host()
    jobs.put(_question(1, "a", "b", "c", "RAISE", "e"))
    for _ in range(3):
        _step(host, jobs)
    assert [word.places for word in said if isinstance(word, Began)] == [[], [0, 1], [2, 3], [4]]
    assert [word.error for word in said if isinstance(word, Raised)] == ["RuntimeError"]
    assert [len(word.items) for word in said if isinstance(word, Answers)] == [2, 1]


def test_a_search_gets_smaller_calls_than_the_model_likes() -> None:
    host, jobs, said = _host()
    jobs.put(_question(1, "a", "b", "c", most=1))
    for _ in range(3):
        _step(host, jobs)
    assert [word.places for word in said if isinstance(word, Began)] == [[], [0], [1], [2]]


def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    host, jobs, _ = _host()
    for number in (1, 2, 3):
        jobs.put(_question(number, str(number)))
    jobs.put(Forget(2))
    for _ in range(2):
        _step(host, jobs)
    assert Pairs.said == ["load", "Ready?", "1", "3"]


class Padded(Pairs):
    """Pays for the longest."""

    batch: ClassVar[BatchShape] = BatchShape(records=3, size=12)


def test_where_padding_costs_like_comes_with_like() -> None:
    host, jobs, said = _host(Padded)
    jobs.put(_question(1, "aaaaaa", "b", "cccccc", "d", "e", "f" * 100))
    for _ in range(3):
        _step(host, jobs)
    assert Pairs.said == ["load", "Ready?", "b d e", "aaaaaa cccccc", "f" * 100]
    assert [word.places for word in said if isinstance(word, Began)] == [[], [1, 3, 4], [0, 2], [5]]


@given(
    st.lists(st.integers(0, 60), max_size=40),
    st.integers(1, 9),
    st.one_of(st.none(), st.integers(1, 200)),
)
def test_calls_hold_everything_once_and_no_more_than_they_may(sizes: list[int], records: int, size: int | None) -> None:
    calls = by_size(sizes, BatchShape(records, size))
    assert sorted(place for call in calls for place in call) == list(range(len(sizes)))
    for call in calls:
        assert 0 < len(call) <= records
        assert len(call) == 1 or size is None or len(call) * max(sizes[place] for place in call) <= size


@pytest.mark.parametrize("wrong", [{"records": 0}, {"size": 0}, {"characters": -1}])
def test_a_shape_that_holds_nothing_is_none(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        BatchShape(**wrong)


class Reader(Pairs):
    """Reads ten characters at once, unless they are one text."""

    batch: ClassVar[BatchShape] = BatchShape(records=3, characters=10)


def test_a_long_text_is_asked_alone_after_the_others_and_the_urgent_go_before_it() -> None:
    host, jobs, said = _host(Reader)
    jobs.put(_question(1, "a", "b" * 11, "c", "d" * 8, "eee", "f"))
    for _ in range(3):
        _step(host, jobs)
    jobs.put(_question(2, "urgent", urgency=0))
    for _ in range(2):
        _step(host, jobs)
    assert Pairs.said == ["load", "Ready?", "a c", "dddddddd", "eee f", "urgent", "b" * 11]
    assert [word.places for word in said if isinstance(word, Began)] == [[], [0, 2], [3], [4, 5], [0], [1]]


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=5), st.integers(1, 25))
def test_calls_hold_everything_once_and_no_more_text_than_they_may(sizes: list[list[int]], most: int) -> None:
    lengths = [length for call in sizes for length in call]
    places = iter(range(len(lengths)))
    calls = apart([[next(places) for _ in call] for call in sizes], lengths, most)
    assert sorted(place for call in calls for place in call) == list(range(len(lengths)))
    for call in calls:
        assert (
            len(call) == 1
            or 0 < sum(lengths[place] for place in call) <= most
            or not any(map(lengths.__getitem__, call))
        )


def test_answers_that_the_parent_does_not_take_keep_no_model_waiting_and_come_in_order() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        voice = Voice(theirs)
        for number in range(40):  # far more than a socket holds
            voice.say(Answers(number, [b"x" * 100_000]))
        for number in range(40):
            assert _word(ours).id == number


def _word(connection: socket.socket) -> Any:
    word: Word = unpack_word(_exactly(connection, body_length(_exactly(connection, LENGTH_BYTES))))
    return word


def _exactly(connection: socket.socket, count: int) -> bytes:
    return connection.recv(count, socket.MSG_WAITALL)


class Doubtful(Pairs):
    """Tells how unsure it is of numbers: by what they say."""

    batch: ClassVar[BatchShape] = BatchShape(records=4)

    def predict(self, batch: Sequence[Input]) -> Sequence[Prediction]:
        """Of other texts it does not; a blank one fails."""
        doubts = [float(one.text) if "." in one.text else None for one in batch]
        return [Predicted((), doubt) if one.text else Failed("blank") for one, doubt in zip(batch, doubts, strict=True)]


def test_an_uncertainty_travels_and_what_nobody_gives_does_not() -> None:
    host, jobs, said = _host(Doubtful)
    jobs.put(_question(1, "0.25", "a", "", "1.0"))
    jobs.put(_question(2, "a", ""))
    _step(host, jobs)
    _step(host, jobs)
    some, none = [one for one in said if isinstance(one, Answers)]
    assert some.uncertainties == [0.25, None, None, 1.0]
    assert b"uncertainties" in pack(some)
    assert b"uncertainties" not in pack(none)
    assert unpack_word(pack(none)[LENGTH_BYTES:]) == none  # as a worker says it that knows of none
