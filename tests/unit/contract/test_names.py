"""Ids, topics, keys and groups: what is built can be read, and no two things share a name."""

import hashlib
import json
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prelabel_contract import names
from prelabel_contract.names import Kept, Lane

slugs = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
groups = st.from_regex(r"[a-z0-9.-]{1,120}", fullmatch=True)
# A lone surrogate is no text: it cannot be encoded, and base.Name refuses it at every door.
scalars = st.one_of(st.text(st.characters(codec="utf-8")), st.integers(), st.none())


@given(slugs, st.sampled_from(Lane))
def test_a_request_topic_is_read_back(provider: str, lane: Lane) -> None:
    topic = names.parse_topic(names.requests(provider, lane))
    assert (topic.kind, topic.kept) == ("requests", Kept.DAYS)
    assert topic.parts == {"provider": provider, "lane": lane}


@given(slugs)
def test_topics_of_one_part_are_read_back(part: str) -> None:
    assert names.parse_topic(names.inbound(part)).parts == {"source": part}
    assert names.parse_topic(names.training(part)).parts == {"provider": part}


@given(groups)
def test_the_topics_of_a_group_are_read_back(group: str) -> None:
    assert names.parse_topic(names.retry(group)).parts == {"group": group}
    assert names.parse_topic(names.dead_letters(group)).parts == {"group": group}


@given(slugs, st.sampled_from(Lane))
def test_every_inference_group_has_its_retry_and_dead_letter_topics(provider: str, lane: Lane) -> None:
    group = names.inference_group(provider, lane)
    assert names.parse_topic(names.retry(group)).parts == {"group": group}
    assert names.parse_topic(names.dead_letters(group)).parts == {"group": group}


@pytest.mark.parametrize(
    ("topic", "kind", "kept"),
    [
        (names.SUBMITTED, "submitted", Kept.LONG),
        (names.TASKS, "tasks", Kept.LONG),
        (names.PREDICTIONS, "predictions", Kept.LONG),
        (names.REPLIES, "replies", Kept.MINUTES),
        (names.ANNOTATIONS, "annotations", Kept.LONG),
        (names.RUNS, "runs", Kept.LONG),
        (names.CONFIGS, "configs", Kept.COMPACTED),
        (names.PROJECTS, "projects", Kept.COMPACTED),
        (names.MODELS, "models", Kept.COMPACTED),
        (names.PROVIDERS, "providers", Kept.COMPACTED),
        (names.ACCESS, "access", Kept.COMPACTED),
    ],
)
def test_a_fixed_topic_says_how_long_it_keeps(topic: str, kind: str, kept: Kept) -> None:
    assert names.parse_topic(topic) == names.Topic(kind, kept, {})


@pytest.mark.parametrize("wrong", ["", "a.b", "A", "a b", "-a", "a-", "a" * 41, "a\n", "ä", "a/b", "*"])
def test_a_part_that_is_no_slug_makes_no_topic(wrong: str) -> None:
    for build in (names.inbound, names.training, lambda provider: names.requests(provider, Lane.BULK)):
        with pytest.raises(ValueError, match="is not a topic"):
            build(wrong)


@pytest.mark.parametrize("wrong", ["", "prelabel", "prelabel.", "tasks", "prelabel.tasks.", "prelabel.tasks\n", "x"])
def test_a_name_of_somebody_else_is_no_topic(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not a topic"):
        names.parse_topic(wrong)


def test_a_lane_that_does_not_exist_has_no_topic() -> None:
    with pytest.raises(ValueError, match="express"):
        names.requests("echo", "express")


@given(slugs, slugs)
def test_a_model_key_is_read_back(project: str, model: str) -> None:
    assert names.parse_model_key(names.model_key(project, model)) == (project, model)


@given(st.text())
def test_a_model_key_that_is_read_is_one_that_was_built(key: str) -> None:
    try:
        parts = names.parse_model_key(key)
    except ValueError:
        return
    assert names.model_key(*parts) == key


@given(st.lists(scalars), st.lists(scalars))
def test_only_the_same_parts_make_the_same_id(one: list[object], other: list[object]) -> None:
    assert (names.derived(*one) == names.derived(*other)) == (one == other)


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=4), st.data())
def test_where_one_part_ends_and_the_next_begins_matters(parts: list[str], data: st.DataObject) -> None:
    joined = "".join(parts)
    cut = data.draw(st.integers(0, len(joined)))
    other = [joined[:cut], joined[cut:]]
    assert (names.derived(*parts) == names.derived(*other)) == (parts == other)


@pytest.mark.parametrize(("one", "other"), [(("1",), (1,)), ((None,), ("null",)), (("a", ""), ("a",)), ((), ("",))])
def test_a_number_is_not_its_text(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    assert names.derived(*one) != names.derived(*other)


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_ids_of_different_origins_never_meet(project: str, said: str) -> None:
    made = {
        names.task_uid(project, said),
        names.task_uid_of_line(project, said, 1),
        names.task_uid_of_event(project, said, said),
        names.run_id(project, said),
        names.request_id(project, said, said, said),
        names.request_id(project, said, said, said, "run"),
    }
    assert len(made) == 6
    assert all(uuid.UUID(id_).version == 5 for id_ in made)


def test_ids_are_the_same_for_ever() -> None:
    assert names.task_uid("letters", "17") == "96bdae77-33e6-5928-9139-1774bc606727"
    assert names.content_hash({"b": 1, "a": "ä"}) == "507aab815f2bdfce1c740c0b1ae7b1c8"


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_a_uuid7_holds_its_time_and_its_randomness(now_ms: int, random: bytes) -> None:
    made = uuid.UUID(names.uuid7(now_ms, lambda size: random[:size]))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == now_ms
    free = ((1 << 80) - 1) & ~(0xF << 76) & ~(0x3 << 62)
    assert made.int & free == int.from_bytes(random, "big") & free


@given(st.lists(st.tuples(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10)), min_size=2))
def test_uuid7s_sort_by_time(made: list[tuple[int, bytes]]) -> None:
    by_id = sorted((names.uuid7(ms, lambda _, tail=tail: tail), ms) for ms, tail in made)  # type: ignore[misc]
    assert [ms for _, ms in by_id] == sorted(ms for ms, _ in made)


# Every value that Python's encoder takes, and every character: the awkward ones come from st.text's defaults.
anything: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.dictionaries(st.integers(), inner, max_size=2)
    ),
    max_leaves=12,
)


@given(anything)
@example({"a": 1e16, "b": 1e-7, "c": 2**63, "d": 2**64, "e": -(2**63) - 1})
@example({"\x7f": '\u2028\u2029/\\"\b\f\n\r\t\x00\x1f\x80', "\ue000": 1, "\U0001f600": 2, "Z": [True, None]})
@example({"no text": "\ud800"})
def test_a_canonical_form_is_the_standard_librarys(value: object) -> None:
    """Hashes of contents are compared with those of years ago: no faster writer may change a byte."""
    try:
        expected = json.dumps(
            value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
        ).encode()
    except UnicodeEncodeError:
        with pytest.raises(UnicodeEncodeError):
            names.canonical(value)
        return
    assert names.canonical(value) == expected
    assert names.content_hash(value) == hashlib.sha256(expected).hexdigest()[:32]


def test_a_canonical_form_has_no_depth_of_its_own() -> None:
    deep: object = "x"
    for _ in range(600):
        deep = [deep]
    assert names.canonical(deep) == b"[" * 600 + b'"x"' + b"]" * 600


def test_what_is_no_number_has_no_canonical_form() -> None:
    with pytest.raises(ValueError, match="JSON"):
        names.canonical({"score": float("nan")})


@given(st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(Lane)))
def test_a_derived_id_is_the_uuid_of_its_parts_as_the_standard_library_lists_them(parts: list[object]) -> None:
    listed = json.dumps(parts, ensure_ascii=False, separators=(",", ":"), default=str)
    try:
        expected = hashlib.sha1(names._NAMESPACE + listed.encode(), usedforsecurity=False).digest()
    except UnicodeEncodeError:
        with pytest.raises(UnicodeEncodeError):
            names.derived(*parts)
        return
    assert names.derived(*parts) == str(uuid.UUID(bytes=expected[:16], version=5))


@given(
    st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner))
)
def test_the_order_of_keys_does_not_change_a_content_hash(value: object) -> None:
    assert (
        names.content_hash(value)
        == names.content_hash(_reversed(value))
        == names.content_hash(json.loads(json.dumps(value)))
    )


def _reversed(value: object) -> object:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(item) for item in value] if isinstance(value, list) else value


texts = st.text(st.characters(codec="utf-8"), max_size=20)
annotations = st.tuples(texts, texts, texts, texts)


@given(annotations, annotations)
@example(("p", "t", "eve", "1"), ("p", "t", "bob", "1"))
@example(("p", "t", "a", "b"), ("p", "t", "ab", ""))
def test_an_annotation_says_whose_it_is_and_is_nobody_elses(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    project, task, annotator, given_id = one
    uid = names.annotation_uid(project, task, annotator, given_id)
    assert names.annotated_by(uid, project, task, annotator)
    assert names.annotated_by(uid, *other[:3]) == (one[:3] == other[:3])
    assert (names.annotation_uid(*other) == uid) == (one == other)


@pytest.mark.parametrize("uid", ["", ".", "a", "0190f2c5-5a5b-7c3e-9a51-3f0a4c2f9f10", "x.", ".x", "x.000000000000"])
def test_what_was_never_made_as_an_annotations_uid_is_nobodys(uid: str) -> None:
    assert not names.annotated_by(uid, "p", "t", "eve")
