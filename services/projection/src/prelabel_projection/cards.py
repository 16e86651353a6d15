"""A task on a card: a short stretch of its text with what the models marked in it, and what they said of the whole."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from prelabel_runtime.store.base import State, StoredOutcome, StoredTask

SNIPPET = 320
"""Characters of a text on a card."""
LEAD = 60
"""Characters before the first mark, where the text had to be cut."""
MAX_MARKS = 60
MAX_CHOICES = 12


@dataclass(frozen=True, slots=True)
class Mark:
    """A label on the card's text, from `start` up to `end` (code points)."""

    start: int
    end: int
    label: str
    score: float | None
    below_threshold: bool
    model: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """A label on the whole task."""

    label: str
    question: str
    score: float | None
    below_threshold: bool
    model: str


@dataclass(frozen=True, slots=True)
class Said:
    """How a model's request ended, or that it has not."""

    model: str
    provider: str
    version: str | None
    outcome: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Card:
    """A task in short."""

    project: str
    task: str
    id: str | None
    at_ms: int
    """When a model answered last; 0: none has."""
    field: str
    text: str
    before: bool
    """There is more text before."""
    after: bool
    """There is more text behind."""
    marks: tuple[Mark, ...]
    choices: tuple[Chosen, ...]
    others: int
    """Regions that a card does not draw."""
    said: tuple[Said, ...]


def card(task: StoredTask, outcomes: Sequence[StoredOutcome], fields: Sequence[str]) -> Card:
    """A task and the outcomes of its newest revision. `fields` are those that its project asks about, in order."""
    current = [o for o in outcomes if o.revision >= task.revision and o.superseded_by is None]
    found = [(one, region) for one in current for region in _regions(one)]
    body = orjson.loads(task.body)
    texts = _texts(body, fields)
    field = _field(texts, [region for _, region in found])
    text, cut = texts.get(field, ("", False))
    marks = tuple(_marks(found, field, len(text)))[:MAX_MARKS]
    start, end = _window(text, marks)
    choices = tuple(_choices(found))
    return Card(
        project=task.project,
        task=task.uid,
        id=task.id,
        at_ms=max((one.at_ms for one in current), default=0),
        field=field,
        text=text[start:end],
        before=start > 0,
        after=end < len(text) or cut,
        marks=tuple(_within(marks, start, end)),
        choices=choices[:MAX_CHOICES],
        others=len(found) - len(marks) - sum(1 for _, region in found if region.get("kind") == "choice"),
        said=tuple(_said(one) for one in current),
    )


def _regions(outcome: StoredOutcome) -> Sequence[Mapping[str, Any]]:
    if outcome.state is not State.CREATED:
        return ()
    regions: Sequence[Mapping[str, Any]] = orjson.loads(outcome.body).get("regions") or ()
    return regions


def _texts(body: Mapping[str, Any], fields: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """The task's texts, those that are asked about first, and whether there is more than what is here."""
    blobs = body.get("blobs", {})
    names = [*(name for name in fields if name in body["data"]), *body["data"]]
    found: dict[str, tuple[str, bool]] = {}
    for name in names:
        value = body["data"][name]
        if name in blobs:
            found.setdefault(name, (blobs[name].get("preview", ""), True))
        elif isinstance(value, str):
            found.setdefault(name, (value, False))
    return found


def _field(texts: Mapping[str, Any], regions: Sequence[Mapping[str, Any]]) -> str:
    """The field that is marked most, else the first."""
    marked = Counter(
        region["field"] for region in regions if region.get("kind") == "span" and region.get("field") in texts
    )
    return marked.most_common(1)[0][0] if marked else next(iter(texts), "")


def _marks(found: Sequence[tuple[StoredOutcome, Mapping[str, Any]]], field: str, length: int) -> Iterator[Mark]:
    spans = [
        Mark(region["start"], region["end"], label, region.get("score"), bool(region.get("below_threshold")), one.model)
        for one, region in found
        if region.get("kind") == "span" and region.get("field") == field and region["end"] <= length
        for label in region.get("labels", ())[:1]
        if region["start"] < region["end"]
    ]
    yield from sorted(spans, key=lambda mark: (mark.start, -mark.end))


def _window(text: str, marks: Sequence[Mark]) -> tuple[int, int]:
    """What of the text is shown: all of a short one, else a stretch that begins a little before the first mark."""
    if len(text) <= SNIPPET:
        return 0, len(text)
    start = max(0, marks[0].start - LEAD) if marks else 0
    start = min(start, len(text) - SNIPPET)
    if start and (space := text.find(" ", start, start + LEAD // 2)) >= 0:
        start = space + 1
    end = min(len(text), start + SNIPPET)
    if end < len(text) and (space := text.rfind(" ", end - LEAD // 2, end)) > start:
        end = space
    return start, end


def _within(marks: Sequence[Mark], start: int, end: int) -> Iterator[Mark]:
    for mark in marks:
        if mark.start < end and mark.end > start:
            yield replace(mark, start=max(mark.start, start) - start, end=min(mark.end, end) - start)


def _choices(found: Sequence[tuple[StoredOutcome, Mapping[str, Any]]]) -> Iterator[Chosen]:
    for one, region in found:
        if region.get("kind") == "choice":
            for label in region.get("labels", ()):
                question, below = str(region.get("question", "")), bool(region.get("below_threshold"))
                yield Chosen(label, question, region.get("score"), below, one.model)


def _said(outcome: StoredOutcome) -> Said:
    body = orjson.loads(outcome.body)
    return Said(outcome.model, outcome.provider, outcome.version, str(outcome.state), body.get("reason"))
