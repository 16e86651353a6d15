"""Batches by length: like lengths together, so that little is filled up, as many as a budget of tokens allows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .engines import About, Batch, Engine, Floats

_ON_CPU, _ON_GPU = 256, 16_384


@dataclass(frozen=True, slots=True)
class Piece:
    """What a model reads in one go: a text, a window of one, or a pair."""

    ids: Sequence[int]
    types: Sequence[int]


def by_length(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Positions of `lengths`, longest first, in groups that fill up to at most `tokens`; a longer one is alone."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    begin = 0
    while begin < len(order):
        count = max(1, tokens // max(1, lengths[order[begin]]))
        yield order[begin : begin + count]
        begin += count


def budget(wanted: int | None, about: About) -> int:
    """Tokens in one batch: what the settings say, or what suits the device."""
    if wanted is not None:
        return wanted
    return _ON_CPU if about.device == "cpu" else _ON_GPU


def run(engine: Engine, pieces: Sequence[Piece], pad_id: int, tokens: int | None) -> list[Floats]:
    """What the engine says to each piece, in their order: [labels], or [its tokens, labels]."""
    lengths = [len(piece.ids) for piece in pieces]
    said: list[Floats] = [_NOTHING] * len(pieces)
    for group in by_length(lengths, budget(tokens, engine.about)):
        logits = engine.run(filled([pieces[position] for position in group], pad_id))
        per_token = logits.ndim > 2
        for position, own in zip(group, logits, strict=True):
            said[position] = own[: lengths[position]] if per_token else own
    return said


_NOTHING = np.empty(0, np.float32)


def filled(pieces: Sequence[Piece], pad_id: int, *, left: bool = False) -> Batch:
    """Pieces as one batch, filled up on the right, or on the left for what is to be continued."""
    shape = (len(pieces), max(len(piece.ids) for piece in pieces))
    ids, mask, types = np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, piece in enumerate(pieces):
        count = len(piece.ids)
        own = slice(shape[1] - count, None) if left else slice(count)
        ids[row, own] = piece.ids
        mask[row, own] = 1
        types[row, own] = piece.types
    return Batch(ids, mask, types)


def softmax(logits: Floats) -> Floats:
    """Probabilities that exclude each other, over the last axis: NaN where something is NaN, or infinitely likely."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def sigmoid(logits: Floats) -> Floats:
    """Probabilities beside each other."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))), np.float32)


def score(probability: float) -> float:
    """A probability in single precision may be a hair above 1."""
    return min(1.0, max(0.0, float(probability)))
