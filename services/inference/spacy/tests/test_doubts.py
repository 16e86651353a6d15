"""How unsure a pipeline is: of what it says, and of what it nearly said."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from prelabel_contract.regions import Region
from prelabel_inference_spacy.beams import LONGEST
from prelabel_inference_spacy.entities import Entity, Tags
from prelabel_inference_spacy.provider import SpacyProvider
from prelabel_provider.base import BadSettings, Input, Predicted
from prelabel_provider.uncertainty import Measure
from pydantic import ValidationError

Pipelines = Mapping[str, Path]
JORDAN, BELL, CHASE = "Jordan is here", "Bell rang", "Chase ran"
"""What `unsure` pipelines learned contradictions about; Bell is not found, and Chase is."""
CLEAR = ("Ada met Bob in Paris", "Ada lives in London", "Paris is far from London", "nobody is here")
TEXTS = (*CLEAR, JORDAN, BELL, CHASE, "Jordan met Bell", "", " ", "😀 Ada", "Chase lives in Jordan " * 20)


def _load(folder: Path, **settings: Any) -> SpacyProvider:
    return SpacyProvider.load(SpacyProvider.Settings.model_validate({"path": str(folder), **settings}))


def _said(model: SpacyProvider, *texts: str) -> list[Predicted]:
    said = model.predict([Input(f"task-{n}", {"text": text}, "text") for n, text in enumerate(texts)])
    assert all(isinstance(one, Predicted) for one in said)
    return [one for one in said if isinstance(one, Predicted)]


def _doubts(model: SpacyProvider, *texts: str) -> list[float | None]:
    return [one.uncertainty for one in _said(model, *texts)]


def _known(model: SpacyProvider, *texts: str) -> list[float]:
    known = [doubt for doubt in _doubts(model, *texts) if doubt is not None]
    assert len(known) == len(texts)
    assert all(0 <= doubt <= 1 for doubt in known)
    return known


def _regions(model: SpacyProvider, *texts: str) -> list[tuple[Region, ...]]:
    return [one.regions for one in _said(model, *texts)]


# ---------------------------------------------------------------------------------------------------------- categories


@pytest.mark.parametrize(
    ("measure", "figure"),
    [
        ("margin", lambda shares: 1 - (shares[0] - shares[1])),
        ("least_confidence", lambda shares: (1 - shares[0]) * 2),
        ("entropy", lambda shares: -sum(share * np.log2(share) for share in shares)),
    ],
)
def test_a_category_is_as_unsure_as_all_of_them_are_alike(
    pipelines: Pipelines, measure: str, figure: Callable[[list[float]], float]
) -> None:
    cats = spacy.load(pipelines["textcat"])("good and foul").cats
    expected = pytest.approx(figure(sorted(cats.values(), reverse=True)), abs=1e-6)
    assert _doubts(_load(pipelines["textcat"], uncertainty=measure), "good and foul") == [expected]


def test_of_categories_beside_each_other_the_most_doubtful_counts_said_or_not(pipelines: Pipelines) -> None:
    model = _load(pipelines["textcat_multilabel"])
    cats = spacy.load(pipelines["textcat_multilabel"])("good and fine").cats
    assert [region.labels for region in _regions(model, "good and fine")[0]] == [("good",)]
    expected = max(1 - abs(2 * share - 1) for share in cats.values())
    assert _doubts(model, "good and fine") == [pytest.approx(expected, abs=1e-6)]


@pytest.mark.parametrize("folder", ["textcat", "textcat_multilabel"])
def test_categories_that_people_do_not_agree_on_are_less_sure(unsure: Pipelines, folder: str) -> None:
    good, bad, wavering = _known(_load(unsure[folder]), "good and fine", "bad and foul", "so and so")
    assert wavering > max(good, bad)


# --------------------------------------------------------------------------------------------------------------- spans


@pytest.mark.parametrize("folder", ["spancat", "spancat_singlelabel"])
def test_spans_are_as_unsure_as_the_lowest_score_of_those_that_are_said(pipelines: Pipelines, folder: str) -> None:
    for measure, factor in (("margin", 2), ("least_confidence", 1)):
        (said,) = _said(_load(pipelines[folder], uncertainty=measure), "Ada met Bob in Paris")
        scores = [region.score for region in said.regions if region.score is not None]
        assert len(scores) == len(said.regions) > 1
        assert said.uncertainty == pytest.approx(min(1.0, factor * (1 - min(scores))))


def test_spans_that_people_do_not_agree_on_are_less_sure(unsure: Pipelines) -> None:
    clear, wavering = _known(_load(unsure["spancat"]), "Ada met Bob in Paris", CHASE)
    assert wavering > clear


def test_where_no_span_is_said_nothing_is_known(pipelines: Pipelines) -> None:
    assert _said(_load(pipelines["spancat"]), "nobody is here") == [Predicted()]


# ------------------------------------------------------------------------------------------------------------ entities


def test_entities_tell_nothing_unless_a_beam_is_asked_for(unsure: Pipelines) -> None:
    assert _doubts(_load(unsure["ner"]), *TEXTS) == [None] * len(TEXTS)


@pytest.mark.parametrize("folder", ["ner", "listening"])
@pytest.mark.parametrize("measure", Measure)
def test_entities_that_people_do_not_agree_on_are_less_sure(unsure: Pipelines, folder: str, measure: Measure) -> None:
    model = _load(unsure[folder], beam=8, uncertainty=measure)
    assert min(_known(model, JORDAN, BELL, CHASE)) > max(_known(model, *CLEAR))


def test_what_was_nearly_found_is_doubt_too(unsure: Pipelines) -> None:
    (said,) = _said(_load(unsure["ner"], beam=8), BELL)
    assert said.regions == ()
    assert said.uncertainty is not None
    assert said.uncertainty > 0.2


@pytest.mark.parametrize("folder", ["ner", "ruled", "listening"])
@pytest.mark.parametrize("width", [2, 32])
def test_what_is_suggested_is_the_same_with_a_beam(unsure: Pipelines, folder: str, width: int) -> None:
    suggested = _regions(_load(unsure[folder]), *TEXTS)
    assert any(suggested)
    assert _regions(_load(unsure[folder], beam=width), *TEXTS) == suggested


def test_what_others_have_set_before_is_not_in_doubt(unsure: Pipelines) -> None:
    (alone,), (ruled,) = (_known(_load(unsure[folder], beam=8), JORDAN) for folder in ("ner", "ruled"))
    assert ruled < alone / 2


def test_a_beam_beside_categories_leaves_the_more_doubtful_of_both(unsure: Pipelines, tmp_path: Path) -> None:
    nlp = spacy.load(unsure["ner"])
    nlp.add_pipe("textcat", source=spacy.load(unsure["textcat"]))
    nlp.to_disk(tmp_path)
    texts = (*CLEAR, JORDAN, "so and so")
    entities, cats = _known(_load(unsure["ner"], beam=8), *texts), _known(_load(unsure["textcat"]), *texts)
    most = [pytest.approx(max(both), abs=1e-4) for both in zip(entities, cats, strict=True)]
    assert _known(_load(tmp_path, beam=8), *texts) == most


def test_a_text_of_too_many_tokens_gets_suggestions_and_no_uncertainty(unsure: Pipelines) -> None:
    (said,) = _said(_load(unsure["ner"], beam=2), "Ada met Bob " * (LONGEST // 3 + 1))
    assert said.regions
    assert said.uncertainty is None


@pytest.mark.parametrize(
    ("shares", "said", "doubt"),
    [
        ({}, [], 0.0),
        ({(0, 1, "A"): 1.0}, [(0, 1, "A")], 0.0),
        ({(0, 1, "A"): 0.7}, [(0, 1, "A")], 0.6),
        ({(0, 1, "A"): 0.3}, [], 0.6),  # nearly found
        ({(0, 2, "A"): 0.9, (3, 4, "B"): 0.6}, [(0, 2, "A"), (3, 4, "B")], 0.8),  # the most doubtful one
        ({(0, 1, "A"): 0.5, (0, 1, "B"): 0.4}, [(0, 1, "A")], 0.9),  # which label
        ({(0, 2, "A"): 0.6, (0, 1, "A"): 0.4}, [(0, 2, "A")], 0.8),  # where it ends
        ({(0, 3, "A"): 0.6, (1, 2, "A"): 0.4}, [(0, 3, "A")], 0.8),  # where it begins and ends
        ({(0, 1, "A"): 0.1}, [(0, 1, "A")], 1.0),  # found, though most ways do not find it
        ({(0, 1, "A"): 0.9}, [], 1.0),  # not found, though most ways find it
        ({(0, 1, "other"): 1.0}, [(0, 1, "other")], 0.0),  # a ruler's, which no way may leave out
        ({(0, 1, "A"): float("nan")}, [], None),
    ],
)
def test_a_text_is_as_unsure_as_its_most_doubtful_token(
    shares: Mapping[Entity, float], said: list[Entity], doubt: float | None
) -> None:
    found = Tags(["A", "B"]).doubt(4, shares, said, Measure.MARGIN)
    assert found == (None if doubt is None else pytest.approx(doubt))


# ------------------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("folder", "settings"),
    [
        ("spancat", {"beam": 8}),
        ("textcat", {"beam": 8, "uncertainty": "entropy"}),
        ("parsed", {"beam": 8, "emit": ["pos"]}),
        ("ner", {"uncertainty": "entropy"}),
        ("parsed", {"uncertainty": "margin", "emit": ["pos", "dep"]}),
    ],
)
def test_what_would_tell_nothing_is_refused_by_its_name(
    pipelines: Pipelines, folder: str, settings: dict[str, Any]
) -> None:
    name = next(iter(settings))
    with pytest.raises(BadSettings, match=rf"^{name}: it has an effect with [^\n]*this pipeline gives [^\n]+$"):
        _load(pipelines[folder], **settings)


@pytest.mark.parametrize("name", ["beam", "uncertainty"])
def test_a_ruler_alone_is_never_in_doubt(name: str) -> None:
    said = {"blank": "en", "patterns": [{"label": "X", "pattern": "x"}], name: {"beam": 8}.get(name, "entropy")}
    with pytest.raises(BadSettings, match=f"^{name}: .* this pipeline gives entity_ruler$"):
        SpacyProvider.load(SpacyProvider.Settings.model_validate(said))


@pytest.mark.parametrize("width", [1, 33])
def test_a_beam_has_some_ways_and_not_too_many(width: int) -> None:
    with pytest.raises(ValidationError, match="beam"):
        SpacyProvider.Settings.model_validate({"beam": width})


def test_another_figure_is_another_version(unsure: Pipelines) -> None:
    said: list[dict[str, Any]] = [{}, {"beam": 4}, {"beam": 8}, {"beam": 8, "uncertainty": "entropy"}]
    versions = [_load(unsure["ner"], **settings).describe().version for settings in said]
    assert len(set(versions)) == len(versions)
    assert _load(unsure["textcat"], uncertainty="margin").describe() == _load(unsure["textcat"]).describe()
