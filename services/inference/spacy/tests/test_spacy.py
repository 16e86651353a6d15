"""What a pipeline says, and which pipelines are refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from prelabel_contract.regions import Choice, Relation, Span
from prelabel_inference_spacy.provider import SpacyProvider
from prelabel_provider.base import BadSettings, Failed, Input, Predicted
from pydantic import ValidationError


def _load(**settings: Any) -> SpacyProvider:
    return SpacyProvider.load(SpacyProvider.Settings.model_validate(settings))


def _said(model: SpacyProvider, text: str) -> Predicted:
    (said,) = model.predict([Input("task", {"text": text}, "text")])
    assert isinstance(said, Predicted)
    return said


def test_entities_have_no_scores(pipelines: Mapping[str, Path]) -> None:
    said = _said(_load(path=str(pipelines["ner"])), "😀 Ada lives in London")
    spans = [(r.labels, r.text, r.score) for r in said.regions if isinstance(r, Span)]
    assert (("PERSON",), "Ada", None) in spans
    assert (("CITY",), "London", None) in spans


def test_spancat_has_scores(pipelines: Mapping[str, Path]) -> None:
    said = _said(_load(path=str(pipelines["spancat"])), "Ada met Bob in Paris")
    assert said.regions
    assert all(isinstance(r, Span) and r.score is not None and r.score >= 0.5 for r in said.regions)


def test_exclusive_categories_give_the_best(pipelines: Mapping[str, Path]) -> None:
    (choice,) = _said(_load(path=str(pipelines["textcat"])), "good and fine").regions
    assert isinstance(choice, Choice)
    assert choice.labels == ("good",)
    assert choice.score is not None
    assert choice.score > 0.5


def test_categories_beside_each_other_give_each_over_its_own_threshold(pipelines: Mapping[str, Path]) -> None:
    said = _said(_load(path=str(pipelines["textcat_multilabel"])), "good and fine")
    assert [r.labels for r in said.regions] == [("good",)]


@pytest.mark.parametrize("part", ["textcat", "textcat_multilabel"])
def test_a_pipeline_that_says_no_number_fails_that_text(
    pipelines: Mapping[str, Path], tmp_path: Path, part: str
) -> None:
    nlp = spacy.load(pipelines[part])
    for node in nlp.get_pipe(part).model.walk():
        for name in node.param_names:
            if node.has_param(name):
                node.set_param(name, node.get_param(name) * np.nan)
    nlp.to_disk(tmp_path / "broken")
    (said,) = _load(path=str(tmp_path / "broken")).predict([Input("task", {"text": "good and fine"}, "text")])
    assert said == Failed("output", "the model said a number that is not finite")


def test_the_parse_is_relations_between_tokens(pipelines: Mapping[str, Path]) -> None:
    said = _said(_load(path=str(pipelines["parsed"]), emit=["pos", "dep"]), "Ada met Bob")
    tokens = {r.id: (r.text, r.labels) for r in said.regions if isinstance(r, Span)}
    arrows = [(tokens[r.from_id][0], r.labels[0], tokens[r.to_id][0]) for r in said.regions if isinstance(r, Relation)]
    assert sorted(tokens.values()) == [("Ada", ("PROPN",)), ("Bob", ("PROPN",)), ("met", ("VERB",))]
    assert sorted(arrows) == [("met", "nsubj", "Ada"), ("met", "obj", "Bob")]


def test_what_is_not_emitted_does_not_run(pipelines: Mapping[str, Path]) -> None:
    described = _load(path=str(pipelines["parsed"]), emit=["ner"]).describe()
    assert described.kinds == {"span"}
    assert set(described.labels["span"]) == {"PERSON", "CITY"}


def test_a_changed_file_is_another_version(pipelines: Mapping[str, Path], tmp_path: Path) -> None:
    before = _load(path=str(pipelines["ner"])).describe().version
    assert before.startswith("en_ner-")
    assert _load(path=str(pipelines["other_ner"])).describe().version != before


def test_a_text_that_is_too_long_fails_alone() -> None:
    model = _load(blank="en", patterns=[{"label": "X", "pattern": "Ada"}], max_length=10)
    short, long = model.predict([Input("a", {"text": "Ada"}, "text"), Input("b", {"text": "Ada" * 10}, "text")])
    assert isinstance(short, Predicted)
    assert long == Failed("too_long", "30 characters, the limit is 10")


@pytest.mark.parametrize(
    "settings",
    [
        {"path": "a", "pipeline": "b"},
        {"blank": "en"},
        {"path": "a", "patterns": [{"label": "X", "pattern": "x"}]},
        {"path": "a", "spans_key": "sc"},
        {"blank": "en", "patterns": [{"label": "X", "pattern": "x"}], "emit": ["ner"]},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SpacyProvider.Settings.model_validate(settings)


def test_a_folder_that_is_no_pipeline_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"^path: .* is no folder of a spaCy pipeline[^\n]*$"):
        _load(path=str(tmp_path))


def test_a_damaged_pipeline_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.cfg").write_text("[nlp]\nlang = ")
    with pytest.raises(BadSettings, match=r"^path: .* cannot be loaded[^\n]*$"):
        _load(path=str(tmp_path))


def test_a_pipeline_that_is_not_installed_is_refused_in_one_line() -> None:
    with pytest.raises(BadSettings, match=r"^pipeline: 'no_such_pipeline' cannot be loaded[^\n]*$"):
        _load(pipeline="no_such_pipeline")


def test_emitting_what_is_not_there_is_refused(pipelines: Mapping[str, Path]) -> None:
    with pytest.raises(BadSettings, match="this pipeline has no dep; it has ner"):
        _load(path=str(pipelines["ner"]), emit=["dep"])


@pytest.mark.parametrize("pattern", [[{"NO_SUCH_ATTRIBUTE": 1}], [{"LOWER": 7}]])
def test_a_bad_pattern_is_refused(pattern: list[dict[str, Any]]) -> None:
    with pytest.raises(BadSettings, match=r"^patterns: [^\n]+$"):
        _load(blank="en", patterns=[{"label": "X", "pattern": pattern}])
