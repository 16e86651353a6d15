"""The usual prediction, aligned in less than half of the time: spans and choices that fit as they are.

It takes what it can prove to come out of the full way (`align`) unchanged, and nothing else: one region that needs a
closer look, and the whole prediction goes there. Values that msgspec has checked against the contract's ranges, and
our own, are put into the contract's regions without being checked again.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from prelabel_contract.base import MAX_INT
from prelabel_contract.projects import Question
from prelabel_contract.regions import Choice, Regions, Span
from pydantic import JsonValue

from .unchecked import unchecked

_Offset = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
_Label = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Score = Annotated[float, msgspec.Meta(ge=0, le=1)] | None
_Empty = Annotated[str, msgspec.Meta(max_length=0)]


class _Said(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind"):
    """What providers say in common; what is left out here needs a closer look."""

    labels: tuple[_Label, ...]
    score: _Score = None
    field: _Empty = ""
    question: _Empty = ""
    below_threshold: bool = False
    """Ours to say."""


class _Span(_Said, tag="span", kw_only=True):
    start: _Offset
    end: _Offset
    text: str | None = None


class _Choice(_Said, tag="choice"):
    pass


_SAID = msgspec.json.Decoder(list[_Span | _Choice])

_SPAN = set(Span.model_fields) - {"id", "picture"}
_CHOICE = set(Choice.model_fields) - {"id", "picture"}


class Plain:
    """Prepared once per project configuration and model; keeps nothing between two calls."""

    def __init__(
        self, by_kind: Mapping[str, Question], mapping: Mapping[str, str | None], threshold: float | None
    ) -> None:
        """`by_kind`: the question that a region of that kind answers if it names none."""
        self._span = by_kind.get("span")
        self._choice = by_kind.get("choice")
        self._span_labels = _accepted(self._span, mapping)
        self._choice_labels = _accepted(self._choice, mapping)
        self._threshold = threshold

    def align(self, data: Mapping[str, JsonValue], regions: bytes) -> tuple[Regions, float | None] | None:
        """The regions and their lowest score; None if they need a closer look."""
        try:
            said = _SAID.decode(regions)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        kept: list[Span | Choice] = []
        least: float | None = None
        for one in said:
            fitting = self._a_span(one, data) if isinstance(one, _Span) else self._a_choice(one)
            if fitting is None:
                return None
            kept.append(fitting)
            if one.score is not None and (least is None or one.score < least):
                least = one.score
        if len(kept) > 1 and self._choice is not None and not self._choice.multiple and _choices(kept) > 1:
            return None
        return tuple(kept), least

    def _a_span(self, one: _Span, data: Mapping[str, JsonValue]) -> Span | None:
        question = self._span
        if question is None:
            return None
        text = data.get(question.field)
        labels, start, end, score = _fitting(one.labels, self._span_labels), one.start, one.end, one.score
        if not isinstance(text, str) or labels is None or not start < end <= len(text):
            return None
        found = text[start:end]
        if one.text is not None and one.text != found:
            return None
        values = {
            "id": None,
            "field": question.field,
            "question": question.name,
            "labels": labels,
            "score": score,
            "below_threshold": score is not None and self._below(score),
            "picture": None,
            "kind": "span",
            "start": start,
            "end": end,
            "text": found,
        }
        return unchecked(Span, values, _SPAN)

    def _a_choice(self, one: _Choice) -> Choice | None:
        question = self._choice
        labels = _fitting(one.labels, self._choice_labels)
        if question is None or not labels or (len(labels) > 1 and not question.multiple):
            return None
        values = {
            "id": None,
            "field": question.field,
            "question": question.name,
            "labels": labels,
            "score": one.score,
            "below_threshold": one.score is not None and self._below(one.score),
            "picture": None,
            "kind": "choice",
        }
        return unchecked(Choice, values, _CHOICE)

    def _below(self, score: float) -> bool:
        return self._threshold is not None and score < self._threshold


def _accepted(question: Question | None, mapping: Mapping[str, str | None]) -> Mapping[str, str] | None:
    """The label set's word for each of the model's that fits; None where any fits as it is."""
    if question is None or not question.labels:
        return None if not mapping else {}
    ours = {label.value for label in question.labels}
    return {label: label for label in ours if label not in mapping} | {
        theirs: label for theirs, label in mapping.items() if label in ours
    }


def _fitting(labels: tuple[str, ...], accepted: Mapping[str, str] | None) -> tuple[str, ...] | None:
    if accepted is None:
        fitting = labels
    elif len(labels) == 1:
        label = accepted.get(labels[0])
        return None if label is None else (label,)
    else:
        mapped = [accepted.get(label) for label in labels]
        if None in mapped:
            return None
        fitting = tuple(label for label in mapped if label is not None)
    return fitting if len(set(fitting)) == len(fitting) else None


def _choices(kept: list[Span | Choice]) -> int:
    return sum(isinstance(one, Choice) for one in kept)
