"""Tokens to spans: tags such as B-PER, words of several tokens, and entities of several words."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from prelabel_contract.regions import Span

from .batches import score
from .engines import Floats
from .settings import Aggregation

_TAG = re.compile(r"([BIESLU])-(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Tag:
    """What one of a model's outputs means."""

    label: str | None
    """None: outside of everything."""
    begins: bool = False
    """It does not continue what stands before it."""
    ends: bool = False
    """What stands after it does not continue it."""


def tags(labels: Sequence[str]) -> tuple[Tag, ...]:
    """The tags of IOB, BIOES and BILOU; labels of another form stand for themselves and continue their like."""
    tagged = all(label == "O" or _TAG.fullmatch(label) for label in labels)
    return tuple(_tag(label, tagged=tagged) for label in labels)


def _tag(label: str, *, tagged: bool) -> Tag:
    if label == "O":
        return Tag(None)
    found = _TAG.fullmatch(label) if tagged else None
    if found is None:
        return Tag(label)
    place, name = found.groups()
    return Tag(name, begins=place in "BSU", ends=place in "ESLU")


@dataclass(frozen=True, slots=True)
class Read:
    """The tokens of a text, and what a model says to them."""

    offsets: Sequence[tuple[int, int]]
    """Code points."""
    words: Sequence[int | None]
    """The word that each token is part of; None: one of its own."""
    probabilities: Floats
    """[tokens, labels]"""


def spans(text: str, read: Read, meaning: Sequence[Tag], aggregation: Aggregation) -> Iterator[Span]:
    """The entities of a text. An entity's score is the mean of its parts'."""
    open_: list[tuple[int, int, float]] = []
    label: str | None = None
    for first, last, output, probability in _parts(read, aggregation):
        tag = meaning[output]
        if open_ and (tag.label != label or tag.begins):
            yield from _entity(text, open_, label)
            open_ = []
        if tag.label is not None:
            label = tag.label
            open_.append((read.offsets[first][0], read.offsets[last][1], probability))
            if tag.ends:
                yield from _entity(text, open_, label)
                open_ = []
    yield from _entity(text, open_, label)


def shares(read: Read, aggregation: Aggregation) -> Floats:
    """[parts, labels]: by which each part, a token or a word, is decided."""
    firsts = _firsts(read.words) if aggregation != "simple" else ()
    return _rows(read.probabilities, firsts, aggregation)


def _entity(text: str, parts: Sequence[tuple[int, int, float]], label: str | None) -> Iterator[Span]:
    if not parts or label is None:
        return
    start, end = parts[0][0], parts[-1][1]
    said = text[start:end]
    start += len(said) - len(said.lstrip())  # many tokenizers count the space before a word as part of it
    end -= len(said) - len(said.rstrip())
    if start < end:
        mean = sum(probability for *_, probability in parts) / len(parts)
        yield Span(start=start, end=end, labels=(label,), score=score(mean), text=text[start:end])


def _parts(read: Read, aggregation: Aggregation) -> Iterator[tuple[int, int, int, float]]:
    """First and last token, output and probability of what gets one label: a token, or a word."""
    if not len(read.probabilities):
        return
    firsts = _firsts(read.words) if aggregation != "simple" else list(range(len(read.words)))
    rows = _rows(read.probabilities, firsts, aggregation)
    outputs = rows.argmax(axis=1)
    sure = rows[np.arange(len(rows)), outputs]
    ends = [*(first - 1 for first in firsts[1:]), len(read.words) - 1]
    yield from zip(firsts, ends, outputs.tolist(), sure.tolist(), strict=True)


def _firsts(words: Sequence[int | None]) -> list[int]:
    """The first token of each word."""
    return [i for i, word in enumerate(words) if i == 0 or word is None or word != words[i - 1]]


def _rows(probabilities: Floats, firsts: Sequence[int], aggregation: Aggregation) -> Floats:
    """[parts, labels]"""
    match aggregation:
        case "simple":
            return probabilities
        case "first":
            return probabilities[firsts]
        case "average":
            counts = np.diff([*firsts, len(probabilities)])[:, None]
            return np.add.reduceat(probabilities, firsts, axis=0) / counts  # type: ignore[no-any-return]
        case "max":
            surest = probabilities.max(axis=1)
            ends = [*firsts[1:], len(probabilities)]
            best = [first + int(surest[first:end].argmax()) for first, end in zip(firsts, ends, strict=True)]
            return probabilities[best]
