"""From what a model said, in its provider's words, to what its project asks: pure, and run for every task.

Each region gets its question and field, its labels in the label set's words, and a mark if its score is under
the threshold. What does not fit is dropped and counted by reason, never guessed:

label      a label that is none of the question's (the region goes with its last label)
offset     a span outside of its text, empty, backwards, or with a `text` that is not there
kind       a kind that no question of the model asks for, or a question that does not take it
field      a field that its question is not asked about, or that holds no text for a span
relation   something that points to a region that is not there
score      a score that is no number from 0 to 1 (the region stays, its score becomes null)
single     one of several choices where the question takes one (the best score stays, then the first)
invalid    anything else that the contract does not allow

What is no list of regions at all is no answer: it raises `Unreadable`.

Labels that the model's mapping turns into null are dropped without being counted: somebody asked for that.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from prelabel_contract.projects import ModelSpec, Project, Question
from prelabel_contract.regions import REGIONS, Regions
from pydantic import JsonValue, ValidationError

from .plain import Plain

_Raw = dict[str, Any]


class Aligned(NamedTuple):
    """What is left, and what is not."""

    regions: Regions
    dropped: Mapping[str, int]
    """By reason; empty when everything fits."""
    min_score: float | None
    """The lowest score that is left; null when none has one."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, prepared."""

    name: str
    field: str
    fields: frozenset[str]
    kinds: frozenset[str]
    labels: frozenset[str]
    """Empty: any."""
    steps: frozenset[tuple[str | None, str]]
    """(parent, label) of a taxonomy."""
    multiple: bool
    max_rating: int | None

    @classmethod
    def of(cls, question: Question) -> "_Asked":
        return cls(
            name=question.name,
            field=question.field,
            fields=frozenset(question.fields),
            kinds=frozenset(question.kinds),
            labels=frozenset(label.value for label in question.labels),
            steps=frozenset((label.parent, label.value) for label in question.labels),
            multiple=question.multiple,
            max_rating=question.max_rating,
        )


class Unreadable(ValueError):
    """What a model said cannot be read as a list; the message quotes nothing of it."""


_NOTHING: Mapping[str, int] = MappingProxyType({})
_UNWANTED = ""
"""Dropped because somebody asked for it: not counted."""


def as_trained(model: ModelSpec) -> ModelSpec:
    """A model as its trained versions are aligned: they answer in the label set's own words, and need no mapping."""
    return model.model_copy(update={"labels": {}}) if model.labels else model


class Aligner:
    """Prepared once per project configuration and model; keeps nothing between two calls."""

    def __init__(self, project: Project, model: ModelSpec) -> None:
        """Raises ValueError if the model answers a question that the label set does not have."""
        questions = project.questions_of(model)
        self._by_name = {question.name: _Asked.of(question) for question in questions}
        usual = ((question.kind, question.name) for question in questions)
        further = ((kind, question.name) for question in questions for kind in question.also)
        self._by_kind: dict[str, _Asked] = {}
        for kind, name in (*usual, *further):
            self._by_kind.setdefault(kind, self._by_name[name])
        self._singles = [question.name for question in questions if not question.multiple]
        self._mapping = dict(model.labels)
        self._threshold = model.threshold
        usually = {kind: self._question(questions, asked) for kind, asked in self._by_kind.items()}
        self._plain = Plain(usually, self._mapping, self._threshold)

    @staticmethod
    def _question(questions: Iterable[Question], asked: _Asked) -> Question:
        return next(question for question in questions if question.name == asked.name)

    def align(self, data: Mapping[str, JsonValue], regions: bytes) -> Aligned:
        """Align the regions (JSON, as a worker gives them) that a model found in a task's data. Raises `Unreadable`."""
        if (plain := self._plain.align(data, regions)) is not None:
            return Aligned(plain[0], _NOTHING, plain[1])
        return self.align_fully(data, regions)

    def align_fully(self, data: Mapping[str, JsonValue], regions: bytes) -> Aligned:
        """The same for any regions."""
        dropped: Counter[str] = Counter()
        kept: list[_Raw] = []
        for region in _listed(regions):
            try:
                misfit = self._misfit(region, data, dropped) if _formed(region) else "invalid"
            except (TypeError, AttributeError, LookupError):  # a provider that builds regions unchecked
                misfit = "invalid"
            if misfit is None:
                kept.append(region)
            elif misfit is not _UNWANTED:
                dropped[misfit] += 1
        for name in self._singles:
            kept = _best(kept, name, dropped)
        kept = _joined(kept, dropped)
        try:
            valid = REGIONS.validate_python(kept)
        except ValidationError:
            valid = REGIONS.validate_python(_joined(list(_valid(kept, dropped)), dropped))
        scores = [region.score for region in valid if region.score is not None]
        return Aligned(valid, dict(dropped), min(scores, default=None))

    def _misfit(self, region: _Raw, data: Mapping[str, JsonValue], dropped: Counter[str]) -> str | None:
        """Make a region fit, or say why it does not."""
        kind: str = region["kind"]
        named = region.get("question")
        question = self._by_name.get(named) if named else self._by_kind.get(kind)
        if question is None or kind not in question.kinds:
            return "kind"
        region["question"] = question.name
        field = region["field"] = region.get("field") or question.field
        if field not in question.fields:
            return "field"
        if not self._relabel(region, question, dropped):
            return _UNWANTED
        self._mark(region, dropped)
        if kind == "span":
            return _offset_misfit(region, data.get(field))
        return "invalid" if _is_beyond(region, question) else None

    def _relabel(self, region: _Raw, question: _Asked, dropped: Counter[str]) -> bool:
        """Put labels into the label set's words; whether what said something still does."""
        if region["kind"] == "taxonomy":
            return self._retrace(region, question, dropped)
        if not region.get("labels"):
            return True
        labels: dict[str, None] = {}
        for said in region["labels"]:
            label = self._mapping.get(said, said)
            if label is None:
                continue
            if question.labels and label not in question.labels:
                dropped["label"] += 1
            else:
                labels[label] = None
        region["labels"] = list(labels)
        return bool(labels)

    def _retrace(self, region: _Raw, question: _Asked, dropped: Counter[str]) -> bool:
        """Put a taxonomy's paths into the label set's words; whether any is left."""
        paths = []
        for said in region["paths"]:
            path = [self._mapping.get(step, step) for step in said]
            if None in path:
                continue
            if path and (not question.steps or question.steps.issuperset(zip((None, *path), path, strict=False))):
                paths.append(path)
            else:
                dropped["label"] += 1
        region["paths"] = paths
        return bool(paths)

    def _mark(self, region: _Raw, dropped: Counter[str]) -> None:
        score = region.get("score")
        if score is not None and (type(score) not in (int, float) or not 0 <= score <= 1):
            dropped["score"] += 1
            score = region["score"] = None
        region["below_threshold"] = score is not None and self._threshold is not None and score < self._threshold


def _listed(regions: bytes) -> list[Any]:
    try:
        said = msgspec.json.decode(regions)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # a number beyond JSON's (NaN), for one
        raise Unreadable("the model's answer is no JSON") from None
    if not isinstance(said, list):
        raise Unreadable("the model's answer is no list of regions")
    return said


_LISTS = ("labels", "paths")
_NAMES = ("id", "of", "from_id", "to_id")


def _formed(region: _Raw) -> bool:
    """Lists are lists, names are texts: a text in place of labels would be taken for a list of its letters."""
    lists = all(region.get(name) is None or isinstance(region[name], list) for name in _LISTS)
    names = all(region.get(name) is None or isinstance(region[name], str) for name in _NAMES)
    ends = region["kind"] != "relation" or {"from_id", "to_id"} <= region.keys()
    return lists and names and ends and all(isinstance(path, list) for path in region.get("paths") or ())


def _is_beyond(region: _Raw, question: _Asked) -> bool:
    """A value that readers of a later version may know: a model of today has no business with it."""
    match region["kind"]:
        case "rating":
            return question.max_rating is not None and region["rating"] > question.max_rating
        case "pairwise":
            return region["selected"] not in ("left", "right")
        case "relation":
            return region.get("direction", "right") not in ("left", "right", "bi")
    return False


def _offset_misfit(region: _Raw, text: JsonValue) -> str | None:
    if not isinstance(text, str):
        return "field"
    start, end = region["start"], region["end"]
    if not 0 <= start < end <= len(text):
        return "offset"
    found = text[start:end]
    said = region.get("text")
    if said is not None and said != found:
        return "offset"
    region["text"] = found
    return None


def _best(regions: list[_Raw], question: str, dropped: Counter[str]) -> list[_Raw]:
    """One label for a question that takes one: the first of the best score; a missing score is the worst."""
    rivals = [region for region in regions if region["question"] == question and region.get("labels")]
    surplus = sum(len(region["labels"]) for region in rivals) - 1
    if surplus < 1:
        return regions
    best = max(rivals, key=lambda region: -1.0 if region.get("score") is None else region["score"])
    best["labels"] = best["labels"][:1]
    dropped["single"] += surplus
    beaten = {id(region) for region in rivals if region is not best}
    return [region for region in regions if id(region) not in beaten]


def _joined(regions: list[_Raw], dropped: Counter[str]) -> list[_Raw]:
    """Without what points to nothing; with an id for everything where relations point."""
    if not any("from_id" in region or region.get("of") is not None for region in regions):
        return regions
    while True:
        ids = {region.get("id") for region in regions}
        joined = [region for region in regions if ids.issuperset(_ends(region))]
        dropped["relation"] += len(regions) - len(joined)
        if len(joined) == len(regions):
            break
        regions = joined
    if not dropped["relation"]:
        del dropped["relation"]
    if any("from_id" in region for region in regions):
        free = (name for number in count() if (name := f"r{number}") not in ids)
        for region in regions:
            if region.get("id") is None:
                region["id"] = next(free)
    return regions


def _ends(region: _Raw) -> tuple[str, ...]:
    if region["kind"] == "relation":
        return (region["from_id"], region["to_id"])
    if region["kind"] == "text" and region.get("of") is not None:
        return (region["of"],)
    return ()


def _valid(regions: Iterable[_Raw], dropped: Counter[str]) -> Iterator[_Raw]:
    for region in regions:
        try:
            REGIONS.validate_python([region])
        except ValidationError:
            dropped["invalid"] += 1
        else:
            yield region
