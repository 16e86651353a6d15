"""Projects and label sets: what is wrong is told by field and name, with what would be right."""

from typing import Any

import pytest
from prelabel_contract.base import READING
from prelabel_contract.errors import field_errors
from prelabel_contract.examples import CHOICES, PROJECT, SPANS, TIES
from prelabel_contract.limits import MAX_PROJECT_BYTES
from prelabel_contract.projects import LabelSet, ModelSpec, Project, Question, listing
from prelabel_contract.regions import (
    Choice,
    Pairwise,
    Rating,
    Region,
    Relation,
    Span,
    Taxonomy,
    Text,
    UnknownRegion,
)
from pydantic import ValidationError

LABELS: dict[str, Any] = {
    "questions": [
        {
            "name": "entities",
            "kind": "span",
            "also": ["html_span"],
            "field": "text",
            "labels": ["PER", "LOC"],
        },
        {"name": "tone", "kind": "choice", "field": "text", "labels": ["warm", "formal"], "multiple": False},
        {"name": "clear", "kind": "rating", "field": "text", "max_rating": 5},
        {"name": "ties", "kind": "relation", "field": "text", "labels": ["writes to"]},
        {"name": "gist", "kind": "text", "field": "text"},
        {"name": "better", "kind": "pairwise", "field": "one", "other_field": "two"},
        {
            "name": "subject",
            "kind": "taxonomy",
            "field": "text",
            "labels": [
                {"value": "work"},
                {"value": "home"},
                {"value": "other", "parent": "work"},
                {"value": "other", "parent": "home"},
            ],
        },
    ]
}
LABEL_SET = LabelSet.model_validate(LABELS)


def _project(**changes: Any) -> dict[str, Any]:
    model = {
        "name": "names",
        "provider": "spacy",
        "questions": ["entities"],
        "labels": {"PERSON": "PER", "X": None},
    }
    return {"id": "letters", "label_set": LABELS, "models": [model], **changes}


def _model(**changes: Any) -> dict[str, Any]:
    return _project(models=[{"name": "m", "provider": "rules", "questions": ["tone"], **changes}])


def _question(**changes: Any) -> dict[str, Any]:
    question = {"name": "q", "kind": "choice", "field": "text", "labels": ["a"], **changes}
    return _project(label_set={"questions": [question]}, models=[])


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        (_project(id="Two Words"), "/id", "pattern"),
        (_project(title="x" * 201), "/title", "200"),
        (_project(label_set={"questions": []}), "/label_set/questions", "at least one"),
        (_project(models=[{"name": "m"}]), "/models/0/provider", "required"),
        (
            _project(models=[{"name": "m", "provider": "p", "questions": ["tone"]}] * 2),
            "",
            "two models have the name 'm'",
        ),
        (_project(models=[{"name": f"m{n}", "provider": "p"} for n in range(51)]), "/models", "at most 50"),
        (
            _model(questions=["mood"]),
            "",
            "'mood', which is no question of the label set; questions are better, clear",
        ),
        (_model(questions=["tone", "tone"]), "", "two questions of kind choice: name its questions"),
        (
            _model(labels={"x": "cold"}),
            "",
            "maps to 'cold', which is no label of its questions; labels are formal, warm",
        ),
        (_model(threshold=1.5), "/models/0/threshold", "less than or equal to 1"),
        (_model(settings={"a": [{"b": float("nan")}]}), "/models/0/settings/a", "NaN"),
        (_model(settings={"a": 2**63}), "/models/0/settings/a", "64 bits"),
        (_model(settings={"a": "x" * MAX_PROJECT_BYTES}), "", f"the limit is {MAX_PROJECT_BYTES}"),
        (_question(name=""), "/label_set/questions/0/name", "at least 1"),
        (
            _question(kind="cuboid"),
            "/label_set/questions/0/kind",
            "'cuboid' is not a kind of region; kinds are choice",
        ),
        (_question(also=["voxel"]), "/label_set/questions/0/also", "'voxel' is not a kind of region"),
        (_question(labels=[]), "/label_set/questions/0", "'q' asks for a choice and gives no labels"),
        (_question(labels=["a", "a"]), "/label_set/questions/0", "names the label 'a' twice"),
        (_question(labels=[""]), "/label_set/questions/0/labels/0/value", "at least 1"),
        (_question(labels=["\ud800"]), "/label_set/questions/0/labels/0/value", "unicode"),
        (_question(kind="span", multiple=False), "/label_set/questions/0", "an effect on choices only"),
        (_question(max_rating=5), "/label_set/questions/0", "an effect on ratings only"),
        (
            _question(kind="rating", labels=[], max_rating=0),
            "/label_set/questions/0/max_rating",
            "greater than or equal",
        ),
        (_question(other_field="two"), "/label_set/questions/0", "an effect on pairwise comparisons only"),
        (
            _question(kind="taxonomy", labels=[{"value": "a", "parent": "b"}]),
            "/label_set/questions/0",
            "puts 'a' under 'b', which is not one of its labels",
        ),
        (
            _project(label_set={"questions": [LABELS["questions"][0]] * 2}),
            "/label_set",
            "two questions have the name 'entities'",
        ),
    ],
)
def test_a_project_that_is_wrong_is_told_where_and_why(body: dict[str, Any], pointer: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Project.model_validate(body)
    errors = field_errors(refused.value)
    assert [error.pointer for error in errors] == [pointer]
    assert said in errors[0].detail
    assert not errors[0].detail.startswith("Value error")


def test_a_sound_project_is_taken() -> None:
    assert Project.model_validate(_project()).label_set == LABEL_SET


@pytest.mark.parametrize(
    ("region", "at", "said"),
    [
        (Span(question="who", field="text", start=0, end=1), "question", "'who' is not a question"),
        (Choice(question="entities", field="text", labels=("PER",)), "kind", "html_span, span, not 'choice'"),
        (UnknownRegion(kind="cuboid", question="entities", field="text"), "kind", "not 'cuboid'"),
        (Span(question="entities", field="page", start=0, end=1), "field", "field text, not 'page'"),
        (
            Span(question="entities", field="text", labels=("ORG",), start=0, end=1),
            "labels",
            "labels are LOC, PER",
        ),
        (Choice(question="tone", field="text", labels=("warm", "formal")), "labels", "takes one label"),
        (Rating(question="clear", field="text", rating=6), "rating", "goes up to 5"),
        (
            Relation(question="ties", field="text", from_id="nobody", to_id="s1"),
            "from_id",
            "no region of this list",
        ),
        (
            Relation(question="ties", field="text", from_id="s1", to_id="nobody"),
            "to_id",
            "no region of this list",
        ),
        (
            Relation(question="ties", field="text", from_id="s1", to_id="s1", direction="up"),
            "direction",
            "left, right or bi",
        ),
        (Text(question="gist", field="text", text=("x",), of="nobody"), "of", "no region of this list"),
        (Pairwise(question="better", field="two", selected="both"), "selected", "left or right"),
        (Pairwise(question="better", field="three", selected="left"), "field", "field one, two"),
        (
            Taxonomy(question="subject", field="text", paths=(("other",),)),
            "paths",
            "not a path from the root",
        ),
        (Taxonomy(question="subject", field="text", paths=(("home", "work"),)), "paths", "'home / work'"),
        (Taxonomy(question="subject", field="text", paths=((),)), "paths", "not a path"),
    ],
)
def test_a_region_that_the_label_set_does_not_allow_is_told_where(region: Region, at: str, said: str) -> None:
    errors = list(LABEL_SET.errors((SPANS[0], region)))
    assert [error.pointer for error in errors] == [f"/regions/1/{at}"]
    assert said in errors[0].detail


def test_what_the_label_set_asks_for_is_allowed() -> None:
    paths = Taxonomy(question="subject", field="text", paths=(("work", "other"), ("home",)))
    fine: tuple[Region, ...] = (
        *SPANS,
        *CHOICES,
        *TIES,
        paths,
        Pairwise(question="better", field="two", selected="left"),
    )
    assert list(LABEL_SET.errors(fine)) == []
    assert list(LABEL_SET.errors(())) == []


def test_a_message_lists_ten_names_and_counts_the_rest() -> None:
    assert listing(f"{n:02}" for n in range(12)) == "00, 01, 02, 03, 04, 05, 06, 07, 08, 09 and 2 more"


def test_a_message_about_a_thousand_labels_stays_short() -> None:
    labels = tuple(f"label-{n}-{'x' * 180}" for n in range(1000))
    question = Question.model_validate({"name": "q", "kind": "span", "field": "f", "labels": labels})
    regions = tuple(Span(question="q", field="f", labels=("?",), start=0, end=1) for _ in range(20))
    errors = list(LabelSet(questions=(question,)).errors(regions))
    assert sum(len(error.detail) for error in errors) < 64 * 1024


def test_the_hash_names_the_configuration_and_nothing_else() -> None:
    again = Project.model_validate_json(PROJECT.model_dump_json())
    assert (again.config_hash, again.label_set_hash) == (PROJECT.config_hash, PROJECT.label_set_hash)
    assert PROJECT.model_copy(update={"title": "Other"}).config_hash != PROJECT.config_hash
    assert PROJECT.model_copy(update={"title": "Other"}).label_set_hash == PROJECT.label_set_hash


def test_a_field_that_a_later_version_adds_does_not_rename_a_configuration() -> None:
    class Later(Project):
        colour: str = "blue"

    assert Later.model_validate(_project()).config_hash == Project.model_validate(_project()).config_hash


def test_a_project_from_a_store_is_read_without_judging_it() -> None:
    model = ModelSpec(name="m", provider="p", questions=("gone",))
    stored = _question(kind="cuboid", multiple=False) | {"models": [model.model_dump(mode="json")]}
    assert Project.model_validate(stored, context=READING).label_set.questions[0].kind == "cuboid"
    with pytest.raises(ValidationError):
        Project.model_validate(stored)
