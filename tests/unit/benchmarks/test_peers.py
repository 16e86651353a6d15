"""Other programs are compared for the same work, or not at all."""

from collections.abc import Sequence

import pytest

from tests.benchmarks.case import Lost
from tests.benchmarks.cases.peers import agree
from tests.benchmarks.peers import PEERS
from tests.benchmarks.peers.peer import Span

ONE: Span = (0, 3, "TYPE")
OTHER: Span = (5, 9, "TYPE")
ANSWERS = {
    "label-studio-ml": {
        "results": [
            {"result": [{"type": "labels", "value": {"start": 0, "end": 3, "text": "abc", "labels": ["TYPE"]}}]},
            {"result": []},
        ]
    },
    "bentoml": [[{"start": 0, "end": 3, "text": "abc", "label": "TYPE"}], []],
}


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_what_a_program_answers_is_read_as_spans_by_text(peer: object) -> None:
    (found,) = (one.spans(ANSWERS[one.name.removesuffix("-piped")]) for one in PEERS if one is peer)
    assert [list(spans) for spans in found] == [[ONE], []]


def test_programs_that_find_the_same_in_another_order_agree() -> None:
    agree({"a": [[ONE, OTHER], []], "b": [[OTHER, ONE], []]})


@pytest.mark.parametrize("answers", [{"a": [[ONE]], "b": [[OTHER]]}, {"a": [[ONE], []], "b": [[ONE]]}, {"a": [[], []]}])
def test_other_answers_or_none_at_all_end_the_comparison(answers: dict[str, Sequence[Sequence[Span]]]) -> None:
    with pytest.raises(Lost):
        agree(answers)
