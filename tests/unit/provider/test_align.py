"""From a provider's words to a project's: what fits is kept, what does not is counted, nothing is guessed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.projects import LabelSet, ModelSpec, Project, Question
from prelabel_contract.regions import REGIONS, Choice, Region, Relation, Span
from prelabel_provider.align import Aligned, Aligner, Unreadable

TEXT = "Ada met 😀 Bob"

ENTITIES = Question(name="entities", kind="span", field="text", labels=("PERSON", "CITY"))
TITLE = Question(name="title", kind="span", field="title", labels=("WORD",))
AREA = Question(name="area", kind="choice", field="text", labels=("good", "bad"), multiple=False)
TOPICS = Question(name="topics", kind="choice", field="text", labels=("a", "b", "c"))
LINKS = Question(name="links", kind="relation", field="text")
STARS = Question(name="stars", kind="rating", field="text", max_rating=5)
TREE = Question(
    name="tree",
    kind="taxonomy",
    field="text",
    labels=({"value": "animal"}, {"value": "cat", "parent": "animal"}),
)
BOXES = Question(name="boxes", kind="rectangle", also=("ellipse",), field="image", labels=("car",))
NOTE = Question(name="note", kind="text", field="text")
DEEP = b'[{"more":' + b"[" * 9999 + b"]" * 9999 + b',"kind":"span"}]'


def _aligner(*questions: Question, **model: Any) -> Aligner:
    spec = ModelSpec(name="model", provider="any", **model)
    project = Project(id="project", label_set=LabelSet(questions=questions), models=(spec,))
    return Aligner(project, spec)


def _align(aligner: Aligner, *regions: dict[str, Any], text: str = TEXT) -> Aligned:
    return aligner.align({"text": text, "title": "A title"}, json.dumps(regions).encode())


def _span(start: int, end: int, label: str = "PERSON", **more: Any) -> dict[str, Any]:
    return {"kind": "span", "start": start, "end": end, "labels": [label], **more}


def _choice(*labels: str, **more: Any) -> dict[str, Any]:
    return {"kind": "choice", "labels": labels, **more}


def test_a_region_gets_the_question_of_its_kind() -> None:
    found = _align(_aligner(ENTITIES, TOPICS), _span(0, 3), _choice("a"))
    assert [(r.question, r.field) for r in found.regions] == [("entities", "text"), ("topics", "text")]
    assert found.dropped == {}


def test_a_region_that_names_its_question_keeps_it() -> None:
    aligner = _aligner(ENTITIES, TOPICS, AREA, questions=["entities", "area"])
    assert _align(aligner, _choice("good", question="area")).regions[0].question == "area"
    assert _align(aligner, _choice("a", question="topics")).dropped == {"kind": 1}
    assert _align(aligner, _choice("good", question="entities")).dropped == {"kind": 1}


def test_a_second_kind_of_a_question_finds_it() -> None:
    oval = {"kind": "ellipse", "x": 1, "y": 1, "radius_x": 1, "radius_y": 1, "labels": ["car"]}
    assert _align(_aligner(ENTITIES, BOXES), oval).regions[0].question == "boxes"


def test_a_kind_nobody_asks_for_is_dropped() -> None:
    said = [{"kind": "rating", "rating": 3}, {"kind": "of_tomorrow", "x": 1}]
    assert _align(_aligner(ENTITIES), *said) == Aligned((), {"kind": 2}, None)


def test_a_field_that_the_question_is_not_asked_about_is_dropped() -> None:
    assert _align(_aligner(ENTITIES), _span(0, 3, field="title")).dropped == {"field": 1}


def test_labels_are_mapped_dropped_or_kept() -> None:
    aligner = _aligner(ENTITIES, labels={"PER": "PERSON", "DATE": None})
    said = [_span(0, 3, "PER"), _span(0, 3, "DATE"), _span(0, 3, "CITY"), _span(0, 3, "ORG")]
    found = _align(aligner, *said)
    assert [r.labels for r in found.regions] == [("PERSON",), ("CITY",)]
    assert found.dropped == {"label": 1}


def test_a_region_keeps_those_of_its_labels_that_fit() -> None:
    found = _align(_aligner(TOPICS, labels={"x": "a", "n": None}), _choice("a", "x", "n", "nonsense", "b"))
    assert [r.labels for r in found.regions] == [("a", "b")]
    assert found.dropped == {"label": 1}


def test_a_question_without_labels_takes_any() -> None:
    spans = Question(name="any", kind="span", field="text")
    assert _align(_aligner(spans), _span(0, 3, "ANYTHING")).regions[0].labels == ("ANYTHING",)


@pytest.mark.parametrize(
    "wrong",
    [
        _span(0, 0),
        _span(3, 1),
        _span(-1, 3),
        _span(0, len(TEXT) + 1),
        _span(0, 3, text="Bob"),
        _span(10, 13, text="Bob\n"),
    ],
)
def test_a_span_that_does_not_match_its_text_is_dropped(wrong: dict[str, Any]) -> None:
    assert _align(_aligner(ENTITIES), wrong, _span(10, 13, text="Bob")).dropped == {"offset": 1}


def test_offsets_count_code_points_and_text_is_filled_in() -> None:
    (span,) = _align(_aligner(ENTITIES), _span(8, 9)).regions
    assert isinstance(span, Span)
    assert span.text == "😀"


def test_a_span_on_what_is_no_text_is_dropped() -> None:
    aligner = _aligner(ENTITIES)
    said = json.dumps([_span(0, 3)]).encode()
    assert aligner.align({"text": 7}, said).dropped == {"field": 1}
    assert aligner.align({}, said).dropped == {"field": 1}


def test_a_threshold_marks_and_never_removes() -> None:
    found = _align(_aligner(TOPICS, threshold=0.5), *(_choice("a", score=s) for s in (0.4, 0.5, None)))
    assert [(r.score, r.below_threshold) for r in found.regions] == [(0.4, True), (0.5, False), (None, False)]
    assert found.min_score == 0.4


def test_a_mark_that_the_provider_made_does_not_count() -> None:
    assert not _align(_aligner(TOPICS), _choice("a", score=0.1, below_threshold=True)).regions[0].below_threshold


@pytest.mark.parametrize("score", [1.01, -0.1, True, "0.5", [0.5]])
def test_a_bad_score_becomes_null(score: Any) -> None:
    found = _align(_aligner(TOPICS, threshold=0.5), _choice("a", score=score))
    assert [(r.score, r.below_threshold) for r in found.regions] == [(None, False)]
    assert found.dropped == {"score": 1}


def test_where_one_choice_is_taken_the_best_score_stays() -> None:
    said = [
        _choice("bad"),
        _choice("bad", score=0.4),
        _choice("good", "bad", score=0.6),
        _choice("bad", score=0.6),
    ]
    found = _align(_aligner(AREA), *said)
    assert [(r.labels, r.score) for r in found.regions] == [(("good",), 0.6)]
    assert found.dropped == {"single": 4}


def test_a_choice_of_nothing_beats_no_other() -> None:
    found = _align(_aligner(AREA), _choice(score=0.9), _choice("good", score=0.1))
    assert [r.labels for r in found.regions] == [("good",)]
    assert found.dropped == {"invalid": 1}


def test_without_scores_the_first_choice_stays() -> None:
    found = _align(_aligner(AREA), _choice("bad"), _choice("good"))
    assert [r.labels for r in found.regions] == [("bad",)]


def test_a_relation_goes_with_its_end() -> None:
    arrow = {"kind": "relation", "from_id": "a", "to_id": "b", "labels": ["knows"]}
    both = [_span(0, 3, id="a"), _span(10, 13, id="b"), arrow]
    assert _align(_aligner(ENTITIES, LINKS), *both).dropped == {}
    one = [_span(0, 3, id="a"), _span(10, 13, "ORG", id="b"), arrow]
    found = _align(_aligner(ENTITIES, LINKS), *one)
    assert found.dropped == {"label": 1, "relation": 1}
    assert [r.id for r in found.regions] == ["a"]


def test_where_relations_point_everything_has_an_id_of_its_own() -> None:
    arrow = {"kind": "relation", "from_id": "r0", "to_id": "r0"}
    found = _align(_aligner(ENTITIES, LINKS), _span(0, 3, id="r0"), _span(10, 13), arrow)
    ids = [r.id for r in found.regions]
    assert None not in ids
    assert len(set(ids)) == 3


def test_a_text_of_a_region_goes_with_it() -> None:
    note = {"kind": "text", "text": ["x"], "of": "a"}
    assert _align(_aligner(ENTITIES, NOTE), note).dropped == {"relation": 1}
    assert _align(_aligner(ENTITIES, NOTE), note, _span(0, 3, id="a")).dropped == {}


def test_a_taxonomy_keeps_its_paths_from_the_root() -> None:
    said = {"kind": "taxonomy", "paths": [["animal", "kitty"], ["animal"], ["cat"], ["animal", "dog"], []]}
    found = _align(_aligner(TREE, labels={"kitty": "cat"}), said)
    assert [getattr(r, "paths", None) for r in found.regions] == [(("animal", "cat"), ("animal",))]
    assert found.dropped == {"label": 3}


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "rating", "rating": 6},
        {"kind": "rating"},
        {"kind": "rating", "rating": "three"},
        {"kind": "rating", "rating": -1},
        {"kind": "rating", "rating": 3, "labels": 7},
    ],
)
def test_what_the_contract_does_not_allow_is_dropped(wrong: dict[str, Any]) -> None:
    found = _align(_aligner(STARS), wrong, {"kind": "rating", "rating": 5})
    assert len(found.regions) == 1
    assert found.dropped == {"invalid": 1}


def test_of_a_pair_the_left_or_the_right_is_better() -> None:
    pair = Question(name="pair", kind="pairwise", field="text")
    found = _align(_aligner(pair), *({"kind": "pairwise", "selected": side} for side in ("left", "both", ["right"])))
    assert [getattr(region, "selected", None) for region in found.regions] == ["left"]
    assert found.dropped == {"invalid": 2}


@pytest.mark.parametrize(
    "wrong",
    [
        _span(0, 3) | {"labels": "PERSON"},
        _span(0, 3) | {"labels": {"PERSON": 0.9}},
        _span(0, 3) | {"id": ["a"]},
        _span(0, 3) | {"kind": ["span"]},
        {"kind": "relation", "from_id": "a"},
        {"kind": "relation", "from_id": "a", "to_id": "b", "direction": "up"},
        {"kind": "relation", "from_id": ["a"], "to_id": "b"},
        {"kind": "relation", "from_id": "a", "to_id": {"b": 1}},
        {"kind": "text", "text": ["x"], "of": ["a"]},
        {"kind": "taxonomy", "paths": ["animal", "cat"]},
        {"kind": "taxonomy", "paths": "animal"},
        {},
        "a span",
        None,
        7,
        [1],
    ],
    ids=str,
)
def test_what_is_not_formed_like_a_region_is_dropped_and_harms_no_other(wrong: Any) -> None:
    arrow = {"kind": "relation", "from_id": "a", "to_id": "b"}
    good = [_span(0, 3, id="a"), _span(10, 13, id="b"), arrow]
    for labels in (("PERSON",), ()):
        spans = Question(name="entities", kind="span", field="text", labels=labels)
        tree = Question(name="tree", kind="taxonomy", field="text")
        found = _align(_aligner(spans, LINKS, NOTE, tree), wrong, *good)
        assert [region.kind for region in found.regions] == ["span", "span", "relation"]
        assert found.dropped == {"invalid": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"[",
        b"NaN",
        b'[{"kind":"span","score":NaN}]',
        b'[{"score":1e999}]',
        b"{}",
        b"7",
        b"\xff",
        b"[" * 9999,
        DEEP,
    ],
)
def test_what_is_no_list_of_regions_is_no_answer(wrong: bytes) -> None:
    with pytest.raises(Unreadable, match="the model's answer is no"):
        _aligner(ENTITIES).align({"text": TEXT}, wrong)


labels = st.lists(st.sampled_from(["PERSON", "CITY", "PER", "DATE", "ORG", "a", "good", "bad"]), max_size=3)
scores = st.none() | st.floats(0, 1) | st.sampled_from([-1, 2])
ids = st.none() | st.sampled_from(["r0", "r1", "x"])
spans = st.fixed_dictionaries(
    {
        "kind": st.just("span"),
        "start": st.integers(-2, 12),
        "end": st.integers(-2, 12),
        "labels": labels,
        "score": scores,
        "id": ids,
    },
    optional={"text": st.text(max_size=3)},
)
choices = st.builds(
    lambda labels, score, id_: {"kind": "choice", "labels": labels, "score": score, "id": id_},
    labels,
    scores,
    ids,
)
relations = st.builds(
    lambda one, other, id_: {"kind": "relation", "from_id": one, "to_id": other, "id": id_},
    *(st.sampled_from(["r0", "r1", "x"]), st.sampled_from(["r0", "r1", "x"]), ids),
)


@given(st.text(max_size=12), st.lists(spans | choices | relations, max_size=8))
def test_what_is_left_always_fits_the_project(text: str, said: list[dict[str, Any]]) -> None:
    spec = ModelSpec(name="m", provider="any", labels={"PER": "PERSON", "DATE": None}, threshold=0.5)
    label_set = LabelSet(questions=(ENTITIES, AREA, LINKS))
    project = Project(id="project", label_set=label_set, models=(spec,))
    found = Aligner(project, spec).align({"text": text}, json.dumps(said).encode())

    assert list(label_set.errors(found.regions)) == []
    assert REGIONS.validate_json(REGIONS.dump_json(found.regions, exclude_none=True)) == found.regions
    assert sum(r.question == "area" for r in found.regions) <= 1
    assert found.min_score == min((r.score for r in found.regions if r.score is not None), default=None)
    for region in found.regions:
        assert region.below_threshold == (region.score is not None and region.score < 0.5)
        if isinstance(region, Span):
            assert region.start < region.end
            assert region.text == text[region.start : region.end]
    if any(isinstance(region, Relation) for region in found.regions):
        assert all(region.id for region in found.regions)


@given(st.lists(spans | choices | relations, max_size=8))
def test_aligning_twice_changes_nothing(said: list[dict[str, Any]]) -> None:
    aligner = _aligner(ENTITIES, AREA, LINKS)
    once = _align(aligner, *said)
    again = aligner.align({"text": TEXT}, REGIONS.dump_json(once.regions, exclude_none=True))
    assert again.regions == once.regions
    assert again.dropped == {}


plain = st.fixed_dictionaries(
    {"kind": st.just("span"), "start": st.integers(0, 5), "end": st.integers(0, 6)},
    optional={
        "labels": st.lists(st.sampled_from(["PERSON", "PER", "CITY", "DATE", "x", ""]), max_size=2),
        "score": st.none() | st.sampled_from([0, 1, 0.2, 0.5, 0.7, 2, -1, "1", True]),
        "text": st.none() | st.text(max_size=2),
        "field": st.sampled_from(["", "text", "title"]),
        "question": st.sampled_from(["", "entities"]),
        "below_threshold": st.booleans(),
        "more": st.none(),
    },
) | st.fixed_dictionaries(
    {"kind": st.just("choice"), "labels": st.lists(st.sampled_from(["good", "bad", "fine", "awful"]), max_size=2)},
    optional={"score": st.none() | st.floats(0, 1)},
)


@pytest.mark.parametrize("questions", [(ENTITIES, AREA), (ENTITIES, TOPICS), (TITLE,), ()])
@given(text=st.text(max_size=8), said=st.lists(plain, max_size=4))
def test_the_short_way_comes_to_the_same_as_the_full_one(
    questions: tuple[Question, ...], text: str, said: list[dict[str, Any]]
) -> None:
    known = {None, *(label.value for question in questions for label in question.labels)}
    labels = {"PER": "PERSON", "DATE": None, "awful": "bad", "good": "good"}
    labels = {theirs: ours for theirs, ours in labels.items() if ours in known}
    for mapping in ({}, labels):
        aligner = _aligner(*questions, NOTE, labels=mapping, threshold=0.5)
        short = aligner.align({"text": text, "title": "A title"}, json.dumps(said).encode())
        full = aligner.align_fully({"text": text, "title": "A title"}, json.dumps(said).encode())
        assert short == full
        written = [REGIONS.dump_json(one.regions, exclude_none=True) for one in (short, full)]
        assert written[0] == written[1]
        assert all(region.model_copy(update={"id": "r"}).id == "r" for region in short.regions)


def test_the_usual_prediction_goes_the_short_way() -> None:
    usual: tuple[tuple[Aligner, list[Region]], ...] = (
        (_aligner(ENTITIES), [Span(start=0, end=3, labels=("PERSON",), text="Ada")]),
        (_aligner(AREA, labels={"fine": "good"}), [Choice(labels=("fine",), score=0.5)]),
        (_aligner(ENTITIES), []),
    )
    for aligner, said in usual:
        aligner.align_fully = None  # type: ignore[method-assign, assignment]
        assert len(aligner.align({"text": TEXT}, REGIONS.dump_json(tuple(said), exclude_none=True)).regions) == len(
            said
        )
