"""A version says what it learned from, so that two that say the same learned the same."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.base import Json
from prelabel_training.examples.fingerprint import content, differing, fingerprint


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


SETS = st.dictionaries(st.text(max_size=3), st.sampled_from("abc").map(hashed), max_size=6)
SMALL = {"t1": hashed("a"), "t2": hashed("b"), "t3": hashed("c")}


def test_no_release_gives_a_set_another_name() -> None:
    assert fingerprint(SMALL.items()) == PINNED_SET
    assert content({"text": "Anna", "n": 1.5}, [{"kind": "choice", "labels": ["PER"]}]) == PINNED_CONTENT


PINNED_SET = "9b4c2db88297298931ea9d4328457a9649c85a4b81b57ce56670d854415c2c0a"
PINNED_CONTENT = "02fde188a46962a363a96e8f73d0da2af5575e3b5f08a7b4eebf75fa4b1fa852"


@given(SETS, st.randoms(use_true_random=False))
def test_the_order_of_examples_does_not_matter(examples: dict[str, str], rng: random.Random) -> None:
    shuffled = list(examples.items())
    rng.shuffle(shuffled)
    assert fingerprint(iter(shuffled)) == fingerprint(examples.items())


@given(SETS, SETS)
def test_two_sets_have_one_name_only_if_nothing_differs(one: dict[str, str], two: dict[str, str]) -> None:
    same = fingerprint(one.items()) == fingerprint(two.items())
    assert same == (one == two) == (differing(one, two) == 0)


def test_what_is_deleted_changed_or_added_gives_another_name() -> None:
    without = {task: named for task, named in SMALL.items() if task != "t2"}
    changed = {**SMALL, "t2": hashed("B")}
    added = {**SMALL, "t4": hashed("d")}
    assert len({fingerprint(examples.items()) for examples in (SMALL, without, changed, added, {})}) == 5


def test_what_came_went_and_changed_is_counted_by_task() -> None:
    now = {"t2": hashed("B"), "t3": hashed("c"), "t4": hashed("d"), "t5": hashed("e")}
    assert differing(SMALL, now) == differing(now, SMALL) == 4


def test_deleting_what_was_added_gives_the_old_name_back() -> None:
    more = {**SMALL, "t4": hashed("d")}
    del more["t4"]
    assert fingerprint(more.items()) == fingerprint(SMALL.items())


def test_two_examples_of_a_task_are_refused() -> None:
    with pytest.raises(ValueError, match="two examples of task t1"):
        fingerprint([("t1", hashed("a")), ("t2", hashed("a")), ("t1", hashed("b"))])


def test_what_is_no_content_is_refused() -> None:
    with pytest.raises(ValueError, match="not the name of a content"):
        fingerprint([("t1", "text")])


def test_a_content_is_named_by_its_data_and_regions_and_not_by_how_they_are_written() -> None:
    region: dict[str, Json] = {"kind": "span", "start": 0, "end": 4}
    named = content({"text": "Anna", "lang": "de"}, [region])
    assert content({"lang": "de", "text": "Anna"}, (dict(reversed(list(region.items()))),)) == named
    assert content({"lang": "de", "text": "Anne"}, [region]) != named
    assert content({"lang": "de", "text": "Anna"}, [{**region, "end": 3}]) != named
    assert content({"lang": "de", "text": "Anna"}, []) != named
