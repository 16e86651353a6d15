"""Tokens to words, words to entities, windows to texts: with a model whose answers are known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prelabel_contract.regions import Span
from prelabel_inference_huggingface.provider import HuggingFaceProvider
from prelabel_inference_huggingface.tokens import kept
from prelabel_inference_huggingface.words import Read, Tag, spans, tags
from prelabel_provider.base import Failed, Input, Predicted


def _load(folder: Path, **settings: Any) -> HuggingFaceProvider:
    said = {"path": str(folder), "task": "token-classification", **settings}
    return HuggingFaceProvider.load(HuggingFaceProvider.Settings.model_validate(said))


def _spans(model: HuggingFaceProvider, text: str) -> list[tuple[str, str, float]]:
    (said,) = model.predict([Input("task", {"text": text}, "text")])
    assert isinstance(said, Predicted)
    found = [region for region in said.regions if isinstance(region, Span)]
    assert all(text[one.start : one.end] == one.text for one in found)
    return [(one.text or "", one.labels[0], round(one.score or 0, 2)) for one in found]


@pytest.mark.parametrize(
    ("aggregation", "paris"),
    [
        ("simple", [("Par", "CITY", 0.52), ("is", "PERSON", 0.9)]),
        ("first", [("Paris", "CITY", 0.52)]),
        ("average", [("Paris", "PERSON", 0.65)]),
        ("max", [("Paris", "PERSON", 0.9)]),
    ],
)
def test_each_aggregation_reads_a_word_of_two_tokens_in_its_way(
    models: Mapping[str, Path], aggregation: str, paris: list[tuple[str, str, float]]
) -> None:
    model = _load(models["known_tags"], aggregation=aggregation)
    assert _spans(model, "Ada met Bob in Paris.") == [("Ada", "PERSON", 0.8), ("Bob", "PERSON", 0.8), *paris]


def test_numbers_that_are_not_finite_are_no_spans_and_harm_no_other_text(models: Mapping[str, Path]) -> None:
    model = _load(models["broken_tags"])
    texts = ["Ada met news", "Ada met Bob", "news in York"]
    said = model.predict([Input(text, {"text": text}, "text") for text in texts])
    assert [one.reason if isinstance(one, Failed) else None for one in said] == [None, "output", None]


def test_what_continues_is_one_span_and_what_begins_is_another(models: Mapping[str, Path]) -> None:
    found = _spans(_load(models["known_tags"]), "😀 Ada Bob New York London")
    assert [text for text, *_ in found] == ["Ada", "Bob", "New York", "London"]


@pytest.mark.parametrize("overlap", [0, 1, 2, 5, 13])
def test_windows_of_a_long_text_say_what_the_whole_would(models: Mapping[str, Path], overlap: int) -> None:
    model = _load(models["known_tags"], max_tokens=16, overlap=overlap, aggregation="first")
    text = "😀 Ada met Paris . New York news " * 30
    once = [("Ada", "PERSON", 0.8), ("Paris", "CITY", 0.52), ("New York", "CITY", 0.83)]
    found = _spans(model, text)
    if overlap:  # without, a window may part New from York, and nobody sees both
        assert found == once * 30
    assert [label for *_, label, _ in found if label == "PERSON"] == ["PERSON"] * 30


def test_of_what_two_windows_share_each_keeps_the_half_far_from_its_edge() -> None:
    tokens = list(range(26))
    windows = [tokens[0:10], tokens[6:16], tokens[12:22], tokens[18:26]]
    merged = [one for i, w in enumerate(windows) for one in w[kept(i, len(windows), len(w), 4)]]
    assert merged == tokens
    assert windows[1][kept(1, 4, 10, 4)] == tokens[8:14]


def test_a_long_text_is_cut_or_refused_where_the_settings_say_so(models: Mapping[str, Path]) -> None:
    text = "Ada met " * 20
    assert len(_spans(_load(models["known_tags"], max_tokens=16, long_texts="truncate"), text)) == 7
    model = _load(models["known_tags"], max_tokens=16, long_texts="fail")
    short, long = model.predict([Input("a", {"text": "Ada"}, "text"), Input("b", {"text": text}, "text")])
    assert isinstance(short, Predicted)
    assert short.regions
    assert long == Failed("too_long", "40 tokens, the limit is 14")


def test_labels_are_those_behind_the_tags(models: Mapping[str, Path]) -> None:
    assert _load(models["known_tags"]).describe().labels == {"span": ("PERSON", "CITY")}


def test_tags_of_each_scheme_are_understood() -> None:
    assert tags(["O", "B-X", "I-X"]) == (Tag(None), Tag("X", begins=True), Tag("X"))
    assert tags(["S-X", "E-X", "U-X", "L-X"]) == (
        Tag("X", begins=True, ends=True),
        Tag("X", ends=True),
        Tag("X", begins=True, ends=True),
        Tag("X", ends=True),
    )
    assert tags(["O", "B-X", "NAME"]) == (Tag(None), Tag("B-X"), Tag("NAME"))


def _read(text: str, outputs: Sequence[int], meaning: Sequence[str]) -> list[str]:
    offsets = [(i, i + 1) for i in range(len(text))]
    rows = np.eye(len(meaning), dtype=np.float32)[list(outputs)]
    read = Read(offsets, [None] * len(text), rows)
    return [f"{one.text}:{one.labels[0]}" for one in spans(text, read, tags(meaning), "simple")]


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        ([1, 2, 0, 2], ["ab:X", "d:X"]),
        ([1, 1, 2, 3], ["a:X", "bc:X", "d:Y"]),
        ([4, 2, 5, 2], ["a:X", "bc:X", "d:X"]),
        ([0, 0, 0, 0], []),
    ],
)
def test_entities_end_where_their_tags_say(outputs: list[int], found: list[str]) -> None:
    assert _read("abcd", outputs, ["O", "B-X", "I-X", "I-Y", "S-X", "E-X"]) == found


def test_the_space_before_a_word_is_no_part_of_a_span() -> None:
    read = Read([(0, 4), (4, 8)], [0, 1], np.array([[1, 0], [0, 1]], np.float32))
    found = [(one.start, one.end) for one in spans("Ada  Bob", read, tags(["A", "B"]), "first")]
    assert found == [(0, 3), (5, 8)]


@pytest.mark.parametrize(
    ("text", "settings", "doubt"),
    [
        ("Ada", {}, 1 - (0.80 - 0.10)),
        ("Paris", {}, 1 - (0.52 - 0.40)),  # its first token is the most doubtful
        ("Paris", {"aggregation": "max"}, 1 - (0.90 - 0.03)),  # the word is what its surest token says
        ("Ada met Paris in London", {}, 1 - (0.52 - 0.40)),
        ("met", {}, 1 - (0.96 - 0.01)),  # nothing is found, and that is an answer too
        ("Ada", {"uncertainty": "least_confidence"}, 0.20 * 5 / 4),
        ("London", {"uncertainty": "least_confidence"}, 0.10 * 5 / 4),
    ],
)
def test_a_text_is_as_unsure_as_its_most_doubtful_token(
    models: Mapping[str, Path], text: str, settings: dict[str, str], doubt: float
) -> None:
    model = _load(models["known_tags"], **settings)
    (said,) = model.predict([Input("task", {"text": text}, "text")])
    assert isinstance(said, Predicted)
    assert said.uncertainty == pytest.approx(doubt, abs=1e-5)


def test_a_text_without_tokens_has_no_uncertainty(models: Mapping[str, Path]) -> None:
    (said,) = _load(models["known_tags"]).predict([Input("task", {"text": ""}, "text")])
    assert said == Predicted()
