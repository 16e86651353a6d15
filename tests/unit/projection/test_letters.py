"""Dead letters read: whatever they hold, they become rows, and what they say about themselves is found."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract import cloudevents, names
from prelabel_contract.events import DeadLetterResolved, TaskDeleted, event
from prelabel_projection.letters import WHOLE_BYTES, Original, is_dead_letters, letter_of, parted
from prelabel_runtime.bus.base import Record
from prelabel_runtime.dead_letters import Aside, for_burial

TOPIC = names.dead_letters("projection")
WHY = Aside("invalid", "…", names.TASKS, 3, 7, 1, attempts=2, at_ms=99, letter="the-one-before")


def dead(
    key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...] = (), why: Aside = WHY
) -> Record:
    message = for_burial(Record(names.TASKS, 3, 7, key, value, headers, 1), "projection", why)
    return Record(TOPIC, 0, 12, message.key, message.value, message.headers, 100)


HEADERS = st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=50)), max_size=5)


@given(key=st.none() | st.binary(max_size=50), value=st.none() | st.binary(max_size=300), headers=HEADERS)
def test_any_bytes_become_a_row_that_gives_them_back(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    row = letter_of(dead(key, value, tuple(headers)))
    original = Original.read(row)
    assert (original.key, original.value, original.whole) == (key, value, True)
    assert original.headers == tuple(h for h in headers if not h[0].startswith("prelabel-"))
    orjson.dumps([row.project, row.task, row.type])


def test_a_row_says_where_the_record_stood_and_why_it_is_here() -> None:
    row = letter_of(dead(b"k", b"x"))
    assert row.letter == names.letter_id("projection", 0, 12)
    assert (row.group, row.partition, row.offset, row.at_ms) == ("projection", 0, 12, 99)
    assert (row.topic, row.origin_partition, row.origin_offset, row.origin_ms) == (names.TASKS, 3, 7, 1)
    assert (row.reason, row.detail, row.attempts, row.follows) == ("invalid", "…", 2, "the-one-before")


def test_what_an_event_is_about_is_found_in_both_modes() -> None:
    said = event(TaskDeleted(project="mails", task="t"), id="e", source="/t", time_ms=1)
    headers, value = cloudevents.encode(said)
    row = letter_of(dead(b"t", value, headers))
    assert (row.project, row.task, row.type) == ("mails", "t", TaskDeleted.TYPE)
    structured = (("content-type", b"application/cloudevents+json"),)
    row = letter_of(dead(b"t", orjson.dumps(cloudevents.structured(said)), structured))
    assert (row.project, row.task, row.type) == ("mails", "t", TaskDeleted.TYPE)


@pytest.mark.parametrize(
    "value", [b'{"project": "NOT A SLUG", "task": 7}', b'{"project": ["x"], "task": ""}', b"[]", b"null", b"", None]
)
def test_what_is_no_name_is_not_taken_for_one(value: bytes | None) -> None:
    row = letter_of(dead(b"k", value))
    assert (row.project, row.task, row.type) == (None, None, None)


def test_of_a_large_record_only_a_beginning_is_kept() -> None:
    row = letter_of(dead(b"k", b"x" * (WHOLE_BYTES + 1), (("h", b"y"),)))
    assert (row.whole, row.size) == (False, WHOLE_BYTES + 1)
    assert len(row.record) < WHOLE_BYTES
    assert Original.read(row).headers == (("h", b"y"),)
    row = letter_of(dead(b"k", b"x" * 1_048_000))
    assert (row.whole, row.size) == (False, 1_048_000), "as long as it was before it was cut"


def test_a_record_that_nobody_set_aside_is_a_row_too() -> None:
    row = letter_of(Record(TOPIC, 0, 1, None, b"x", (), 100))
    assert (row.reason, row.topic, row.origin_offset, row.at_ms) == ("unknown", TOPIC, 1, 100)


def test_the_word_that_a_letter_was_handled_is_no_letter() -> None:
    said = event(DeadLetterResolved(letter="a", group="projection"), id="e", source="/t", time_ms=1)
    headers, value = cloudevents.encode(said)
    word = Record(TOPIC, 0, 1, b"a", value, headers, 70)
    letters, ends = parted([word, dead(b"k", b"x"), Record(TOPIC, 0, 3, b"a", value, headers, 60)])
    assert ([one.offset for one in letters], ends) == ([12], {"a": 60})
    # Such an event that was itself set aside is a letter like any other.
    letters, ends = parted([dead(b"a", value, headers)])
    assert (len(letters), ends) == (1, {})


def test_dead_letters_are_told_from_other_topics() -> None:
    assert is_dead_letters(names.dead_letters("inference-echo-bulk"))
    for other in (names.TASKS, names.retry("projection"), "deadletters", "prelabel.deadletters.", ""):
        assert not is_dead_letters(other)
